"""What kas, BitBake and the engine promise: seen on the real image's build and on the probes' (meta-probes).

These need what the image is built with, so the fast run leaves them out; `make test` has them after the image.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.image

KAS = ROOT / ".venv/bin/kas"
SOURCES = ("LICENSE", "host", "models", "py", "runtime", "ta", "tests/target")
PROBE_SECONDS = "2718.2818"  # of recipes-probes/sleeps.bb
PATIENCE = 300  # seconds until a hung build is given up


def kas(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [KAS, *arguments], cwd=ROOT, env={**os.environ, **variables}, text=True, timeout=PATIENCE,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip


def tasks(output: str) -> set[str]:
    """The tasks that ran, as recipe:task."""
    found = re.findall(r"Running (?:noexec )?task \d+ of \d+ \(\S*/([^/\s]+)\.bb:(\w+)\)", output)
    return {f"{recipe.partition('_')[0]}:{task}" for recipe, task in found}


# -- The image ------------------------------------------------------------------------------------------


def test_a_second_build_runs_no_task() -> None:
    done = kas("build", "kas/qemu.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    done = kas("build", "kas/qemu.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    summary = re.search(r"Attempted (\d+) tasks of which (\d+) didn't need to be rerun", done.stdout)
    assert summary, done.stdout[-3000:]
    assert int(summary[1]) > 100  # the whole image
    assert summary[1] == summary[2]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the product's sources, to change."""
    for name in SOURCES:
        if (ROOT / name).is_file():
            shutil.copy2(ROOT / name, tmp_path / name)
        else:
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def would_run(sources: Path) -> set[str]:
    """The recipes of the image that would be built again, were `sources` the product's."""
    extra = sources / "extra.conf"
    extra.write_text(f'TZML_SOURCE_DIR:forcevariable = "{sources}"\n')
    done = kas("shell", "kas/qemu.yml", "-c", f"bitbake -n -R {extra} tzml-image")
    assert done.returncode == 0, done.stdout[-3000:]
    # packages that need a rebuilt one are checked again, but not built
    return {task.partition(":")[0] for task in tasks(done.stdout) if not task.endswith(":do_package_qa")}


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


CHANGES: dict[str, tuple[str, str, set[str]]] = {
    "nothing": ("ta/*.c", "", set()),
    "the TA": ("ta/*.c", "/* */\n", {"tzml-ta", "tzml-image"}),
    "the runtime of both worlds": ("runtime/run.c", "/* */\n", {"tzml-ta", "tzml", "tzml-serve", "tzml-image"}),
    "the host library": ("host/tee.c", "/* */\n", {"tzml", "tzml-serve", "tzml-image"}),
    "the service": ("host/serve/seats.c", "/* */\n", {"tzml", "tzml-serve", "tzml-image"}),
    "the Python package": (
        "py/tzml/errors.py",
        "# \n",
        {"python3-tzml", "tzml-board", "tzml-models", "tzml-image"},
    ),
    "a board's descriptor": ("py/tzml/boards/rpi3.toml", "# \n", {"tzml-board", "tzml-models", "tzml-image"}),
    "the training script": ("models/digits/train.py", "# \n", set()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_rebuilds_what_it_is_part_of_and_nothing_else(change: str, sources: Path) -> None:
    pattern, text, recipes = CHANGES[change]
    for path in list(sources.glob(pattern)):
        append(path, text)
    assert would_run(sources) == recipes


# -- The probes -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build folder of its own, with the caches of all."""
    return tmp_path_factory.mktemp("probes")


@pytest.fixture
def listener() -> Iterator[int]:
    """The port of a server on this host."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def probe(build: Path, recipe: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return kas("build", "--target", recipe, "tests/build/probes.yml", KAS_BUILD_DIR=str(build), **variables)


def test_a_failing_task_names_its_log(build: Path) -> None:
    done = probe(build, "fails")
    assert done.returncode != 0
    log = re.search(r"Logfile of failure stored in: (\S+)", done.stdout)
    assert log, done.stdout[-3000:]
    assert "fails" in log[1]
    assert "the reason" in Path(log[1]).read_text()
    assert re.search(r"ERROR: .*fails.*do_compile", done.stdout)


def test_only_a_task_that_asks_for_it_has_a_network(build: Path, listener: int) -> None:
    done = probe(build, "network", PROBE_PORT=str(listener))
    assert done.returncode == 0, done.stdout[-3000:]
    assert "reached without network: no" in done.stdout
    assert "reached with network: yes" in done.stdout


def test_a_version_that_comes_back_is_built_again(build: Path) -> None:
    """Versions overwrite each other's results: the stamps of the first must not outlive them."""
    for value in ("1", "2", "1"):
        done = probe(build, "value", PROBE_VALUE=value)
        assert done.returncode == 0, done.stdout[-3000:]
        assert build.joinpath("value").read_text() == f"{value}\n"


def left_behind(build: Path) -> list[str]:
    """Processes that work in the build folder or for a probe, and mounts."""
    found = [line for line in Path("/proc/mounts").read_text().splitlines() if str(build) in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = process.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode()
            folder = str(process.joinpath("cwd").readlink())
        except OSError:  # gone, or not ours
            continue
        if PROBE_SECONDS in command or str(build) in command or folder.startswith(str(build)):
            found.append(f"{process.name}: {command}")
    return found


def wait_until_gone(build: Path) -> list[str]:
    """What is still left after a while: BitBake's server takes a moment more than its user interface."""
    deadline = time.monotonic() + PATIENCE / 5
    while (left := left_behind(build)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_build_that_is_stopped_leaves_nothing_and_goes_on_afterwards(build: Path, number: signal.Signals) -> None:
    for name in ("started", "go-on"):
        build.joinpath(name).unlink(missing_ok=True)
    clean = kas("shell", "tests/build/probes.yml", "-c", "bitbake -c clean sleeps", KAS_BUILD_DIR=str(build))
    assert clean.returncode == 0, clean.stdout[-3000:]
    with subprocess.Popen(
        [KAS, "build", "--target", "sleeps", "tests/build/probes.yml"], cwd=ROOT, text=True,
        env={**os.environ, "KAS_BUILD_DIR": str(build)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while not build.joinpath("started").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                process.terminate()
                pytest.fail(process.communicate()[0][-3000:])
            time.sleep(0.1)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        output = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode != 0
    assert wait_until_gone(build) == [], output[-3000:]

    build.joinpath("go-on").touch()
    done = probe(build, "sleeps")
    assert done.returncode == 0, done.stdout[-3000:]
    # what was done before is not done again
    assert "sleeps:do_compile" in tasks(done.stdout)
    assert not tasks(done.stdout) & {"sleeps:do_fetch", "sleeps:do_unpack", "sleeps:do_configure"}
    assert wait_until_gone(build) == []


# -- The lock of the feed -------------------------------------------------------------------------------


def test_the_images_feed_can_be_locked_and_is_then_fetched_without_package_lists(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("lock")
    lock = folder / "feed.lock.json"
    own = {"KAS_BUILD_DIR": str(folder / "build"), "TZML_FEED_LOCK": str(lock)}
    done = kas("build", "--task", "lock_feed", "kas/qemu.yml", TZML_FEED_RELOCK="add", **own)
    assert done.returncode == 0, done.stdout[-3000:]
    entries = {entry["recipe"]: entry for entry in json.loads(lock.read_text())["entries"].values()}
    assert {"debian-rootfs", "linux", "optee-client", "optee-os", "trusted-firmware-a", "u-boot"} <= set(entries)
    rootfs = {file["name"].partition("_")[0] for file in entries["debian-rootfs"]["files"]}
    assert {"libc6", "python3", "systemd", "tee-supplicant"} <= rootfs
    assert entries["optee-os"]["files"][0]["name"].endswith(".dsc")
    files = [file for entry in entries.values() for file in entry["files"]]
    assert all(file["path"].startswith("pool/") and re.fullmatch("[0-9a-f]{64}", file["sha256"]) for file in files)

    # what is locked is built, until newer versions are wanted
    done = kas("shell", "kas/qemu.yml", "-c", "bitbake -c fetch initramfs && bitbake -c fetch initramfs", **own)
    assert done.returncode == 0, done.stdout[-3000:]
    assert done.stdout.count("Attempted 1 tasks of which 1 didn't need to be rerun") >= 1
    command = "bitbake -n -c lock_feed tzml-image"
    done = kas("shell", "kas/qemu.yml", "-c", command, TZML_FEED_RELOCK="upgrade", **own)
    assert {"initramfs:do_fetch", "debian-rootfs:do_fetch", "tzml-image:do_lock_feed"} <= tasks(done.stdout)

    # of one recipe that has few files
    only = json.loads(lock.read_text())
    only["entries"] = {name: entry for name, entry in only["entries"].items() if entry["recipe"] == "initramfs"}
    lock.write_text(json.dumps(only))
    own["DL_DIR"] = str(folder / "downloads")
    done = kas("shell", "kas/qemu.yml", "-c", "bitbake -f -c fetch initramfs", **own)
    assert done.returncode == 0, done.stdout[-3000:]
    names = [file["name"] for file in entries["initramfs"]["files"]]
    assert sorted(path.name for path in folder.glob("downloads/files/*.deb")) == sorted(names)
    assert list(folder.glob("downloads/apt/*/lists/*Packages*")) == []

    done = kas("shell", "kas/qemu.yml", "-c", "bitbake -c fetch u-boot", **own)
    assert done.returncode != 0
    assert "does not have this URL" in done.stdout
