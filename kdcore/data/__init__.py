"""Users' own data: readers, checks, and how it gets into the store."""
