"""Weight formats: how a model's numbers are stored and computed with, and on what machines."""
