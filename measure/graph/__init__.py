"""What each node of a graph cost."""
