"""What federated training tells of an example, by Google's dp-accounting, which the environment `flower` has.

That environment runs this file: it imports nothing of tzml then.
"""

from __future__ import annotations

import subprocess
import sys

DELTA = 1e-5


def epsilon(multiplier: float, share: float, updates: int, delta: float = DELTA) -> float:
    """ε of (ε, δ)-differential privacy for an example of a device, against who sees all that leaves the device.

    By the distribution of the privacy loss (PLD), of neighbours that differ in one example that is there or not.
    The discrete Gaussian is taken for the continuous one: with the 64 units and more that a deviation has here,
    they differ by less than any number tells.

    Args:
        multiplier: deviation of the noise, in clips
        share: probability with which an example is in a batch
        updates: updates with noise, in all rounds
        delta: probability that is not accounted for

    """
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    if not updates:
        return 0.0
    event = dp_accounting.GaussianDpEvent(multiplier)
    if share < 1:
        event = dp_accounting.PoissonSampledDpEvent(share, event)
    accountant = PLDAccountant()
    accountant.compose(event, updates)
    return float(accountant.get_epsilon(delta))


def epsilon_elsewhere(multiplier: float, share: float, updates: int, delta: float = DELTA) -> float | None:
    """The same by the Python of the environment `flower`; None if that is not made. Raises TzmlError."""
    from tzml.environments import ENVIRONMENTS
    from tzml.errors import TzmlError

    environment = ENVIRONMENTS["flower"]
    if not environment.is_made:
        return None
    command = [str(environment.interpreter()), __file__, *map(str, (multiplier, share, updates, delta))]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise TzmlError(f"dp-accounting ended with exit code {done.returncode} and said: {said[-1][:300]}")
    return float(done.stdout)


if __name__ == "__main__":
    print(epsilon(float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
