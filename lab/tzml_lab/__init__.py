"""labgrid drivers, strategy and parsers of the lab."""
