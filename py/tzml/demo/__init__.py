"""The demonstration: run the steps, and make a table of what they measured."""
