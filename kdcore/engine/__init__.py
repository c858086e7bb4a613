"""Jobs, and who runs them: local worker processes or a Ray cluster."""
