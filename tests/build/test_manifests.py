"""kas from any folder, and a product's own manifest with a layer of its own, as docs/product.md has them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from .test_kas import KAS, tasks

PATIENCE = 300


def kas(folder: Path, *arguments: str | Path, **variables: str) -> str:
    """The output of a kas that is started in `folder`."""
    done = subprocess.run(
        [KAS, *arguments], cwd=folder, env={**os.environ, **variables}, text=True, timeout=PATIENCE,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def environment(output: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in output.splitlines() if re.match(r"\w+=", line))


@pytest.mark.parametrize("manifest", ["qemu", "rpi3", "hikey"])
def test_kas_starts_anywhere(tmp_path: Path, manifest: str) -> None:
    here, work, build = (tmp_path / name for name in ("here", "work", "elsewhere"))
    here.mkdir()
    work.mkdir()
    own = {"HTTPS_PROXY": "http://proxy.invalid", "PIP_TRUSTED_HOST": "index.invalid", "SSL_CERT_FILE": "/c.pem"}
    output = kas(
        here, "shell", ROOT / f"kas/{manifest}.yml", "-c", "env; cat conf/bblayers.conf conf/local.conf",
        KAS_WORK_DIR=str(work), KAS_BUILD_DIR=str(build), **own,
    )  # fmt: skip
    assert list(here.iterdir()) == []
    assert not work.joinpath("build").exists()
    found = environment(output)
    assert (found["BBPATH"], found["BUILDDIR"]) == (str(build), str(build))
    assert shutil.which("bitbake", path=found["PATH"]) == str(build / "engine/bin/bitbake")
    assert f'MACHINE ??= "{manifest}"' in output
    for layer in ("meta-tzml", "meta-tzml-debian"):
        assert re.search(rf"\$\{{TOPDIR\}}/\S*/{layer}(\s|\")", output)
    assert {name: found[name] for name in own} == own
    assert set(own) <= set(found["BB_ENV_PASSTHROUGH_ADDITIONS"].split())
    assert "setlocale" not in output


@pytest.mark.parametrize("name", ["a b", "a:b", "a#b"])
def test_a_path_that_bitbake_does_not_understand_is_refused_at_once(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.joinpath("tools").mkdir(parents=True)
    for file in ("oe-init-build-env", "tools/bootstrap", "tools/venv.sh"):
        shutil.copy(ROOT / file, folder / file)
    for command in (["tools/bootstrap"], ["bash", "-c", ". ./oe-init-build-env"]):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        [line] = done.stderr.splitlines()
        assert f'the path "{folder}" has a space or another special character' in line
        assert "move the checkout" in line


def quick_python(folder: Path, more: str = "") -> Path:
    """A Python that makes environments whose pip does nothing."""
    python = folder / "python"
    python.write_text(f"""#!/bin/sh
        [ "$1" = -m ] || exec {ROOT}/.venv/bin/python3 "$@"
        mkdir -p "$3/bin"
        ln -s /bin/true "$3/bin/python3"
        echo "#!$PWD/$3/bin/python3" >"$3/bin/pip"
        chmod 755 "$3/bin/pip"
        {more}
    """)
    python.chmod(0o755)
    return python


def test_an_environment_is_made_once_and_anew_where_it_was_copied_to(tmp_path: Path) -> None:
    """Its commands begin with the interpreter's path: in a copy, they would run the old place's."""
    python = quick_python(tmp_path)
    checkout = tmp_path / "one"
    checkout.mkdir()
    for name in ("pyproject.toml", "setup.py"):
        checkout.joinpath(name).write_text("")

    def made(checkout: Path) -> bool:
        script = f'die() {{ exit 1; }}; say() {{ echo "$*"; }}; . {ROOT}/tools/venv.sh; make_venv .venv log -V'
        environment = {**os.environ, "PYTHON": str(python)}
        done = subprocess.run(
            ["sh", "-c", script], cwd=checkout, env=environment, capture_output=True, text=True, check=True
        )
        return "making the Python environment .venv" in done.stdout

    assert [made(checkout), made(checkout)] == [True, False]
    shutil.copytree(checkout, tmp_path / "two", symlinks=True)
    assert [made(tmp_path / "two"), made(tmp_path / "two"), made(checkout)] == [True, False, False]


def test_two_that_make_an_environment_wait_for_each_other(tmp_path: Path) -> None:
    """Otherwise, each would delete what the other makes."""
    python = quick_python(tmp_path, "read -r line <go-on")
    os.mkfifo(tmp_path / "go-on")
    for name in ("pyproject.toml", "setup.py"):
        tmp_path.joinpath(name).write_text("")
    script = f'die() {{ exit 1; }}; say() {{ echo "$*"; }}; . {ROOT}/tools/venv.sh; make_venv .venv log -V'

    def start() -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHON": str(python)}
        return subprocess.Popen(
            ["sh", "-c", script], cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE
        )

    first = start()
    assert first.stdout
    assert first.stdout.readline() == "making the Python environment .venv (some minutes)\n"
    second = start()
    assert second.stdout
    assert second.stdout.readline() == "waiting for another process that makes a Python environment here\n"
    tmp_path.joinpath("go-on").write_text("\n")
    assert first.communicate(timeout=60)[0] == ""
    assert second.communicate(timeout=60)[0] == ""
    assert (first.returncode, second.returncode) == (0, 0)


# -- A product ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The product of docs/product.md in a repository of its own, with this repository as another."""
    folder = tmp_path_factory.mktemp("product")
    page = (ROOT / "docs/product.md").read_text()
    files = dict(re.findall(r"^`([^`\n]+)`[^\n]*:\n\n```\w+\n(.*?)```", page, re.DOTALL | re.MULTILINE))
    assert len(files) == 4
    source = folder / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            source.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    commit = make_repository(source)

    root = folder / "product"
    for name, text in files.items():
        root.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        root.joinpath(name).write_text(text)
    manifest = yaml.safe_load(root.joinpath("kas.yml").read_text())
    manifest["repos"]["tzml"] |= {"url": str(source), "commit": commit}
    root.joinpath("kas.yml").write_text(yaml.safe_dump(manifest))
    make_repository(root)

    kas(root, "checkout", "--skip", "setup_environ", "kas.yml")
    # instead of making it, which takes minutes
    root.joinpath("tzml/.venv").symlink_to(ROOT / ".venv")
    return root


def make_repository(folder: Path) -> str:
    commands = (["init", "--quiet"], ["add", "--force", "--all"], ["commit", "--quiet", "--message=all"])
    identity = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    for command in commands:
        subprocess.run(["git", *identity, *command], cwd=folder, check=True, capture_output=True)
    head = ["git", "rev-parse", "HEAD"]
    return subprocess.run(head, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.image
def test_the_products_recipe_is_built(product: Path) -> None:
    output = kas(product, "build", "--target", "greeter", "kas.yml")
    assert "greeter:do_package_write_deb" in tasks(output)
    [deb] = product.glob("build/deploy/deb/all/greeter/greeter_1.0-r0_all.deb")
    listing = subprocess.run(["dpkg-deb", "--contents", deb], capture_output=True, text=True, check=True).stdout
    assert re.search(r"-rwxr-xr-x root/root .* \./usr/bin/greeter$", listing, re.MULTILINE)


@pytest.mark.image
def test_the_products_image_contains_it_and_its_settings_count(product: Path) -> None:
    output = kas(product, "shell", "kas.yml", "-c", "bitbake -g tzml-image && bitbake -e tzml-image")
    graph = product.joinpath("build/task-depends.dot").read_text()
    assert '"tzml-image.do_rootfs" -> "greeter.do_package_write_deb"' in graph
    assert re.search(r'^IMAGE_INSTALL="[^"]* greeter[ "]', output, re.MULTILINE)
    assert '\nEMMC_SECTORS="15269888"\n' in output
