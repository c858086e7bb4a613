"""The dashboard's pages: thin scripts in views, and a folder a page for what they draw."""
