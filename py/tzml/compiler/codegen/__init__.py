"""From tensor functions to machine code and the library that holds it."""
