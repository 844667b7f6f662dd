"""A server seen from outside: start it, watch it, speak its API, run graphs and batches on it."""
