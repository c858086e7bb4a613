"""One database: its tables, what is read from them and written to them, and how it is opened."""
