"""Boards on a desk or in a shared lab: writing images to them, their power, their places."""
