"""What one leaves with: reports, model cards, scripts, files."""
