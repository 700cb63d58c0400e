"""What the company's directory knows of those who act."""
