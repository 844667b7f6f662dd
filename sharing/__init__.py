"""Results that may stand beside those of others: one file of them, checked, merged, and ranked."""
