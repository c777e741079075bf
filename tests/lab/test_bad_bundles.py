"""The lab's wrong bundles are wrong, as far as this host can tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from tzml.bundle import BundleError, decode
from tzml.signing import load_signing_key
from tzml_lab.inference import bad_bundles


def test_every_status_has_words() -> None:
    known = bad_bundles.remedies()
    assert len(known) > 20
    assert all(what and remedy for what, remedy in known.values())
    used = {
        s for one in (*bad_bundles.example_statuses().values(), *bad_bundles.SPOILED.values()) for s in one.values()
    }
    assert used <= set(known)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, key_file: Path) -> bytes:
    from tzml.compiler import CompileOptions, compile_model
    from tzml_zoo.digits import ONNX

    options = CompileOptions("qemu", signing_key=load_signing_key(key_file))
    return compile_model(ONNX, options).encode()


def test_a_spoiled_bundle_is_what_it_is_called(sound: bytes) -> None:
    spoiled = {bundle.name: bundle for bundle in bad_bundles.spoiled(sound, 13 << 20)}
    assert list(spoiled) == list(bad_bundles.SPOILED)
    # these need a target's kernels, key or memory to be seen as wrong
    left_to_target = {"real-kernel-missing", "another-key", "too-large"}
    left_to_target |= {name for name in spoiled if name.startswith("installed-")}
    for name, bundle in spoiled.items():
        assert bundle.data != sound
        if name in left_to_target:
            decode(bundle.data)
            continue
        with pytest.raises(BundleError) as caught:
            decode(bundle.data)
        assert {caught.value.status} == set(bundle.status.values())
    assert decode(spoiled["too-large"].data).secure_memory > 13 << 20
    other, own = decode(spoiled["another-key"].data), decode(sound)
    assert other.program.kernels_digest in other.libraries[0].tee
    assert own.program.kernels_digest not in other.libraries[0].tee
    # by its content this one's library is the installed one, but not by its signature
    foreign = decode(spoiled["installed-another-key"].data)
    assert foreign.program == own.program
    assert foreign.libraries[0].tee[-1000:] == own.libraries[0].tee[-1000:]
    assert foreign.libraries != own.libraries
