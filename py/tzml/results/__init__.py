"""Results of lab runs: a single run, the history of all runs, and whether something got slower."""
