"""The demo: run its steps and show their measurements in a table."""
