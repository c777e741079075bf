"""What a run leaves: its folder, and what it measured."""
