"""One HTML page about runs of the lab and their history."""
