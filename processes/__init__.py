"""Child processes and signals: how they start, and that they end."""
