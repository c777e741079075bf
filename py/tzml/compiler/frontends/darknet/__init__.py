"""Darknet's networks."""
