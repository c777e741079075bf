"""From a Relax module to one that computes the same: in fewer operators, less memory, or with chosen kernels."""
