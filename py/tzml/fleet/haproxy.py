"""A configuration of HAProxy for replicas: devices that serve the same models.

The settings are those with which no request was lost while devices were killed, frozen and restarted
(tests/serve/test_fleet.py). HAProxy's manual: https://docs.haproxy.org/2.6/configuration.html
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tzml.errors import TzmlError

HEADER = 16384
"""Bytes of HAProxy's buffer beside the body: the request's header, and what is added to it."""


@dataclass(frozen=True)
class Device:
    """A device on which tzml-serve listens."""

    name: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Device:
        """From `[NAME=]HOST:PORT`; an IPv6 address stands in brackets. Raises TzmlError."""
        found = re.fullmatch(r"(?:([\w.-]+)=)?(\[[0-9a-fA-F:]+\]|[\w.-]+):(\d{1,5})", text)
        if not found or not 0 < int(found[3]) < 65536:
            raise TzmlError(f"{text} is not a device", "give NAME=HOST:PORT, as in kitchen=192.168.0.7:8000")
        host = found[2].strip("[]")
        return cls(found[1] or re.sub(r"[^\w.-]", "-", f"{host}-{found[3]}"), host, int(found[3]))

    @property
    def address(self) -> str:
        """As HAProxy writes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether nobody else hears what is said to it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


@dataclass(frozen=True)
class Balancer:
    """How HAProxy listens, and how it talks to devices."""

    listen: str = "127.0.0.1:8000"
    timeout: float = 4
    """Seconds after which a device that does not answer is given up: longer than the slowest request."""
    queue: float = 30
    """Seconds that a request waits for a device, then 503."""
    largest: int = 64 * 1024
    """Bytes of a request's body: only what HAProxy has in its buffer can be sent again."""
    ca: Path | None = None
    """The CA that signed the devices' certificates."""
    certificate: Path | None = None
    """HAProxy's own certificate with its key, which devices ask for."""


def configuration(devices: list[Device], balancer: Balancer) -> str:
    """The text of haproxy.cfg. Raises TzmlError."""
    names = [device.name for device in devices]
    for name in names:
        if names.count(name) > 1:
            raise TzmlError(f"two devices are called {name}", "give each another NAME")
    if bool(balancer.ca) != bool(balancer.certificate):
        raise TzmlError("TLS takes both --ca and --certificate", "give both, or none for devices on this host")
    remote = [device.name for device in devices if not device.is_local]
    if remote and not balancer.ca:
        raise TzmlError(
            f"{remote[0]} is not on this host, and tzml-serve lets nobody in over the network without TLS",
            "give --ca and --certificate",
        )
    tls = ""
    if balancer.ca and balancer.certificate:
        paths = [path.resolve() for path in (balancer.ca, balancer.certificate)]
        if any(re.search(r"[\s\"'\\#]", str(path)) for path in paths):
            raise TzmlError("a path has a character that HAProxy's configuration needs quoted", "use another path")
        tls = f" ssl verify required ca-file {paths[0]} crt {paths[1]}"
    refusal = '{\\"error\\":\\"models with state are not served by replicas: ask one device\\"}'
    large = f'{{\\"error\\":\\"the body has more than {balancer.largest} bytes (tzml fleet haproxy --largest)\\"}}'
    servers = "\n".join(f"    server {device.name} {device.address}" for device in devices)
    return f"""# Made by `tzml fleet haproxy`.
global
    # two threads on two busy cores cost 20 times the CPU
    nbthread 1
    # a request can be sent to another device only if all of it is here
    tune.bufsize {balancer.largest + HEADER}

defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server {round(balancer.timeout * 1000)}ms
    timeout queue {round(balancer.queue * 1000)}ms
    timeout http-request 10s

frontend tzml
    bind {balancer.listen}
    option http-buffer-request
    http-request return status 413 content-type application/json string "{large}" if {{ req.body_size gt {balancer.largest} }}
    # the next step of a sequence on another device, or the same step twice, would be wrong
    http-request return status 400 content-type application/json string "{refusal}" if {{ req.body -m sub sequence_id }}
    http-request return status 503 content-type application/json string "{{\\"error\\":\\"no device is ready\\"}}" if {{ path /v2/health/ready }} {{ nbsrv(devices) lt 1 }}
    http-request use-service prometheus-exporter if {{ path /metrics }}
    # what is sent again to a device that has answered it costs nothing of a sealed model's budget
    unique-id-format %[uuid()]
    http-request set-header X-Request-Id %[unique-id] unless {{ req.hdr(X-Request-Id) -m found }}
    default_backend devices

backend devices
    balance leastconn
    # another device at each try: the one that died has the fewest connections
    retries 10
    option redispatch 1
    retry-on conn-failure empty-response response-timeout 502 503 504
    option httpchk GET /v2/health/ready
    default-server check inter 1s fall 1 rise 1 maxconn 1 observe layer7 error-limit 1 on-error mark-down{tls}
{servers}
"""  # noqa: E501 (a line of HAProxy's has no continuation)


def program() -> str | None:
    """The path of haproxy, which Debian has where only root looks."""
    return shutil.which("haproxy", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")


def check(text: str) -> bool:
    """Let HAProxy read a configuration. False: this host has no HAProxy. Raises TzmlError with what it says."""
    found = program()
    if not found:
        return False
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "haproxy.cfg")
        path.write_text(text)
        done = subprocess.run([found, "-c", "-f", path], capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "[ALERT]" in line] or [done.stderr.strip()]
        raise TzmlError(
            f"HAProxy refuses the configuration: {said[0]}", "change the options, or use a newer HAProxy"
        )
    return True
