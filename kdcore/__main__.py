"""``python -m kdcore``."""

from kdcore.cli.program import main

main(prog_name="python -m kdcore")
