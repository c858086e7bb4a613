"""The Temperature page."""
