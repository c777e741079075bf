"""What can be checked of a Yocto build without its layers: names that recipes depend on, and how the TA links.

`record_oe_names.py` records the names, in a build folder of OE-core and meta-arm; docs/feeds.md says what else was
checked there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from .conftest import ENGINE
from .test_recipes import PRODUCT, RECIPES, code, lists

KIT = ROOT / "build/deploy/qemu/ta-dev-kit.tar.zst"


def recorded(kind: str) -> set[str]:
    """Names that OE-core and meta-arm provide: of recipes ("build") or of packages ("runtime")."""
    text = (ROOT / "tests/build/oe-names.txt").read_text()
    recipes, packages = (part.split()[1:] for part in text.split("\n[")[1:])
    names = {name.removesuffix("*") for name in recipes}
    if kind == "build":
        return names | {f"{name[:-1]}-native" for name in recipes if name.endswith("*")}
    return names | set(packages)


def own() -> set[str]:
    """Our recipes, and the packages that they make besides one of the recipe's name."""
    names = set()
    for path in RECIPES:
        text, recipe = code(path), path.stem.partition("_")[0]
        names |= {recipe} if path.suffix == ".bb" else set()
        names |= {name.replace("${PN}", recipe) for value in lists(text, "PACKAGES") for name in value.split()}
        if re.search(r"^inherit .*\bptest\b", text, re.MULTILINE):
            names.add(f"{recipe}-ptest")
    return names


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_what_a_recipe_depends_on_is_there_in_yocto(path: Path) -> None:
    text = code(path)
    for variables, kind in ((("DEPENDS",), "build"), (("RDEPENDS", "IMAGE_INSTALL"), "runtime")):
        names = {
            name
            for variable in variables
            for value in lists(text, variable)
            for name in value.replace("\\", " ").split()
        }
        assert names - recorded(kind) - own() == set(), kind


def test_the_record_is_of_real_layers() -> None:
    build, runtime = recorded("build"), recorded("runtime")
    assert {"openssl", "optee-os-tadevkit", "python3-cryptography-native"} <= build
    assert {"python3-core", "libstdc++", "optee-client"} <= runtime
    # what the recipes once wanted, and no layer has
    assert not {"python3-apache-tvm-native", "python3-onnx-native", "python3-tflite-native"} & build
    assert "python3-apache-tvm-ffi" not in runtime


def test_what_is_appended_to_is_there_in_yocto() -> None:
    appended = {path.stem.partition("_")[0] for path in PRODUCT.rglob("*.bbappend")}
    assert {"optee-os", "optee-os-tadevkit", "optee-test"} <= appended
    assert appended <= recorded("build") | own()


def test_every_layer_of_the_manifest_is_locked_to_a_commit() -> None:
    manifest = yaml.safe_load((ROOT / "kas/yocto/qemu.yml").read_text())
    lock = yaml.safe_load((ROOT / "kas/yocto/qemu.lock.yml").read_text())
    fetched = {name for name, repo in manifest["repos"].items() if "url" in repo}
    assert set(lock["overrides"]["repos"]) == fetched
    assert all(re.fullmatch("[0-9a-f]{40}", repo["commit"]) for repo in lock["overrides"]["repos"].values())
    path = ROOT / "build/yocto" / manifest["repos"]["meta-tzml"]["path"]
    assert Path(os.path.normpath(path)) == PRODUCT


READ_LAYERS = """
import logging
import bb.cooker, bb.cookerdata
logging.basicConfig(format="%(message)s")
builder = bb.cookerdata.CookerDataBuilder(bb.cookerdata.CookerConfiguration(), False)
builder.basedata.setVar("TOPDIR", ".")
builder.parseConfigurationFiles([], [])
"""


@pytest.mark.parametrize("series", ["wrynose", "scarthgap"])
def test_layers_of_another_series_are_refused(tmp_path: Path, series: str) -> None:
    """By BitBake itself, in one line that names the series to take."""
    core = tmp_path / "core"
    for path, text in {
        "conf/bblayers.conf": f'BBPATH = "${{TOPDIR}}"\nBBLAYERS = "{core} {ROOT}/meta-tzml"\n',
        "core/conf/layer.conf": 'BBPATH .= ":${LAYERDIR}"\nBBFILE_COLLECTIONS += "core"\n'
        f'LAYERSERIES_CORENAMES = "{series}"\n',
        "core/conf/bitbake.conf": "",
        "core/classes/base.bbclass": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", READ_LAYERS], cwd=tmp_path, text=True, check=False, capture_output=True,
        env=os.environ | {"PYTHONPATH": str(ENGINE / "lib")},
    )  # fmt: skip
    refusal = (
        "Layer tzml is not compatible with the core layer which only supports these series: "
        f"{series} (layer is compatible with wrynose)"
    )
    assert (refusal in done.stderr.splitlines()) == (series != "wrynose"), done.stderr
    assert (done.returncode == 0) == (series == "wrynose"), done.stderr


def test_a_layer_without_the_locked_commit_is_refused(tmp_path: Path) -> None:
    for name in ("bitbake", "openembedded-core", "meta-arm"):
        subprocess.run(["git", "init", "-q", tmp_path / name], check=True)
    done = subprocess.run([ROOT / "tools/check-yocto", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(
        rf"check-yocto: {tmp_path}/bitbake has no commit [0-9a-f]{{40}}, which kas/yocto/qemu\.lock\.yml names: "
        r"git fetch there\n",
        done.stderr,
    )


# -- The compiler ---------------------------------------------------------------------------------------

# OE-core's gcc has no sysroot of its own: without --sysroot it does not find its libgcc.
AS_IN_OE = """#!/bin/sh
arguments= sysroot=
for argument; do
	case $argument in
	--sysroot=*) sysroot=${argument#--sysroot=} ;;
	*) arguments="$arguments '$argument'" ;;
	esac
done
case $*:$sysroot in
*-print-libgcc-file-name*:) echo libgcc.a && exit ;;
esac
eval exec aarch64-linux-gnu-gcc "$arguments"
"""


def oemake(recipe: str, **variables: str | Path) -> list[str]:
    """EXTRA_OEMAKE of a recipe, with these variables expanded."""
    [value] = lists(code(PRODUCT / f"recipes-tzml/{recipe}/{recipe}_0.1.bb"), "EXTRA_OEMAKE")
    return re.sub(r"\$\{(\w+)\}", lambda match: str(variables[match[1]]), value.replace("\\\n", " ")).split()


@pytest.mark.image
def test_the_ta_links_with_a_compiler_that_has_no_sysroot(tmp_path: Path) -> None:
    subprocess.run(["tar", "-C", tmp_path, "-xf", KIT], check=True)
    key = tmp_path / "key.pem"
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    formats = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    key.write_bytes(private.private_bytes(*formats, serialization.NoEncryption()))
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in Path("/usr/bin").glob("aarch64-linux-gnu-*"):
        tools.joinpath(tool.name.replace("linux-gnu", "oe-linux", 1)).symlink_to(tool)
    compiler = tools / "aarch64-oe-linux-gcc"
    compiler.unlink()
    compiler.write_text(AS_IN_OE)
    compiler.chmod(0o755)
    for folder in ("ta", "runtime"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("out"))
    flags = oemake(
        "tzml-ta",
        S=tmp_path,
        B=tmp_path / "build",
        HOST_PREFIX="aarch64-oe-linux-",
        PYTHON=sys.executable,
        STAGING_DIR_HOST=tmp_path / "sysroot",
        OPTEE_LOG_LEVEL="2",
        TZML_SEALED_ONLY="n",
        TA_DEV_KIT_DIR=tmp_path / "export-user_ta",
        TA_SIGN_KEY=key,
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("FLAGS")}
    environment["PATH"] = f"{tools}:{environment['PATH']}"

    def make(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "-j2", *arguments], env=environment, capture_output=True, text=True, check=False
        )

    # without the sysroot, it does not
    done = make(*(flag for flag in flags if not flag.startswith("CFLAGS64=")))
    assert done.returncode
    assert "libgcc.a" in done.stderr
    shutil.rmtree(tmp_path / "build")
    done = make(*flags)
    assert done.returncode == 0, done.stderr[-3000:]
    [ta] = (tmp_path / "build").rglob("*.ta")
    assert ta.read_bytes()[:4] == b"HSTO"
