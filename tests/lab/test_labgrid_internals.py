"""labgrid's private names are used in one file only, which fits the labgrid that is installed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

import pytest
from labgrid import Environment
from labgrid.binding import BindingState
from labgrid.driver import QEMUDriver, SerialDriver, ShellDriver, SSHDriver
from labgrid.driver.consoleexpectmixin import ConsoleExpectMixin
from labgrid.util import PtxExpect
from pexpect import TIMEOUT

from tzml_lab import drivers, labgrid_internals
from tzml_lab import environment as environments
from tzml_lab.drivers.qemu import TrustZoneQEMUDriver
from tzml_lab.environment import ROOT
from tzml_lab.labgrid_internals import (
    FITS,
    CommandResult,
    ConsoleBase,
    ShellBase,
    SSHBase,
    forget_unread,
    read_yaml,
    unread,
)
from tzml_lab.time_limits import VARIABLE

OURS = sorted(
    {
        value
        for module in vars(drivers).values()
        if inspect.ismodule(module)
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__ == module.__name__
    },
    key=lambda value: str(value.__name__),
)


def private_names(of: type) -> set[str]:
    """A class's private methods, and the private attributes that its own code uses."""
    methods = {name for name in vars(of) if re.match(r"_[a-z]", name)} - {"_abc_impl"}
    return methods | set(re.findall(r"\bself\.(_[a-z]\w*)", inspect.getsource(of)))


def upstream(of: type) -> Iterator[type]:
    """The classes of labgrid that a class is derived from."""
    return (base for base in of.__mro__ if base.__module__.startswith("labgrid."))


def test_it_fits_the_labgrid_that_is_installed_and_pinned() -> None:
    hint = f"read lab/tzml_lab/labgrid_internals.py beside labgrid {version('labgrid')}, then set FITS"
    assert version("labgrid") == FITS, hint
    assert f"labgrid=={FITS}" in (ROOT / "requirements.in").read_text().split()
    assert f'"labgrid=={FITS}"' in (ROOT / "pyproject.toml").read_text()


def test_there_are_drivers() -> None:
    assert {"TrustZoneQEMUDriver", "RecordedSerialDriver", "DiagnosingShellDriver"} <= {o.__name__ for o in OURS}
    assert "_cmd" in private_names(QEMUDriver)
    assert "_run" in private_names(ShellDriver)


@pytest.mark.parametrize("driver", OURS, ids=lambda driver: driver.__name__)
def test_no_driver_uses_or_overrides_a_private_name(driver: type) -> None:
    """Not even by accident: a method of ours with the name of one of labgrid's would replace it."""
    private = {name for base in upstream(driver) for name in private_names(base)}
    assert private_names(driver) & private == set()


def test_nobody_else_asks_for_one() -> None:
    names = set(re.findall(r"\.(_[a-z]\w*)", Path(labgrid_internals.__file__).read_text()))
    assert {"_expect", "_cmd", "_child", "_socket", "_tempdir"} <= names
    ours = {"_read", "_write", "_run"}  # these are common names, and the test above looks for them
    pattern = re.compile(rf"(?<!self)\.({'|'.join(sorted(names - ours))})\b|LABGRID_ENV_KEY|labgrid\.util\.yaml")
    for path in sorted((ROOT / "lab").rglob("*.py")):
        if path.name != "labgrid_internals.py":
            assert pattern.findall(path.read_text()) == [], path


# -- What the file relies on ----------------------------------------------------------------------------


def parameters(method: object) -> list[str]:
    return list(inspect.signature(method).parameters)  # type: ignore[arg-type]


def test_what_is_overridden_is_called_as_labgrid_calls_it() -> None:
    assert parameters(ShellDriver._run) == ["self", "cmd", "timeout", "codec", "decodeerrors"]
    for console in (QEMUDriver, SerialDriver):
        assert parameters(console._read) == parameters(ConsoleBase._read) == ["self", "size", "timeout", "max_size"]
        assert parameters(console._write) == parameters(ConsoleBase._write) == ["self", "data"]
    assert parameters(SSHDriver._start_own_master) == ["self"]
    assert parameters(ShellDriver._check_prompt) == ["self"]
    # ssh's options of ours must be there before labgrid's
    assert "*self.ssh_prefix" in inspect.getsource(SSHDriver._start_own_master_once)
    # all commands go through _run
    for public in ("run", "run_check", "run_script"):
        assert re.search(r"self\._run(_check|_script)?\(", inspect.getsource(getattr(ShellDriver, public)))


def test_what_is_started_and_where(deploy: Path) -> None:
    environment = Environment(str(environments.find("qemu")))
    target = environment.get_target()
    driver = target.get_driver(TrustZoneQEMUDriver)
    try:
        assert driver.command is driver.command  # may be changed
        assert driver.command[driver.command.index("-serial") + 1] == "chardev:serialsocket"
        assert driver.folder.is_dir()
        assert driver.listener.getsockname() == str(driver.folder / "serialrw")
        assert driver.process is None
        folder = driver.folder
    finally:
        environment.cleanup()
    assert not folder.exists()


class Silent(ConsoleExpectMixin):  # type: ignore[misc]
    """A console that prints each of its chunks once."""

    def __init__(self, *said: bytes) -> None:
        self._said = list(said)
        self._expect = PtxExpect(self)

    def read(self, size: int, timeout: float) -> bytes:
        if not self._said:
            raise TIMEOUT("nothing more")
        return self._said.pop(0)


def test_what_was_not_expected_is_kept_and_can_be_dropped() -> None:
    console = Silent(b"half a li")
    with pytest.raises(TIMEOUT):
        console._expect.expect("line", timeout=0.1)
    assert unread(console) == b"half a li"
    console._said.append(b"ne")
    assert console._expect.expect("line", timeout=0.1) == 0  # it is still there
    console._said.append(b"half a li")
    with pytest.raises(TIMEOUT):
        console._expect.expect("line", timeout=0.1)
    forget_unread(console)
    console._said.append(b"ne")
    with pytest.raises(TIMEOUT):
        console._expect.expect("line", timeout=0.1)


def test_variables_are_seen_before_they_are_set() -> None:
    data = read_yaml("paths: {deploy: !template '${LG_DEPLOY}/qemu', other: here}")
    assert isinstance(data["paths"]["deploy"], Template)
    assert data["paths"]["other"] == "here"


@pytest.mark.parametrize("base", [ShellBase, SSHBase], ids=lambda base: base.__name__)
def test_a_command_without_a_time_limit_gets_a_scaled_one(base: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "3")
    limits: list[float] = []

    def run(self: object, cmd: str, *, timeout: float, **_: object) -> CommandResult:
        limits.append(timeout)
        return [], [], 0

    driver: Any = object.__new__(type("Driver", (base,), {"_run": run}))
    driver.state = BindingState.active
    driver.run("true")
    driver.run_check("true")
    driver.run("true", timeout=5)
    assert limits == [90, 90, 5]
