"""One HTML page about lab runs and their history."""
