"""A host that lacks something is told what, and what to do, before anything is built."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from tzmldebian import host

from .conftest import Says


def test_an_unknown_machine_is_answered_with_the_known(d: Any, one_error: Says) -> None:
    d.setVar("BBLAYERS", str(ROOT / "meta-tzml-debian"))
    d.setVar("MACHINE", "qmeu")
    with one_error('MACHINE is "qmeu"', "known machines: ", "qemu", "kas manifest"):
        host.check(d)


def test_missing_tools_are_named_together(d: Any, tmp_path: Path, one_error: Says) -> None:
    d.setVar("HOSTTOOLS_DIR", str(tmp_path / "tools"))
    d.setVar("HOSTTOOLS", "sh no-such-tool cat nor-this")
    d.setVar("HOSTTOOLS_NONFATAL", "not-needed")
    with one_error("this host lacks no-such-tool, nor-this: run tools/bootstrap"):
        host.link_tools(d)
    assert sorted(p.name for p in tmp_path.joinpath("tools").iterdir()) == ["cat", "sh"]


def test_a_command_that_fails_is_named_with_what_it_said_last(one_error: Says) -> None:
    with one_error("sh: the reason"):
        host.run(["sh", "-c", "echo before >&2; echo the reason >&2; exit 3"])


def test_a_user_without_subordinate_ids_gets_the_command(
    d: Any, monkeypatch: pytest.MonkeyPatch, one_error: Says
) -> None:
    d.setVar("BBLAYERS", str(ROOT / "meta-tzml-debian"))
    d.setVar("MACHINE", "qemu")
    nobody = pwd.getpwnam("nobody")  # has no range on any Debian
    monkeypatch.setattr(os, "getuid", lambda: nobody.pw_uid)
    with one_error("/etc/subuid has no range for nobody", "sudo usermod --add-subuids"):
        host.check(d)
