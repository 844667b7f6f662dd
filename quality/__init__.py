"""What pictures are like, and how far one is from another."""
