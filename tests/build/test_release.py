"""What a release refuses, each by itself, and that nothing else is refused."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from tzmldebian import keys, release

from .conftest import LAYER, Says

OVERLAY = ROOT / "kas/opt/release.yml"
POLICY = LAYER / "conf/policy.inc"
ASSIGNED = re.compile(r'^(\w+)(?::qemu)? \??= "([^"]*)"$', re.MULTILINE)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / keys.TA_KEY
    subprocess.run(["openssl", "genrsa", "-out", str(path), "2048"], check=True, capture_output=True)
    path.chmod(0o600)
    return path


@pytest.fixture
def configured(d: Any, key: Path, tmp_path: Path) -> Any:
    """The configuration for QEMU with the overlay, as BitBake reads it: the policy, the machine, the overlay."""
    (overlay,) = yaml.safe_load(OVERLAY.read_text())["local_conf_header"].values()
    machine = (LAYER / "conf/machine/qemu.conf").read_text()
    for text in (POLICY.read_text(), machine, overlay):
        for name, value in ASSIGNED.findall(text.replace("\\\n", "")):
            d.setVar(name, value)
    d.setVar("TA_SIGN_KEY", str(shutil.copy(key, tmp_path / "key.pem")))
    return d


def test_the_overlay_makes_a_release(configured: Any) -> None:
    assert list(release.refused(configured)) == []
    release.check(configured)


def test_without_the_overlay_nothing_is_refused(configured: Any) -> None:
    configured.setVar("OPTEE_HUK", "zero")
    configured.setVar("TZML_RELEASE", "0")
    release.check(configured)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("OPTEE_HUK", "zero", "the hardware unique key is all zeros"),
        ("OPTEE_HUK", None, "the hardware unique key is all zeros"),
        ("OPTEE_ENTROPY", "none", "random numbers have no source"),
        ("OPTEE_COUNTER", "none", "nothing counts the states of the storage"),
        ("OPTEE_COUNTER", "emulated-rpmb", "nothing counts the states of the storage while the machine is off"),
        ("OPTEE_INSECURE", "y", "CFG_INSECURE=y"),
        ("OPTEE_EMBEDDED_TESTS", "y", "invoke_tests"),
        ("OPTEE_STATISTICS", "y", "CFG_WITH_STATS=y"),
        ("OPTEE_LOG_LEVEL", "1", "aborts print OP-TEE's registers on a console (CFG_TEE_CORE_LOG_LEVEL=1)"),
        ("OPTEE_LOG_LEVEL", "3", "CFG_TEE_TA_LOG_LEVEL=3"),
        ("OPTEE_TA_BUFFERED", "n", "CFG_REE_FS_TA_BUFFERED=n"),
        ("OPTEE_RPMB_TESTKEY", "y", "CFG_RPMB_TESTKEY=y"),
        ("TZML_SEALED_ONLY", "n", "the TA runs models that nobody sealed"),
        ("ROOT_LOGIN_ON_CONSOLE", "1", "without a password"),
    ],
)
def test_it_refuses(configured: Any, one_error: Says, name: str, value: str | None, says: str) -> None:
    configured.setVar(name, value)
    with one_error("this is no release: ", says):
        release.check(configured)


def test_it_refuses_tests_in_the_image(configured: Any, one_error: Says) -> None:
    configured.setVar("IMAGE_INSTALL", "debian-config tzml tzml-ta")
    release.check(configured)
    configured.setVar("IMAGE_INSTALL", "tzml optee-test tzml-test")
    with one_error("tests and their TAs are installed (optee-test)", "(tzml-test)"):
        release.check(configured)


def test_it_refuses_a_key_that_others_may_read(configured: Any, one_error: Says) -> None:
    Path(configured.getVar("TA_SIGN_KEY")).chmod(0o644)
    with one_error("others than its owner may read the TA signing key"):
        release.check(configured)


def test_it_refuses_upstreams_key(configured: Any, one_error: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    """Upstream's key is not in this repository: another one takes its place."""
    command = ["openssl", "pkey", "-in", configured.getVar("TA_SIGN_KEY"), "-pubout", "-outform", "DER"]
    public = subprocess.run(command, check=True, capture_output=True).stdout
    monkeypatch.setattr(release, "UPSTREAM_KEY", hashlib.sha256(public).hexdigest())
    with one_error("is upstream's, which everybody has"):
        release.check(configured)


def test_all_that_is_refused_is_said_at_once(configured: Any, one_error: Says) -> None:
    configured.setVar("OPTEE_HUK", "zero")
    configured.setVar("OPTEE_INSECURE", "y")
    with one_error("CFG_INSECURE=y", "the hardware unique key is all zeros"):
        release.check(configured)


BUILT = {
    "CFG_INSECURE": "n",
    "CFG_REE_FS_TA_BUFFERED": "y",
    "CFG_TEE_CORE_LOG_LEVEL": "0",
    "CFG_TEE_TA_LOG_LEVEL": "0",
    "CFG_TZML_COUNTER_FLASH": "y",
    "CFG_TZML_HUK_FLASH": "y",
    "CFG_TZML_SEED_DEVICE_TREE": "y",
    "CFG_WITH_SOFTWARE_PRNG": "y",
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"CFG_WITH_STATS": "y"}, "CFG_WITH_STATS=y"),
        ({"CFG_ENABLE_EMBEDDED_TESTS": "y"}, "CFG_ENABLE_EMBEDDED_TESTS=y"),
        ({"CFG_RPMB_TESTKEY": "y"}, "upstream's test key"),
        ({"CFG_REE_FS_ALLOW_RESET": "y"}, "CFG_REE_FS_ALLOW_RESET=y"),
        ({"CFG_TZML_SEED_DEVICE_TREE": "n"}, "random numbers have no source"),
        ({"CFG_TZML_COUNTER_FLASH": "n"}, "nothing counts"),
        (
            {"CFG_TZML_COUNTER_FLASH": "n", "CFG_REE_FS_INTEGRITY_RPMB": "y", "CFG_RPMB_WRITE_KEY": "y"},
            "nothing counts",
        ),
        ({"CFG_TZML_HUK_FLASH": "n", "CFG_INSECURE": "y"}, "all zeros"),
    ],
)
def test_what_was_built_is_looked_at_too(d: Any, one_error: Says, change: dict[str, str], says: str) -> None:
    d.setVar("TZML_RELEASE", "1")
    release.check_built(d, BUILT)
    with one_error("this is no release: ", says):
        release.check_built(d, BUILT | change)


@pytest.mark.image  # it needs what an image is built with
def test_a_board_without_a_counter_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / ".venv/bin/kas", "shell", "kas/rpi3.yml:kas/opt/release.yml", "-c", "bitbake -n tzml-image"],
        cwd=ROOT, env={**os.environ, "KAS_BUILD_DIR": str(tmp_path)}, text=True, timeout=300,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert done.returncode
    (line,) = [line for line in done.stdout.splitlines() if "this is no release: " in line]
    assert "nothing counts the states of the storage" in line
    assert "Running" not in done.stdout
