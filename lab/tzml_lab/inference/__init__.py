"""Models on a target: what they answer, what they should, and bundles that must be refused."""

from __future__ import annotations

from tzml.client import World

# as `tzml run --world` calls them
WORLDS = (World.tee.name, World.ree.name)
