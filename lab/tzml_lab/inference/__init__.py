"""Models on a target: their answers, reference answers, and bundles that must be refused."""

from __future__ import annotations

from tzml.client import World

# the names that `tzml run --world` takes
WORLDS = (World.tee.name, World.ree.name)
