"""The state of all devices of a fleet, as their tzml-serve tells it."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from tzml.fleet.haproxy import Device
from tzml.http_client import connect
from tzml.text_table import text_table

_MOST_THREADS = 32
_SAMPLE = re.compile(r"(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>[0-9.eE+-]+|NaN|\+Inf)$")
_LABEL = re.compile(r'([a-z_]+)="([^"]*)"')


@dataclass(frozen=True)
class ModelStatus:
    """A model on a device. `mean` is the wall time of an inference in seconds, None before the first one."""

    name: str
    ready: bool
    inferences: int
    mean: float | None
    queued: int
    refused: int
    sessions_lost: int


@dataclass(frozen=True)
class DeviceStatus:
    """A device: what keeps it from answering ("" if nothing does), its server's version, and its models.

    `seconds` is how long it took to answer, `responses` counts answers by HTTP status.
    """

    name: str
    address: str
    fault: str = ""
    version: str = ""
    seconds: float = 0.0
    models: tuple[ModelStatus, ...] = ()
    responses: Mapping[str, int] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """`ready`, `not ready` (it answers, but not all its models do), or `unreachable`."""
        if self.fault:
            return "unreachable"
        return "ready" if self.models and all(model.ready for model in self.models) else "not ready"

    @property
    def failed(self) -> int:
        """Requests that the device could not answer: 5xx but those for which its queue had no room."""
        return sum(count for code, count in self.responses.items() if code in ("500", "504"))

    def as_json(self) -> dict[str, Any]:
        return {"state": self.state, "failed": self.failed, **asdict(self)}


def fleet_status(
    devices: Sequence[Device], timeout: float = 4, context: ssl.SSLContext | None = None
) -> list[DeviceStatus]:
    """Ask all devices at the same time; one that does not answer within `timeout` seconds stops no other."""
    with ThreadPoolExecutor(min(_MOST_THREADS, len(devices))) as pool:
        return list(pool.map(lambda device: _ask(device, timeout, context), devices))


def _ask(device: Device, timeout: float, context: ssl.SSLContext | None) -> DeviceStatus:
    start = time.monotonic()
    connection = connect(device.host, device.port, timeout, context, secure=context is not None)
    try:
        about = json.loads(_get(connection, "/v2"))
        metrics = _get(connection, "/metrics").decode()
    except (OSError, ValueError, http.client.HTTPException) as error:
        return DeviceStatus(device.name, device.address, str(error) or type(error).__name__)
    finally:
        connection.close()
    models, responses = read_metrics(metrics)
    version = str(about.get("version", "")) if isinstance(about, dict) else ""
    return DeviceStatus(
        device.name, device.address, "", version, time.monotonic() - start, tuple(models), responses
    )


def _get(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise http.client.HTTPException(f"{path} answers {response.status}")
    return body


def read_metrics(text: str) -> tuple[list[ModelStatus], dict[str, int]]:
    """The models, and the answers by status, from tzml-serve's /metrics. What is not known is left out."""
    found: dict[str, dict[str, float]] = {}
    responses: dict[str, int] = {}
    for line in text.splitlines():
        sample = _SAMPLE.match(line)
        if not sample:
            continue
        labels = dict(_LABEL.findall(sample["labels"] or ""))
        name, value = sample["name"], float(sample["value"])
        if name == "tzml_serve_responses_total" and value:
            responses[labels.get("code", "")] = int(value)
        elif "model" in labels and "le" not in labels:
            found.setdefault(labels["model"], {})[name.removeprefix("tzml_serve_")] = value

    def model(name: str, values: Mapping[str, float]) -> ModelStatus:
        count = values.get("inference_seconds_count", 0)
        return ModelStatus(
            name,
            bool(values.get("model_ready")),
            int(values.get("inferences_total", 0)),
            values.get("inference_seconds_sum", 0) / count if count else None,
            int(values.get("queue_length", 0)),
            int(values.get("refused_total", 0)),
            int(values.get("sessions_lost_total", 0)),
        )

    return [model(name, values) for name, values in found.items()], responses


def status_table(statuses: Sequence[DeviceStatus]) -> str:
    """The devices in lines, a model each."""
    rows = [("device", "address", "state", "model", "inferences", "mean", "waiting", "lost", "failed")]
    for status in statuses:
        first = (status.name, status.address, status.state)
        if not status.models:
            rows.append((*first, status.fault or "no model", "", "", "", "", ""))
        for number, model in enumerate(status.models):
            mean = "" if model.mean is None else f"{model.mean * 1e3:.1f} ms"
            lead = first if number == 0 else ("", "", "")
            named = model.name if model.ready else f"{model.name} (not ready)"
            rows.append(
                (*lead, named, f"{model.inferences:,}", mean, str(model.queued), str(model.sessions_lost),
                 str(status.failed) if number == 0 else "")
            )  # fmt: skip
    return "\n".join(text_table(rows, range(4, 9)))
