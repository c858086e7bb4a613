"""The command line: one file a group of commands."""

from kdcore.cli.program import main

__all__ = ["main"]
