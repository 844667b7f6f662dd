"""What to run next: plans, the order of visits, the search for better settings, the runner."""
