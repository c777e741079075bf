"""What runs of the lab measured: one run, the history of all, and whether something got slower."""
