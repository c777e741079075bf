"""Federated training: rounds of a server, and what a device does in each (docs/federated.md)."""
