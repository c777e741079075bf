"""What every other part of the compiler works on: the imported module, the graph, and how they are rewritten."""
