"""What workers do: one file a kind of job."""
