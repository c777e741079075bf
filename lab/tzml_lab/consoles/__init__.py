"""A machine's consoles: what it prints there, how a boot proceeds, and files sent over the serial line."""
