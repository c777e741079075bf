"""Boards on a desk or in a shared lab: their images, power and places."""
