"""The package python3-tzml has what a device needs of the Python package, and nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from cryptography.hazmat.primitives.asymmetric import ec
from installed import closure, link, providers
from packaging.requirements import Requirement

from tzml.owner.keys import coordinates, public_pem

RECIPE = (ROOT / "meta-tzml/recipes-tzml/python3-tzml/python3-tzml_0.1.bb").read_text()
# Calls the command, and then tells what was imported.
TRACED = """
import sys
from tzml.cli import main
try:
    main()
finally:
    files = {module.__name__: getattr(module, "__file__", None) for module in list(sys.modules.values())}
    print("imported", *(f"{name}={file}" for name, file in files.items() if file), sep="\\n", file=sys.stderr)
"""


def value(name: str) -> str:
    """A variable of the recipe, as the shell and BitBake read it."""
    [found] = re.findall(rf'^{re.escape(name)} = "(.*?)"$', RECIPE, re.MULTILINE | re.DOTALL)
    return " ".join(found.replace("\\", " ").split())


class Device:
    """What the recipe installs, with the Python packages that it depends on and no others."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "image"
        self.site = self.root / "site-packages"
        [install] = re.findall(r"^do_install\(\) \{\n(.*?)^\}", RECIPE, re.MULTILINE | re.DOTALL)
        variables = {
            "D": str(self.root), "S": str(ROOT), "PYTHON_SITEPACKAGES_DIR": "/site-packages", "bindir": "/bin",
            "TZML_MODULES": value("TZML_MODULES"), "PATH": os.environ["PATH"],
        }  # fmt: skip
        subprocess.run(["sh", "-eu", "-c", install], env=variables, check=True)
        debian = value("RDEPENDS:${PN}").split()
        self.depends = {n.removeprefix("python3-") for n in debian if n.startswith("python3-")} - {"core"}
        self.packages = link(closure(map(Requirement, self.depends)), folder / "packages")
        self.imported: dict[str, str] = {}

    def python(self, program: str, *arguments: str | Path, cwd: Path, code: int = 0) -> tuple[str, str]:
        """Output and messages of a program; -S leaves out what else is installed here."""
        environment = {**os.environ, "PYTHONPATH": f"{self.site}:{self.packages}"}
        command = [sys.executable, "-S", "-c", program, *arguments]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        said, _, imported = done.stderr.partition("imported\n")
        self.imported |= dict(line.split("=", 1) for line in imported.splitlines())
        return done.stdout, said

    def third_parties(self) -> set[str]:
        """The packages that were imported and are neither Python's nor ours."""
        tops = {name.split(".")[0] for name, file in self.imported.items() if str(self.packages) in file}
        return {of for top in tops for of in providers().get(top, [])}


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path / "device")


def test_it_has_the_modules_that_its_commands_import(
    device: Device, digits_for_host: Path, libtzml: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 1, 28, 28), np.float32))
    shutil.copy(digits_for_host, tmp_path / "digits.tzm")
    run = ("run", "digits.tzm", "--input", "x.npy", "--world", "ree", "--json")
    assert len(json.loads(device.python(TRACED, *run, cwd=tmp_path)[0])["outputs"]["probabilities"][0]) == 10
    device.python(TRACED, "inspect", "digits.tzm", "--svg", "memory.svg", cwd=tmp_path)
    _, said = device.python(TRACED, "libraries", "list", cwd=tmp_path, code=2)  # this libtzml has no TEE
    assert "built without that world" in said
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    (tmp_path / "owner.pub.pem").write_bytes(public_pem(coordinates(key)))
    for command in (("enroll", "--owner", "owner.pub.pem"), ("show",)):
        _, said = device.python(TRACED, "device", *command, cwd=tmp_path, code=2)
        assert "built without that world" in said
    for arguments, refusal in (
        (("preprocess", "digits.tzm", "x.png", "-o", "in.npy"), "does not say how an image becomes the input"),
        (("postprocess", "digits.tzm", "x.npy"), "has no labels"),
        (("evaluate", "digits.tzm", "--data", "x.npy", "--world", "ree"), "x.npy has one array"),
        (
            ("train", "digits.tzm", "--images", "x.npy", "--labels", "x.npy", "--rate", "1", "--world", "ree"),
            "the bundle has no programs to train with",
        ),
    ):
        assert refusal in device.python(TRACED, *arguments, cwd=tmp_path, code=2)[1]
    examples = ("--global", "x.npy", "--update", "x.tzs", "--images", "x.npy", "--labels", "x.npy", "--rate", "1")
    _, said = device.python(TRACED, "federate", "round", "digits.tzm", *examples, cwd=tmp_path, code=2)
    assert "built without that world" in said
    _, said = device.python(TRACED, "serve", "digits.tzm", cwd=tmp_path, code=2)
    assert "install the package tzml-serve" in said
    assert device.third_parties() == {"cffi", "click", "numpy"}
    device.python("import tzml.client.tvm_ffi;" + TRACED, "--version", cwd=tmp_path)

    installed = {str(path.relative_to(device.site)) for path in device.site.rglob("*.py")}
    imported = {str(Path(f).relative_to(device.site)) for f in device.imported.values() if f"{device.site}/" in f}
    assert installed == imported | {"tzml/__main__.py"}
    # what it depends on, and what that depends on
    assert device.third_parties() == device.depends | {"typing_extensions"}


def test_it_says_what_it_does_not_have(device: Device, digits_for_host: Path, tmp_path: Path) -> None:
    shown, _ = device.python(TRACED, "--help", cwd=tmp_path)
    assert re.findall(r"^  (\w+)  ", shown.partition("Commands:")[2], re.MULTILINE) == [
        "device",
        "evaluate",
        "federate",
        "inspect",
        "libraries",
        "postprocess",
        "preprocess",
        "run",
        "serve",
        "train",
    ]
    _, said = device.python(TRACED, "compile", "x.onnx", cwd=tmp_path, code=2)
    assert said == "tzml: a device has no `tzml compile`; call it on the host that builds models and images\n"


def test_the_recipe_fetches_what_it_installs() -> None:
    assert "'file://py/tzml/' + module for module in d.getVar('TZML_MODULES').split()" in RECIPE
