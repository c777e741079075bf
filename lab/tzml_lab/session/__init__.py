"""What a run of the lab does after a failure: keep the machine, or run the test again."""
