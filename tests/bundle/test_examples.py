"""Every reader of bundles gives the specification's status for the specification's examples."""

from __future__ import annotations

import functools
import json
import struct
import subprocess
from pathlib import Path

import bundle_examples
import pytest
from bundle_examples import FOLDER, HEADER, ROW, Examples

from tzml.bundle import Bundle, BundleError, SectionType, Worlds, decode, read, read_section

EXAMPLES = {example.name: example for example in Examples()}
PIECES = pytest.mark.parametrize("piece", [1, 61, 1 << 20], ids="pieces of {}".format)


@functools.cache
def load(program: Path, piece: int, memory: int = 1 << 32) -> dict[str, tuple[str, float]]:
    """Load and run all examples as the TA does: by name, the status, and the first number of the answer."""
    paths = [FOLDER / f"{name}.tzm" for name in EXAMPLES]
    done = subprocess.run([program, str(piece), str(memory), *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return {name: (status, float(answer)) for name, (status, answer, _) in zip(EXAMPLES, lines, strict=True)}


def test_the_files_are_what_the_writer_writes() -> None:
    index = json.loads((FOLDER / "index.json").read_text())
    assert {name: e.status for name, e in EXAMPLES.items()} == {name: i["status"] for name, i in index.items()}
    for name, example in EXAMPLES.items():
        assert (FOLDER / f"{name}.tzm").read_bytes() == example.data, f"{name} is out of date"
    assert len(list(FOLDER.glob("*.tzm"))) == len(EXAMPLES)


# All examples are one test: as a test each, they would take longer to be counted than to be read.


@PIECES
def test_the_runtime_gives_the_status(c_tests: Path, piece: int) -> None:
    given = {name: status for name, (status, _) in load(c_tests / "load_bundle", piece).items()}
    assert given == {name: example.status for name, example in EXAMPLES.items()}


def test_python_gives_the_status() -> None:
    given = {name: _status(example.data) for name, example in EXAMPLES.items()}
    assert given == {name: "SUCCESS" if example.readable else example.status for name, example in EXAMPLES.items()}


def _status(data: bytes) -> str:
    try:
        decode(data)
    except BundleError as error:
        return error.status
    return "SUCCESS"


@PIECES
def test_the_runtime_computes_what_the_plan_says(c_tests: Path, piece: int) -> None:
    wanted = {name: ("SUCCESS", example.answer) for name, example in EXAMPLES.items() if example.answer is not None}
    given = load(c_tests / "load_bundle", piece)
    assert wanted
    assert {name: given[name] for name in wanted} == wanted


@pytest.mark.parametrize("memory", [0, 100, 1000, 1200])
def test_too_little_memory_is_reported_and_all_of_it_given_back(c_tests: Path, memory: int) -> None:
    # load_bundle aborts if anything is still allocated at the end of an example
    for name, (status, _) in load(c_tests / "load_bundle", 61, memory).items():
        wanted = EXAMPLES[name].status
        assert status in ({"MEMORY"} if wanted == "SUCCESS" else {"MEMORY", wanted}), name


@pytest.mark.parametrize(
    "bundle",
    [bundle_examples.BUNDLE, bundle_examples.stateful((0, 64)), bundle_examples.partition(Worlds.ree, Worlds.tee)],
    ids=["minimal", "two-pieces", "no-program-for-both"],
)
def test_what_is_read_is_what_was_written(bundle: Bundle) -> None:
    assert decode(bundle.encode()) == bundle


def test_a_file_has_the_same_bytes_as_a_bundle_in_memory(tmp_path: Path) -> None:
    bundle = bundle_examples.partition()
    bundle.write(tmp_path / "bundle.tzm")
    assert (tmp_path / "bundle.tzm").read_bytes() == bundle.encode()
    assert read(tmp_path / "bundle.tzm") == bundle
    assert read_section(tmp_path / "bundle.tzm", SectionType.metadata) == bundle.metadata


@pytest.mark.parametrize("name", ["minimal", "two-chunks"])
def test_no_flipped_bit_goes_unnoticed(name: str) -> None:
    good = EXAMPLES[name].data
    padding = _padding(good)
    for at in range(len(good)):
        for bit in (0, 7):
            data = bytearray(good)
            data[at] ^= 1 << bit
            if at in padding:
                continue
            with pytest.raises(BundleError):
                decode(bytes(data))


def _padding(data: bytes) -> set[int]:
    """Bytes between sections, which no digest covers and no reader reads."""
    bundle = decode(data)
    covered = set(range(HEADER + ROW * len(bundle.sections())))
    for i in range(len(bundle.sections())):
        offset, size = struct.unpack_from("<QQ", data, HEADER + ROW * i + 16)
        covered |= set(range(offset, offset + size))
    return set(range(len(data))) - covered
