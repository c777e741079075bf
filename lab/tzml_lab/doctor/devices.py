"""Check the resources of an environment: serial adapter, SD mux, fastboot, power switch, place."""

from __future__ import annotations

import getpass
import importlib.util
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyudev

from tzml_lab.doctor.check import Check

Arguments = Mapping[str, Any]
RULES = (Path("/etc/udev/rules.d"), Path("/usr/lib/udev/rules.d"))
COORDINATOR = "127.0.0.1:20408"  # labgrid's own default


def check_resource(name: str, arguments: Arguments, options: Arguments) -> Iterator[Check]:
    """Check the device behind a resource of that class. `options` are the environment's."""
    if "standin" in options:
        return  # all of them are made when the stand-in starts
    checks: dict[str, Callable[[Arguments], Iterator[Check]]] = {
        "RawSerialPort": _raw_serial,
        "USBSerialPort": lambda wanted: _usb("serial adapter", "tty", wanted, "dialout"),
        "USBSDMuxDevice": _sd_mux,
        "AndroidUSBFastboot": _fastboot,
        "NetworkPowerPort": _power,
        "RemotePlace": lambda wanted: _place(wanted, options.get("place", {})),
    }
    if name in checks:
        yield from checks[name](arguments)


def _raw_serial(wanted: Arguments) -> Iterator[Check]:
    path = Path(wanted["port"])
    if path.exists():
        yield _access(f"serial port {path}", path, "dialout")
    else:
        yield Check(f"serial port {path}", False, "not there", "connect the adapter; `labgrid-suggest` lists them")


def _usb(what: str, subsystem: str, wanted: Arguments, group: str, *, needed: bool = True) -> Iterator[Check]:
    match = wanted.get("match", {})
    shown = ", ".join(f"{key}={value}" for key, value in match.items())
    found = [d for d in pyudev.Context().list_devices(subsystem=subsystem) if matches(d, match)]
    if not found:
        remedy = "connect it; `labgrid-suggest` lists what is connected"
        yield Check(what, False, f"no {subsystem} device with {shown}", remedy, needed)
    elif len(found) > 1:
        nodes = ", ".join(str(device.device_node) for device in found)
        yield Check(what, False, f"several with {shown}: {nodes}", "match one by ID_SERIAL_SHORT or ID_PATH")
    elif found[0].device_node:
        yield _access(f"{what} {found[0].device_node}", Path(found[0].device_node), group)


def matches(device: Any, match: Mapping[str, str]) -> bool:
    """Match a device as labgrid does: every property must fit; `@` means a property of any parent."""
    for key, value in match.items():
        devices = device.ancestors if key.startswith("@") else [device]
        if not any(d.properties.get(key.removeprefix("@")) == value for d in devices):
            return False
    return True


def _access(what: str, path: Path, group: str) -> Check:
    ok = os.access(path, os.R_OK | os.W_OK)
    remedy = f"sudo usermod -aG {group} {getpass.getuser()}, and log in again"
    return Check(what, ok, "read and write" if ok else "no permission", remedy)


def _sd_mux(wanted: Arguments) -> Iterator[Check]:
    yield _rule("udev rule of the SD mux", "60-usbsdmux.rules", "usbsdmux")
    yield from _usb("SD mux", "scsi_generic", wanted, "plugdev")


def _fastboot(wanted: Arguments) -> Iterator[Check]:
    yield _rule("udev rule of fastboot", "51-android.rules", "android-sdk-platform-tools-common")
    # A board that is off or runs Linux has no fastboot. The lab will start it.
    yield from _usb("board in fastboot mode", "usb", wanted, "plugdev", needed=False)


def _rule(what: str, name: str, package: str) -> Check:
    path = next((folder / name for folder in RULES if (folder / name).exists()), None)
    remedy = f"sudo apt-get install {package} && sudo udevadm control --reload && sudo udevadm trigger"
    return Check(what, path is not None or os.getuid() == 0, str(path or f"no {name}"), remedy)


def _power(wanted: Arguments) -> Iterator[Check]:
    model, host = str(wanted.get("model")), str(wanted.get("host"))
    known = model == "manual" or importlib.util.find_spec(f"labgrid.driver.power.{model}") is not None
    yield Check(f"power switch model {model}", known, "known to labgrid" if known else "unknown to labgrid",
                "give one of labgrid's NetworkPowerPort models")  # fmt: skip
    address = urlsplit(host if "//" in host else f"//{host}")
    port = address.port or (443 if address.scheme == "https" else 80)
    what = f"power switch {address.hostname}"
    if "//" in host:
        yield _reachable(what, f"{address.hostname}:{port}", "see whether it is on, and its address")
        return
    try:  # the port depends on the model
        socket.getaddrinfo(address.hostname, None)
    except OSError as error:
        yield Check(what, False, f"no such host: {error.strerror}", "correct the address, or the name service")
    else:
        yield Check(what, True, "its name is known")


def _reachable(what: str, address: str, remedy: str) -> Check:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        return Check(what, False, f"{address} does not answer: {error}", remedy)
    return Check(what, True, f"{address} answers")


def _place(wanted: Arguments, tags: Mapping[str, str]) -> Iterator[Check]:
    coordinator = os.environ.get("LG_COORDINATOR", COORDINATOR)
    remedy = "start labgrid-coordinator there, or export LG_COORDINATOR=host:port"
    answer = _reachable("coordinator", coordinator, remedy)
    yield answer
    if not answer.ok:
        return
    command = [sys.executable, "-m", "labgrid.remote.client", "--verbose", "places"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    places = dict(re.findall(r"^Place '(.+)':\n((?:  .*\n?)*)", done.stdout, re.MULTILINE))
    name = str(wanted.get("name", ""))
    fitting = [n for n, text in places.items() if n == name or (name in ("", "+") and _has(text, tags))]
    shown = name if name not in ("", "+") else " ".join(f"{key}={value}" for key, value in tags.items())
    known = ", ".join(places) or "none"
    create = f"labgrid-client -p {name or 'NAME'} create, then set-tags and add-match (docs/lab.md)"
    yield Check(f"place {shown}", bool(fitting), ", ".join(fitting) or f"the coordinator has: {known}", create)
    for place in fitting:
        holder = re.search(r"^  acquired: (\S+/\S+)$", places[place], re.MULTILINE)
        has_resources = "matches:\n    " in places[place]
        found = f"held by {holder[1]}" if holder else "free"
        yield Check(
            f"place {place} is free", not holder, found, "wait, or ask them: labgrid-client who", needed=False
        )
        yield Check(f"place {place} has resources", has_resources, "" if has_resources else "no matches",
                    f"labgrid-client -p {place} add-match EXPORTER/{place}-resources/*")  # fmt: skip


def _has(text: str, tags: Mapping[str, str]) -> bool:
    found = re.search(r"^  tags: (.*)$", text, re.MULTILINE)
    return set((found[1] if found else "").split(", ")) >= {f"{key}={value}" for key, value in tags.items()}
