"""What a statement is, and whether it may run."""
