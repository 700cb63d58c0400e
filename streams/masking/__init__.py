"""Which columns hold personal data, and what of a result may be seen."""
