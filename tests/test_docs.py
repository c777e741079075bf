"""A page of the documentation sends its reader only to what is there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest
from conftest import ROOT
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tzml.cli import tzml
from tzml.cli.bench import chosen
from tzml_zoo import models

_TRACKED = subprocess.run(
    ["git", "ls-files", "*.md", ":!*/*/*"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.split()
PAGES = [ROOT / name for name in _TRACKED]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
NO_COMMANDS = {"tzml example kernels 1", "tzml device 1"}  # docs/bundle.md: texts that are hashed
FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"build", "results"}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_resolve(page: Path) -> None:
    assert broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_exist(page: Path) -> None:
    assert [fault for command in commands(page) if (fault := fault_of(command))] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_that_a_page_names_exist(page: Path) -> None:
    assert missing_files(page) == []


def existing_tests_of(text: str) -> list[str]:
    """The tests that a text names, each of which exists."""
    named = re.findall(r"`((?:lab|tests)/[\w/]+\.py)(?:::(\w+))?`", text)
    for file, test in named:
        source = (ROOT / file).read_text()
        assert re.search(rf"^def {test or 'test_'}", source, re.MULTILINE), f"{file}::{test}"
    return [file for file, _ in named]


@pytest.mark.parametrize(("page", "count"), [("parity.md", 22), ("security.md", 27)])
def test_every_row_names_a_test_that_exists_or_says_why_not(page: str, count: int) -> None:
    rows = re.findall(r"^\| (\d+) \|.*\| (.*) \|$", (ROOT / "docs" / page).read_text(), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, count + 1))
    for number, shown in rows:
        assert existing_tests_of(shown) or re.search("not yet|limit|no test|not done", shown), number


def test_every_attack_names_the_test_that_makes_it() -> None:
    attacks = (ROOT / "docs" / "security.md").read_text().partition("## Attacks")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|.*\| (.*) \|$", attacks, re.MULTILINE)[2:]
    assert len(rows) > 10
    for row in rows:
        assert existing_tests_of(row), row


def test_a_test_that_does_not_exist_is_noticed() -> None:
    with pytest.raises(AssertionError):
        existing_tests_of("`tests/test_docs.py::test_that_nobody_wrote`")


def test_pages_that_the_sources_name_exist() -> None:
    found = references()
    assert 'docs/bundle.md, "Kernel library"' in found
    assert [reference for reference in found if is_stale(reference)] == []


def test_every_network_of_the_zoo_was_measured() -> None:
    """Its row in both tables, with its multiply-accumulates; the largest may have none."""
    text = (ROOT / "docs" / "bench.md").read_text()
    aarch64, x86 = (
        text.partition(f"## The zoo on {target}")[2].partition("\n## ")[0] for target in ("AArch64", "x86-64")
    )
    rows = re.findall(r"^\| (\w+) \| ([\d.,]+) \|", aarch64, re.MULTILINE)
    macs = {name: f"{network.macs / 1e6:,.1f}" for name, network in models().items()}
    assert dict(rows) == {name: macs[name] for name, _ in rows}
    for measured in ({name for name, _ in rows}, set(re.findall(r"^\| (\w+) \| [\d.]", x86, re.MULTILINE))):
        assert set(chosen(also_large=False)) <= measured <= set(models())


@pytest.mark.parametrize("reference", ["gone.md", 'bundle.md, "Gone"'])
def test_a_stale_reference_is_found(reference: str) -> None:
    assert is_stale(f"docs/{reference}")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[a](gone.md)", "gone.md"),
        ("[a](page.md#gone)", "page.md#gone"),
        ("[a](#gone)", "#gone"),
        ("# A `b` & c\n\n[a](#a-b--c)", None),
        ("# A\n\n# A\n\n[a](#a-1)", None),
    ],
)
def test_a_broken_link_is_found(tmp_path: Path, text: str, fault: str | None) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    assert broken_links(page) == ([fault] if fault else [])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("`make gone`", "make gone"),
        ("`make image-rpi3`", None),
        ("    .venv/bin/tzml compile a.onnx --gone 1   # why", "--gone"),
        ("    tzml zoo gone", "tzml zoo gone"),
        ("    tzml results check -o x", "-o"),
        ("    A=1 tzml run x.tzm --json", None),
        ("    tzml lab doctor [ENVIRONMENT] [--json]", None),
        ("    pytest lab --lg-env gone.yaml", "lab/env/gone.yaml"),
        ("    kas build kas/gone.yml", "kas/gone.yml"),
        ("    kas build kas/qemu.yml:kas/opt/gone.yml", "kas/opt/gone.yml"),
        ("    ci/gone.sh", "ci/gone.sh"),
    ],
)
def test_a_command_that_does_not_exist_is_found(tmp_path: Path, text: str, fault: str | None) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    [command] = commands(page)
    assert fault_of(command) == fault


def test_a_file_that_does_not_exist_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("`py/tzml/gone.py`, `docs/*.md`, `lab/env/`, `core/of/another/project.c`")
    assert missing_files(page) == ["py/tzml/gone.py"]


def tokens(page: Path) -> Iterator[Token]:
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text()):
        yield token
        yield from token.children or []


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub and GitLab give to a page's headings."""
    seen: dict[str, int] = {}
    found = set()
    parsed = list(tokens(page))
    for opening, inline in pairwise(parsed):
        if opening.type != "heading_open":
            continue
        text = "".join(child.content for child in inline.children or [])
        anchor = slug(text)
        found.add(f"{anchor}-{seen[anchor]}" if anchor in seen else anchor)
        seen[anchor] = seen.get(anchor, 0) + 1
    return found


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def broken_links(page: Path) -> list[str]:
    links = [str(token.attrs.get("href") or token.attrs.get("src") or "") for token in tokens(page)]
    broken = []
    for link in filter(None, links):
        parts = urlsplit(link)
        if parts.scheme:
            continue
        target = page.parent / unquote(parts.path) if parts.path else page
        if not target.exists() or (parts.fragment and parts.fragment not in anchors(target)):
            broken.append(link)
    return broken


def code(page: Path) -> Iterator[str]:
    """Each code span, and each line of the code blocks that are neither another language nor output (`text`)."""
    for token in tokens(page):
        if token.type == "code_block" or (token.type == "fence" and token.info in ("", "sh", "shell", "console")):
            yield from token.content.splitlines()
        elif token.type == "code_inline" and token.content not in NO_COMMANDS:
            yield token.content


def commands(page: Path) -> list[list[str]]:
    """The words of each command of this project that a page tells its reader to run."""
    found = []
    for line in code(page):
        words = [word.strip("[]") for word in re.sub(r"\s#.*", "", line).split()]
        while words and re.fullmatch(r"[A-Z_]+=\S*|sudo", words[0]):
            del words[0]
        if words:
            words[0] = words[0].removeprefix(".venv/bin/")
        if words and (words[0] in ("make", "tzml", "pytest", "kas") or re.match(r"(ci|tools)/", words[0])):
            found.append(words)
    return found


def fault_of(command: list[str]) -> str | None:
    """What of a command does not exist."""
    program, *arguments = command
    if program == "make":
        done = subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, check=False)
        return " ".join(command) if done.returncode else None
    if program == "tzml":
        return _fault_of_tzml(arguments)
    files = [program] if "/" in program else []
    names = [name for word in arguments for name in (word.split(":") if program == "kas" else [word])]
    files += [name for name in names if re.match(r"(kas|lab|tests)/", name)]
    files += [
        f"lab/env/{name.removesuffix('.yaml')}.yaml"
        for option, name in pairwise(arguments)
        if option == "--lg-env" and not name.isupper()
    ]
    return next((file for file in files if not (ROOT / file.split("::")[0]).exists()), None)


def _fault_of_tzml(arguments: list[str]) -> str | None:
    found: click.Command = tzml
    path = ["tzml"]
    while isinstance(found, click.Group) and arguments and not arguments[0].startswith("-"):
        path.append(arguments.pop(0))
        inner = found.get_command(click.Context(found), path[-1])
        if inner is None:
            return " ".join(path)
        found = inner
    known = {name for parameter in found.get_params(click.Context(found)) for name in parameter.opts}
    return next((word for word in arguments if re.match(r"--?[a-z]", word) and word not in known), None)


def missing_files(page: Path) -> list[str]:
    """The paths in this repository that a page names and that are not there; `<…>` stands for anything."""
    named = [token.content for token in tokens(page) if token.type == "code_inline"]
    paths = [path for path in named if re.fullmatch(r"[\w.*/-]+", path) and path.split("/")[0] in FOLDERS]
    return [path for path in paths if "/" in path and not any(ROOT.glob(path.rstrip("/")))]


def references() -> set[str]:
    """The pages that sources name, some with a heading in quotes."""
    pattern = r'docs/[a-z-]+\.md(, "[^"]+")?'
    listed = subprocess.run(
        ["git", "grep", "-I", "-h", "--only-matching", "--extended-regexp", pattern], cwd=ROOT, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    return set(listed.stdout.splitlines())


def is_stale(reference: str) -> bool:
    page, _, heading = reference.partition(", ")
    path = ROOT / page
    return not path.exists() or (bool(heading) and slug(heading) not in anchors(path))
