"""What the pages are drawn with: colours, charts (pure functions), and the two browser components."""
