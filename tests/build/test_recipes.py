"""The product's recipes use only what OE-core has too, so that nothing in them rules out Yocto."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import ROOT

from .conftest import LAYER

PRODUCT = ROOT / "meta-tzml"
RECIPES = sorted([*PRODUCT.rglob("*.bb"), *PRODUCT.rglob("*.inc"), *PRODUCT.rglob("*.bbappend")])

# Of OE-core (wrynose): meta/classes*, and meta/conf/bitbake.conf with what its classes define.
CLASSES = {
    "allarch",
    "core-image",
    "deploy",
    "nopackages",
    "packagegroup",
    "ptest",
    "pypi",
    "python3-dir",
    "python3native",
    "systemd",
}
FUNCTIONS = {"bbdebug", "bberror", "bbfatal", "bbnote", "bbplain", "bbwarn", "die", "oe_runmake", "oe_runmake_call"}
VARIABLES = {
    "ALLOW_EMPTY",
    "AR",
    "B",
    "BP",
    "BPN",
    "CC",
    "CFLAGS",
    "COMPATIBLE_HOST",
    "COMPATIBLE_MACHINE",
    "CPPFLAGS",
    "D",
    "DEPENDS",
    "DEPLOYDIR",
    "DESCRIPTION",
    "DEPLOY_DIR_IMAGE",
    "EXTRA_OEMAKE",
    "FILES",
    "FILESEXTRAPATHS",
    "HOMEPAGE",
    "HOST_PREFIX",
    "IMAGE_FEATURES",
    "IMAGE_INSTALL",
    "INHIBIT_DEFAULT_DEPS",
    "INHIBIT_PACKAGE_STRIP",
    "INSANE_SKIP",
    "LDFLAGS",
    "LICENSE",
    "LIC_FILES_CHKSUM",
    "MACHINE",
    "MACHINE_ARCH",
    "MLPREFIX",
    "PACKAGES",
    "PACKAGE_ARCH",
    "PN",
    "PROVIDES",
    "PV",
    "PYPI_PACKAGE",
    "PYPI_SRC_URI",
    "PYTHON",
    "PYTHON_SITEPACKAGES_DIR",
    "RDEPENDS",
    "RPROVIDES",
    "S",
    "SECTION",
    "SRC_URI",
    "STAGING_DIR_HOST",
    "STAGING_INCDIR",
    "STAGING_LIBDIR",
    "SUMMARY",
    "SYSTEMD_AUTO_ENABLE",
    "SYSTEMD_SERVICE",
    "THISDIR",
    "TOPDIR",
    "UNPACKDIR",
    "WORKDIR",
    "base_libdir",
    "bindir",
    "datadir",
    "includedir",
    "libdir",
    "libexecdir",
    "localstatedir",
    "nonarch_base_libdir",
    "nonarch_libdir",
    "sbindir",
    "sysconfdir",
    "systemd_system_unitdir",
}
TASKS = {
    f"do_{name}" for name in ["compile", "configure", "deploy", "fetch", "install", "package", "patch", "unpack"]
}
FLAGS = {"cleandirs", "depends", "dirs", "file-checksums", "network", "sha256sum", "vardeps"}

ASSIGNED = re.compile(
    r"^(?:export\s+)?([A-Za-z_][\w-]*)(?:\[([\w-]+)\])?(?::[\w${}-]+)*\s*(?:\?\?|[?:+.])?=", re.MULTILINE
)
FUNCTION = re.compile(r"^(?:python\s+|fakeroot\s+)?([\w-]+)(?::\w+)*\s*\(\)\s*\{", re.MULTILINE)


def code(path: Path) -> str:
    return re.sub(r"^\s*#.*$", "", path.read_text(), flags=re.MULTILINE)


def products_own() -> set[str]:
    """Variables that the layer itself gives a value."""
    texts = [code(path) for path in (*RECIPES, *PRODUCT.rglob("*.bbclass"), PRODUCT / "conf/layer.conf")]
    return {name for text in texts for name, _ in ASSIGNED.findall(text)} - VARIABLES


def used(text: str) -> set[str]:
    """Variables that BitBake expands; `$x` and `${x%y}` are the shell's."""
    return set(re.findall(r"\$\{([A-Za-z_][\w-]*)\}", text)) | set(re.findall(r"getVar\(['\"](\w+)", text))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_a_recipe_uses_only_what_oe_core_gives_too(path: Path) -> None:
    text = code(path)
    assert used(text) - VARIABLES - products_own() == set()
    inherited = {name for line in re.findall(r"^inherit (.*)$", text, re.MULTILINE) for name in line.split()}
    assert inherited - CLASSES - {path.stem for path in PRODUCT.glob("classes-recipe/*.bbclass")} == set()
    assert set(re.findall(r"\b(?:oe|bb)[\w]+\b(?=\s)", " ".join(bodies(text)))) - FUNCTIONS == set()
    assert set(FUNCTION.findall(text)) - TASKS == set()
    assert {flag for _, flag in ASSIGNED.findall(text)} - FLAGS - {""} == set()
    assert set(re.findall(r"\b([a-z][a-z-]*)://", " ".join(lists(text, "SRC_URI")))) <= {"file"}
    assert "tzmldebian" not in text


def bodies(text: str) -> list[str]:
    return re.findall(r"^[^\n]*\(\)\s*\{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)


def lists(text: str, variable: str) -> list[str]:
    return re.findall(rf'^{variable}\S*\s*\S*=\s*"(.*?)"', text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_a_variable_of_the_debian_feed_has_a_default_of_the_product(path: Path) -> None:
    """What only meta-tzml-debian defines, Yocto would leave unset."""
    texts = [code(p) for pattern in ("*.conf", "*.inc", "*.bbclass") for p in LAYER.rglob(pattern)]
    feeds_own = {name for text in texts for name, _ in ASSIGNED.findall(text)} - VARIABLES - products_own()
    assert {"SSH_KEY", "IMAGE_ROOTFS", "DEPLOY_ROLE"} <= feeds_own
    text = code(path)
    assert (used(text) | {name for name, _ in ASSIGNED.findall(text)}) & feeds_own == set()


def test_the_rule_is_one_that_a_recipe_can_break() -> None:
    bad = 'inherit debian-binary\nDEPLOY_ROLE[kernel] = "Image"\ndo_compile() {\n    cp ${SSH_KEY} ${B}\n}\n'
    assert used(bad) - VARIABLES - products_own() == {"SSH_KEY"}
    assert {flag for _, flag in ASSIGNED.findall(bad)} - FLAGS - {""} == {"kernel"}
    assert "debian-binary" not in CLASSES
