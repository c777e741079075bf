"""Stages and faults, from the consoles.log of runs of real machines."""

from __future__ import annotations

import re

import pytest

from tzml_lab.consoles.boot_progress import STAGES, BootProgress
from tzml_lab.consoles.lines import Line, Speaker
from tzml_lab.environment import ROOT

BOOT = "boot-and-linux-panic"


def recorded(name: str) -> list[Line]:
    found = []
    for line in (ROOT / f"tests/lab/data/{name}.log").read_text().splitlines():
        if match := re.match(r" *([\d.]+) ([NS])(?: (.*))?$", line):
            found.append(Line(float(match[1]), Speaker(match[2]), match[3] or ""))
    return found


def progress_of(lines: list[Line]) -> BootProgress:
    progress = BootProgress()
    for line in lines:
        progress.see(line)
    return progress


def test_every_stage_of_a_boot_is_seen() -> None:
    progress = progress_of(recorded(BOOT))
    assert list(progress.reached) == [stage.name for stage in STAGES]
    assert list(progress.reached.values()) == sorted(progress.reached.values())
    assert progress.reached["bl1"] < 1 < progress.reached["login"]


@pytest.mark.parametrize(
    ("name", "kind", "what", "last"),
    [
        (BOOT, "kernel-panic", "Linux panicked: [   62.010939] Kernel panic - not syncing: sysrq", "login"),
        ("optee-panic", "optee-panic", "OP-TEE panicked: E/TC:0 0 Core undef-abort", "optee"),
        ("no-root", "no-root", "the initramfs gave up: initramfs: /dev/vda did not appear", "kernel"),
    ],
)
def test_faults(name: str, kind: str, what: str, last: str) -> None:
    progress = progress_of(recorded(name))
    assert progress.fault
    assert progress.fault.kind == kind
    assert progress.fault.what.startswith(what)
    assert progress.last
    assert progress.last.name == last


def test_no_fault_before_the_panic() -> None:
    lines = recorded(BOOT)
    panic = next(i for i, line in enumerate(lines) if "Kernel panic" in line.text)
    # xtest has run, so OP-TEE's console also shows panics of Trusted Applications
    assert progress_of(lines[:panic]).fault is None


@pytest.mark.parametrize("name", [BOOT, "optee-panic", "no-root"])
def test_cut_off_anywhere_stages_are_in_order(name: str) -> None:
    progress = BootProgress()
    order = [stage.name for stage in STAGES]
    for line in recorded(name):
        progress.see(line)
        assert list(progress.reached) == order[: len(progress.reached)]
        if progress.last:
            assert progress.last.name == order[len(progress.reached) - 1]


@pytest.mark.parametrize("world", Speaker)
def test_both_worlds_may_share_a_console(world: Speaker) -> None:
    """As on a board with one UART."""
    lines = [Line(line.seconds, world, line.text) for line in recorded(BOOT)]
    assert list(progress_of(lines).reached) == [stage.name for stage in STAGES]


def test_a_reset_behind_our_back() -> None:
    lines = recorded(BOOT)
    boot = lines[: next(i for i, line in enumerate(lines) if "login: root" in line.text) + 1]
    again = [Line(100 + line.seconds, line.speaker, line.text) for line in boot]
    progress = progress_of([*boot, *again])
    assert progress.fault
    assert progress.fault.kind == "reset"
    assert progress.fault.seconds > 100


def test_what_was_seen_first_stays() -> None:
    progress = progress_of([*recorded("no-root"), *recorded("optee-panic")])
    assert progress.fault
    assert progress.fault.kind == "no-root"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("E/TC:0 0 Panic 'assertion failed' at core/kernel/panic.c:12 <f>", "optee-panic"),
        ("E/TC:? 0 Core data-abort at address 0x0 (translation fault)", "optee-panic"),
        ("PANIC at PC : 0x000000000e0a1234", "firmware-panic"),
        ("Unhandled Exception in EL3.", "firmware-panic"),
        ("[   10.1] Internal error: Oops: 0000000096000004 [#1] SMP", "kernel-oops"),
        ("You are in emergency mode. After logging in, type", "emergency"),
    ],
)
def test_signs_of_faults(text: str, kind: str) -> None:
    progress = progress_of([Line(1.0, Speaker.normal, text)])
    assert progress.fault
    assert progress.fault.kind == kind


@pytest.mark.parametrize(
    "text",
    [
        "E/TC:? 0 TA panicked with code 0x0",
        "E/TC:? 0 Status of TA 5b9e0e40-2636-11e1-ad9e-0002a5d5c51b",
        "E/TC:? 0 User mode data-abort at address 0x0 (translation fault)",
        "* regression_1007 Test Panic",
        "=> ",
        "I/TC: OP-TEE version",
    ],
)
def test_what_looks_like_a_fault_and_is_none(text: str) -> None:
    assert progress_of([Line(1.0, Speaker.secure, text)]).fault is None


def test_a_prompt_counts_before_its_line_ends() -> None:
    progress = BootProgress()
    progress.see(Line(5.0, Speaker.normal, "=>"), ended=False)
    assert progress.fault
    assert progress.fault.kind == "no-boot"
    assert "U-Boot found nothing to boot" in progress.fault.what


def test_a_fault_is_read_when_its_line_has_ended() -> None:
    progress = BootProgress()
    progress.see(Line(5.0, Speaker.normal, "[ 1.0] Kernel panic - not syncing"), ended=False)
    assert progress.fault is None


def test_words_about_a_boot() -> None:
    assert str(BootProgress()) == "the firmware said nothing"
    lines = recorded("optee-panic")
    assert str(progress_of(lines)).startswith("the last stage was OP-TEE, 0.")
