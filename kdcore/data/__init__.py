"""What users bring along: readers, checks, and how it gets into the store."""
