"""The Alpha page."""
