"""The version of KD Lab."""

__version__ = "0.1.0"
