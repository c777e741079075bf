"""What a machine says, and is told, on its consoles and serial line."""
