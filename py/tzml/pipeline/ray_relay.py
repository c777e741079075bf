"""A relay whose replicas are Ray actors, one a device, on this host or on those of a Ray cluster.

Ray has an environment of its own (`tzml environment ray`), in which the relay runs. What an actor needs of tzml
goes to its host with it: the hosts need nothing but Ray. An actor keeps the connection to its device, and Ray
starts it again where it dies. Which device gets which record, and what is tried again, stays the relay's.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from tzml.environments import ENVIRONMENTS
from tzml.errors import TzmlError
from tzml.fleet.tls import client_context
from tzml.pipeline.relay import HttpReplica, Relay, RelayStage, StageError

_START_SECONDS = "300"  # for Ray's own processes, on a busy machine
_LOCAL = "127.0.0.1"  # whoever reaches Ray's ports can run what they like: nobody else's host does

_OF_ACTORS = ("tzml.errors", "tzml.fleet.tls", "tzml.http_client", "tzml.pipeline.relay")
"""What goes to the actors' hosts, besides this module."""

# tzml alone is taken from where it is: its requirements are the environment's
_PROGRAM = """
import importlib.util, sys
at = sys.argv[1]
spec = importlib.util.spec_from_file_location("tzml", f"{at}/__init__.py", submodule_search_locations=[at])
sys.modules["tzml"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["tzml"])
from tzml.pipeline.ray_relay import RayRelay
RayRelay.parse(sys.argv[2]).serve()
"""


@dataclass(frozen=True)
class RayRelay:
    """What the relay in the environment is told.

    Attributes:
        pipeline: path of the pipeline (.tzp)
        replicas: URLs of the devices of each stage, as of `HttpReplica`
        listen: ADDRESS:PORT for clients
        timeout: seconds for a device's answer
        ca: path of a PEM file, on each host of the cluster, or ""
        certificate: likewise
        cluster: the address of a Ray cluster, or "" for actors on this host

    """

    pipeline: str
    replicas: Sequence[Sequence[str]]
    listen: str
    timeout: float
    ca: str = ""
    certificate: str = ""
    cluster: str = ""

    @staticmethod
    def parse(text: str) -> RayRelay:
        """From what `exec` hands over."""
        return RayRelay(**json.loads(text))

    def exec(self) -> NoReturn:
        """Become the relay: this process ends with it. Raises TzmlError if the environment is not made."""
        python = str(ENVIRONMENTS["ray"].interpreter())
        told = [python, "-c", _PROGRAM, str(Path(__file__).parent.parent), json.dumps(asdict(self))]
        sys.stdout.flush()
        own = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": _START_SECONDS}
        os.execve(python, told, {**os.environ, **own})  # noqa: S606 (no shell is wanted)

    def serve(self) -> None:
        """Start the actors, and serve until a signal."""
        import ray

        from tzml.pipeline import server
        from tzml.pipeline.description import Pipeline

        described = Pipeline.read(Path(self.pipeline))
        for name in (*_OF_ACTORS, __name__):
            ray.cloudpickle.register_pickle_by_value(sys.modules[name])
        where = {"address": self.cluster} if self.cluster else {"_node_ip_address": _LOCAL}
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR", **where)
        try:
            carried = [[self._replica(ray, url, alone=len(urls) == 1) for url in urls] for urls in self.replicas]
            for replica in itertools.chain.from_iterable(carried):
                replica.wait()
            stages = [RelayStage(replicas) for replicas in carried]
            server.serve(Relay(stages), described, self.listen, _tell)
        finally:
            ray.shutdown()

    def _replica(self, ray: Any, url: str, *, alone: bool) -> RayReplica:
        # a record of an actor that died goes to another device at once, if there is one, or waits for the actor
        retries = -1 if alone else 0
        options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": retries, "scheduling_strategy": "SPREAD"}
        actor = ray.remote(**options)(Carrier).remote(url, self.timeout, self.ca, self.certificate)
        return RayReplica(ray, actor, url, self.timeout)


def _tell(address: str) -> None:
    print(f"listening on {address}", flush=True)


class Carrier:
    """The actor: carries records to its device. No exception of tzml leaves it."""

    def __init__(self, url: str, timeout: float, ca: str, certificate: str) -> None:
        paths = (Path(name) if name else None for name in (ca, certificate))
        self._replica = HttpReplica(url, timeout, client_context(*paths))

    def run(self, record: bytes) -> tuple[bytes, str, bool]:
        """The record that the device gives; or what it said instead, and whether to try again."""
        try:
            return self._replica.run(record), "", False
        except StageError as error:
            return b"", str(error), error.again


class RayReplica:
    """A device, as the relay sees it, behind its actor."""

    def __init__(self, ray: Any, actor: Any, url: str, timeout: float) -> None:
        self._ray, self._actor, self._url, self._timeout = ray, actor, url, timeout

    def wait(self) -> None:
        """Until the actor is there. Raises TzmlError if it never will be."""
        try:
            self._ray.get(self._actor.__ray_ready__.remote(), timeout=float(_START_SECONDS))
        except (self._ray.exceptions.RayError, self._ray.exceptions.GetTimeoutError) as error:
            raise TzmlError(f"{self._url}: its actor does not start: {error}", "see the log of Ray") from error

    def run(self, record: bytes) -> bytes:
        """The record that comes of this one. Raises StageError."""
        failures = (self._ray.exceptions.RayError, self._ray.exceptions.GetTimeoutError)
        try:
            # the device's own time-out comes first, unless the actor's host is lost
            answer, said, again = self._ray.get(self._actor.run.remote(record), timeout=2 * self._timeout)
        except failures as error:
            raise StageError(f"{self._url}: its actor does not answer: {error}", again=True) from error
        if said:
            raise StageError(said, again=bool(again))
        return bytes(answer)
