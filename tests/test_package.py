"""What is published holds everything, and each extra is enough for the commands that it is for."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import ROOT, once
from installed import asked_for, closure, link, providers
from packaging.utils import canonicalize_name
from results.conftest import run_maker

from tzml.cli import COMMANDS
from tzml.cli import tzml as tzml_command
from tzml.environments import ENVIRONMENTS
from tzml.errors import TzmlError
from tzml_zoo.digits import ONNX

# where a tracked folder is in the wheel
PLACES = {
    "py/tzml/": "tzml/", "lab/tzml_lab/": "tzml_lab/", "models/": "tzml_zoo/",
    "host/": "tzml/client/sources/host/", "runtime/": "tzml/client/sources/runtime/",
    "lab/data/": "tzml_lab/data/", "lab/env/": "tzml_lab/env/", "lab/target/": "tzml_lab/target/",
}  # fmt: skip
BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, sys.argv[1])(sys.argv[2]))
"""


def built(kind: str, source: Path, folder: Path) -> Path:
    """What setuptools makes of a source tree, as pip asks it to."""
    done = subprocess.run([sys.executable, "-c", BUILD, kind, folder], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not re.search("deprecat|is absent from", done.stderr), done.stderr
    return folder / done.stdout.splitlines()[-1]


def in_git() -> list[str]:
    """The repository's files, also those that are new and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).exists()]


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of a fresh checkout."""

    def build(folder: Path) -> None:
        source = folder / "checkout"
        for name in in_git():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name, follow_symlinks=False)
        built("build_sdist", source, folder)

    [packed] = once(tmp_path_factory, "sdist", build).glob("tzml-*.tar.gz")
    return packed


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pip makes of the source distribution."""

    def build(folder: Path) -> None:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        [source] = folder.glob("tzml-*/")
        built("build_wheel", source, folder)

    [packed] = once(tmp_path_factory, "wheel", build).glob("*.whl")
    return packed


def test_the_source_distribution_is_the_repository(sdist: Path) -> None:
    made = {"PKG-INFO", "setup.cfg"}
    with tarfile.open(sdist) as archive:
        there = {member.name.partition("/")[2]: member for member in archive if not member.isdir()}
    assert {name for name in there if not name.startswith("tzml.egg-info/")} - made == set(in_git())
    assert [name for name, member in there.items() if not member.isfile()] == []  # client/tzml.h is a link in git


def test_the_wheel_holds_all_that_the_packages_have(wheel: Path) -> None:
    expected = {
        place + name.removeprefix(folder): (ROOT / name).read_bytes()
        for name in in_git()
        for folder, place in PLACES.items()
        if name.startswith(folder)
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []
    assert {Path(name).suffix for name in found} >= {".py", ".c", ".h", ".jinja", ".yaml", ".onnx", ".txt"}


def test_a_folder_with_modules_is_a_package() -> None:
    """setup.py finds those only."""
    modules = [Path(name) for name in in_git() if name.endswith(".py") and name.startswith(tuple(PLACES))]
    folders = {path.parent for path in modules} - {Path("lab/target")}  # programs of the device
    assert [str(folder) for folder in folders if not (ROOT / folder / "__init__.py").exists()] == []


class Installed:
    """An environment with the wheel, and for each call with what some extras ask for."""

    def __init__(self, environment: Path, folder: Path) -> None:
        self.folder = folder
        self.bin = environment / "bin"
        [site] = environment.glob("lib/python*/site-packages")
        [self.metadata] = distributions(name="tzml", path=[str(site)])
        self.linked: dict[str, Path] = {}

    def run(
        self, extras: str, *arguments: str | Path, cwd: Path, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the environment's python, or another of its programs, as a user in another folder does."""
        if extras not in self.linked:
            needed = closure(asked_for(self.metadata, set(extras.split(","))))
            self.linked[extras] = link(needed, self.folder / f"extras-{extras}")
        program, *rest = arguments
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("LG_", "TZML_"))}
        environment |= {"PYTHONPATH": str(self.linked[extras]), **variables}
        command: list[str | Path] = [self.bin / program, *rest]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    def install(folder: Path) -> None:
        venv.create(folder, symlinks=True)
        pip: list[str | Path] = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            folder / "bin/python",
            "install",
            "--no-deps",
            "--no-index",
        ]
        done = subprocess.run([*pip, "--quiet", wheel], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    return Installed(once(tmp_path_factory, "venv", install), tmp_path_factory.mktemp("installed"))


Tzml = Callable[..., str]


@pytest.fixture
def tzml(installed: Installed, tmp_path: Path) -> Tzml:
    """Runs `tzml` with some extras: what it printed, in all. It ends with that code."""

    def run(extras: str, *arguments: str | Path, code: int = 0, **variables: str) -> str:
        done = installed.run(extras, "tzml", *arguments, cwd=tmp_path, **variables)
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        assert "Traceback" not in said
        return said

    return run


def test_a_device_runs_and_inspects(tzml: Tzml, digits_for_host: Path, libtzml: Path) -> None:
    assert "9 kernel calls" in tzml("", "inspect", digits_for_host)
    wrong = tzml(
        "", "run", digits_for_host, "--input", "none.npy", "--world", "ree", code=2, TZML_LIBRARY=str(libtzml)
    )
    assert "none.npy is not an array" in wrong


def test_a_build_host_needs_no_library_of_its_own(tzml: Tzml, digits_for_host: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 1, 28, 28), np.float32))
    run = ("run", digits_for_host, "--input", "x.npy", "--world", "ree")
    cache = str(tmp_path / "cache")
    (tmp_path / "bin").mkdir()
    without = str(tmp_path / "bin")
    said = tzml("", *run, code=2, TZML_CACHE=cache, PATH=without)
    assert (
        "this host has no libtzml, and no make to build it; apt-get install gcc make libc6-dev libssl-dev" in said
    )
    said = tzml("", *run, code=2, TZML_CACHE=cache, CFLAGS="-include /none.h")
    assert "it cannot be built: " in said
    assert "/none.h: No such file" in said
    assert list((tmp_path / "cache").rglob("*.so.1")) == []
    assert "building " in tzml("", *run, "-v", TZML_CACHE=cache)
    [library] = (tmp_path / "cache").rglob("*.so.1")
    assert f"loading {library}" in tzml("", *run, "-v", TZML_CACHE=cache, PATH=without)


def test_what_is_missing_is_named_with_its_extra(tzml: Tzml) -> None:
    for command in ("report", "zoo"):
        said = tzml("", command, code=2)
        assert f"`tzml {command}` needs the Python package" in said
        assert f"pip install 'tzml[{COMMANDS[command][1]}]'" in said


def test_what_only_an_option_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for package, remedy, arguments in (
        ("tzml_lab.inference.board_kernels", "compile,lab", ("tune", ONNX, "--target", "rpi3", "--lg-env", "rpi3")),
        ("torch", "pytorch", ("zoo", "check", "digits", "--format", "pt2")),
    ):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(TzmlError, match=rf"; pip install 'tzml\[{remedy}\]'$"):
            CliRunner().invoke(tzml_command, list(map(str, arguments)), catch_exceptions=False)


def test_compile(tzml: Tzml) -> None:
    assert "9 kernel calls" in tzml("compile", "compile", ONNX, "-o", "digits.tzm", "--target", "host")
    assert "arena" in tzml("", "inspect", "digits.tzm")


def test_report(tzml: Tzml, tmp_path: Path) -> None:
    run = run_maker(tmp_path / "results")().folder
    tzml("report", "report", run, "-o", "page.html")
    assert "digits" in (tmp_path / "page.html").read_text()
    assert "against 0 comparable runs" in tzml("report", "results", "check", run)


def test_zoo(tzml: Tzml, tmp_path: Path) -> None:
    assert "resnet50" in tzml("zoo", "zoo", "list")
    [measured] = json.loads(tzml("zoo", "bench", "digits", "--repeat", "1", "--json"))
    assert measured["difference"] < 1e-5


def test_lab(tzml: Tzml, installed: Installed, tmp_path: Path) -> None:
    found = {check["what"]: check for check in json.loads(tzml("lab", "lab", "doctor", "qemu", "--json", code=1))}
    assert found["qemu.yaml"]["ok"]
    assert "build it: kas build kas/qemu.yml" in tzml("lab", "boot", "qemu", code=2)
    assert "make demo" in tzml("lab", "demo", code=2)


# Statically, also for what is imported where it is used, and for frameworks that are not installed here


AREAS = {
    "tzml/bench": "zoo,litert,pytorch",
    "tzml/boards": "compile",
    "tzml/client/image.py": "image",
    "tzml/client/tvm_ffi.py": "tensors",
    "tzml/compiler/frontends/pytorch": "compile,pytorch",
    "tzml/compiler/frontends/tensorflow": "compile,tensorflow",
    "tzml/compiler/frontends/tflite": "compile,tflite",
    "tzml/compiler/passes/training/torch_network.py": "leakage",
    "tzml/compiler": "compile",
    "tzml/demo": "lab",
    "tzml/fleet/grpc_": "grpc",
    "tzml/fleet/page.py": "report",
    "tzml/fleet/publish.py": "publish",
    "tzml/fleet/pull.py": "pull",
    "tzml/fleet/rollout.py": "seal",
    "tzml/fleet/simulate_plot.py": "report",
    "tzml/image.py": "lab",
    "tzml/leakage/report.py": "partition",
    "tzml/leakage": "leakage",
    "tzml/partitioning": "partition",
    "tzml/report": "report",
    "tzml/results": "report",
    "tzml/pipeline": "seal",
    "tzml/signing.py": "compile",
    "tzml/owner/pkcs11.py": "pkcs11",
    "tzml/owner": "seal",
    "tzml/bundle/protection.py": "seal",  # a device goes without
    "tzml/cli/progress.py": "compile",
    **{f"tzml/cli/{name}.py": extra for name, (_, extra) in COMMANDS.items()},
    "tzml_lab": "lab",
    "tzml_zoo/digits": "zoo,train,tensorflow,litert",
    "tzml_zoo/tflite_twin.py": "zoo,litert",
    "tzml_zoo/torch_twin.py": "zoo,pytorch",
    "tzml_zoo/check.py": "zoo,pytorch",
    "tzml_zoo": "zoo",
    "tzml": "",
}
IN_ENVIRONMENTS = {
    "tzml/compiler/frontends/mxnet/worker.py": "mxnet",
    "tzml/federate/flower_app/tzml_federated/client.py": "flower",
    "tzml/federate/flower_app/tzml_federated/server.py": "flower",
    "tzml/federate/privacy.py": "flower",
    "tzml/pipeline/ray_relay.py": "ray",
}
NOT_HERE = {
    "ai_edge_litert": "ai-edge-litert", "art": "adversarial-robustness-toolbox", "litert_torch": "litert-torch",
    "tensorflow": "tensorflow-cpu",
}  # fmt: skip


def imports(source: bytes) -> Iterator[str]:
    """The top names of the packages that a module imports, wherever it does."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).split(".")[0]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "needs":
            [package, *_] = node.args  # tzml.compiler.frontends.errors
            assert isinstance(package, ast.Constant)
            yield str(package.value)


def test_each_package_that_is_imported_is_asked_for(wheel: Path, installed: Installed) -> None:
    own = {"tzml", "tzml_lab", "tzml_zoo", "measured"}  # measured.py lies beside the programs that import it
    missing = []
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not name.endswith(".py"):
                continue
            [extras, *_] = (extras for area, extras in AREAS.items() if name.startswith(area))
            allowed = {canonicalize_name(r.name) for r in asked_for(installed.metadata, set(extras.split(",")))}
            if name in IN_ENVIRONMENTS:
                lock = ENVIRONMENTS[IN_ENVIRONMENTS[name]].lock.decode()
                allowed = {canonicalize_name(found) for found in re.findall(r"^([\w-]+)==", lock, re.MULTILINE)}
            for package in set(imports(archive.read(name))) - own - sys.stdlib_module_names:
                provided = {
                    canonicalize_name(p) for p in providers().get(package, [NOT_HERE.get(package, package)])
                }
                if not provided & allowed:
                    missing.append(f"{name} imports {package}, which tzml[{extras}] does not ask for")
    assert not missing, "\n".join(missing)


def test_the_lock_has_what_the_extras_of_this_host_ask_for(installed: Installed) -> None:
    elsewhere = {"leakage"}  # requirements-leakage.lock, for an environment of its own
    here = {extra for _, extra in COMMANDS.values()} | {"image", "pkcs11", "tensors", "tflite"}
    for extra in sorted(here - elsewhere):
        assert closure(asked_for(installed.metadata, {extra}))
