"""libFuzzer finds nothing in the bundle and plan parsers within a bounded number of runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bundle_examples import (
    BUNDLE,
    HEADER,
    MEMORY,
    ONES,
    OWNER,
    PROGRAM,
    ROW,
    SCORE,
    WEIGHTS,
    Examples,
    arena,
    content,
    weights,
    with_noise,
)
from conftest import BUILD, ROOT, make
from cryptography.hazmat.primitives.asymmetric import ec

from tzml.bundle import (
    Bundle,
    Call,
    Chunk,
    DType,
    Library,
    OutputPolicy,
    Port,
    Region,
    Role,
    UpdateNoise,
    Worlds,
    container,
)
from tzml.owner.grant import ALL_PROGRAMS, UNLIMITED, Rights, Terms, make_grant
from tzml.owner.keys import coordinates
from tzml.owner.seal import ContentKey

RUNS = int(os.environ.get("TZML_FUZZ_RUNS", "10000000"))  # a quarter of an hour of one core
SOME_RUNS = 40_000  # of which all seeds are a tenth


@pytest.fixture(scope="module")
def fuzzer() -> Path:
    make("tests/c", f"O={BUILD / 'c'}", str(BUILD / "c" / "fuzz_bundle"))
    return BUILD / "c" / "fuzz_bundle"


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    """Every example, and with each of the harness' faults (a byte after the bundle)."""
    folder = tmp_path / "seeds"
    folder.mkdir()
    for example in Examples():
        for faults in (0, 1, 2, 4, 5, 8, 16, 32, 48, 64, 128):
            tail = bytes([faults]) if faults else b""
            (folder / f"{example.name}-{faults}").write_bytes(example.data + tail)
    for name, data in granted():
        (folder / name).write_bytes(data)
    for pieces in (2, 20):
        (folder / f"apart-{pieces}").write_bytes(apart(pieces).encode())
    return folder


def apart(pieces: int) -> Bundle:
    """A streamed program that needs so many pieces of its input at a stop, and one piece within another."""
    end = 128 * pieces
    made = [arena(end + 64 * number) for number in range(5)]
    calls = (
        Call(0, (arena(0), weights(), made[0])),
        Call(0, (arena(0), weights(0, 64, 1), made[1])),
        Call(0, (arena(0), weights(0, 64, 1), made[2])),
        Call(1, (arena(0), replace(made[1], size=4))),
        *(Call(0, (arena(at), arena(at + 128), made[3])) for at in range(0, end, 256)),
        *(Call(0, (made[number], weights(0, 64, 2), made[4])) for number in range(3)),
        Call(1, (made[4], arena(end + 320, 4))),
    )
    return replace(
        BUNDLE,
        tensors=(replace(BUNDLE.tensors[0], shape=(1, 2 * pieces, 16)), SCORE),
        programs=(replace(PROGRAM, outputs=(Port(1, end + 320),), calls=calls),),
        memories=(replace(MEMORY, arena_size=end + 384, chunks=(Chunk(64, 0),) * 3),),
        chunks=content(ONES, WEIGHTS, ONES),
    )


def granted() -> Iterator[tuple[str, bytes]]:
    """Sealed bundles with a grant for the harness' device. What is sealed is clear: the harness seals nothing."""
    device = ec.derive_private_key(1 << 248, ec.SECP256R1())
    for number, dtype in enumerate(DType):
        output = replace(SCORE, dtype=dtype, shape=(1, 2))
        ports = (Port(1, 0, Region.state),)
        bundle = replace(
            BUNDLE,
            tensors=(BUNDLE.tensors[0], output),
            programs=(replace(PROGRAM, outputs=ports, calls=PROGRAM.calls[:1], worlds=Worlds.tee),),
            memories=(replace(MEMORY, state_size=64, worlds=Worlds.tee),),
            libraries=(Library(b"signed OP-TEE library"),),
        )
        data = sealed(bundle)
        key = ContentKey(bytes(32), bundle.model_id.bytes, bytes(32))
        for policy in OutputPolicy:
            bits = 3 if policy == OutputPolicy.rounded else 1
            argument = bits if policy in (OutputPolicy.rounded, OutputPolicy.top_k) else 0
            terms = Terms(policy, argument, budget=100 if number else UNLIMITED)
            grant = make_grant(key, OWNER, [coordinates(device.public_key())], terms)
            yield f"sealed-{dtype.name}-{policy.name}", data + grant + b"\0"
        everything = Terms(
            rights=Rights.save_state | Rights.export_state, export_key=coordinates(device.public_key())
        )
        grant = make_grant(key, OWNER, [coordinates(device.public_key())], everything)
        yield f"checkpoint-{dtype.name}", data + grant + b"\4"
    counted = replace(
        BUNDLE,
        programs=(replace(PROGRAM, worlds=Worlds.tee),),
        memories=(replace(MEMORY, worlds=Worlds.tee),),
        libraries=(Library(b"signed OP-TEE library"),),
    )
    key = ContentKey(bytes(32), counted.model_id.bytes, bytes(32))
    grant = make_grant(key, OWNER, [coordinates(device.public_key())], Terms(budget=100))
    yield "counted", sealed(counted) + grant + b"\0"
    private = with_noise(UpdateNoise(64, 16, 1 << 16))
    private = replace(
        private,
        programs=(replace(private.program, role=Role.update, worlds=Worlds.tee),),
        memories=(replace(private.memory, worlds=Worlds.tee),),
        libraries=(Library(b"signed OP-TEE library"),),
    )
    federated = Terms(
        rights=Rights.save_state | Rights.export_state | Rights.train | Rights.federate,
        programs=ALL_PROGRAMS,
        export_key=coordinates(device.public_key()),
        noised_updates=1000,
    )
    key = ContentKey(bytes(32), private.model_id.bytes, bytes(32))
    grant = make_grant(key, OWNER, [coordinates(device.public_key())], federated)
    for faults in (0, 4):
        yield f"private-{faults}", sealed(private) + grant + bytes([faults])


def sealed(bundle: Bundle) -> bytes:
    """The bundle as if all of the secure world were sealed, which is clear."""
    data = bytearray(container.encode(replace(bundle.header(), owner=OWNER.public), bundle.sections(), OWNER.sign))
    for row in container.read_table(data).rows:
        if row.worlds == Worlds.tee:
            data[HEADER + ROW * row.number + 9] = 1
    return bytes(data) + bytes(-len(data) % 64)


@pytest.mark.parametrize("count", [SOME_RUNS, pytest.param(RUNS, marks=pytest.mark.full)])
def test_no_input_breaks_the_runtime(fuzzer: Path, seeds: Path, tmp_path: Path, count: int) -> None:
    found = tmp_path / "found"
    found.mkdir()
    profile = tmp_path / "fuzz.profraw"
    result = subprocess.run(
        [fuzzer, f"-runs={count}", "-max_len=4096", "-seed=1", "-print_final_stats=1",
         f"-artifact_prefix={BUILD}/", found, seeds],
        env={**os.environ, "LLVM_PROFILE_FILE": str(profile)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-5000:]
    runs = re.search(r"number_of_executed_units: (\d+)", result.stderr)
    assert runs
    assert int(runs[1]) >= count
    coverage = _coverage(fuzzer, profile)
    print(f"{runs[1]} inputs; lines covered: {coverage}")
    sources = {path.name for path in (ROOT / "runtime").glob("*.c")}
    assert sources <= set(coverage)
    for source in sources:
        assert coverage[source] >= 90, f"the fuzzer covers only {coverage[source]} % of runtime/{source}"


def _coverage(program: Path, profile: Path) -> dict[str, float]:
    """Percent of the lines of each source file that were run."""
    merged = profile.with_suffix(".profdata")
    subprocess.run(["llvm-profdata", "merge", profile, "-o", merged], check=True, capture_output=True)
    report = subprocess.run(
        ["llvm-cov", "export", "-summary-only", program, f"-instr-profile={merged}"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    files = json.loads(report)["data"][0]["files"]
    return {Path(f["filename"]).name: round(f["summary"]["lines"]["percent"], 1) for f in files}
