"""Who may let a held statement run, and how the tap learns of it."""
