"""``python -m kdcore``."""

from kdcore.cli import main

main(prog_name="python -m kdcore")
