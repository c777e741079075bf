"""Attack: read all that a device's holder can read, and look for a protected model in it.

A model is marked: its weights and activations are numbers that nothing else has. What is searched for is the
content key, and a part of the plan, of the weights and of the values between two layers. The same search finds all
of it where the model is not protected, so it can fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import bundle_examples
import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from labgrid import Target
from onnx import TensorProto, helper, numpy_helper

from tzml.bundle import Bundle, Content
from tzml.bundle.plan import encode_plan
from tzml.compiler import compile_model
from tzml.owner.grant import Terms, make_grant
from tzml.owner.keys import OwnerKey
from tzml.owner.seal import seal
from tzml_lab.consoles.lines import Speaker
from tzml_lab.drivers.qemu import TrustZoneQEMUDriver
from tzml_lab.emulation.memory import normal_memory, secure_memory
from tzml_lab.environment import image_of
from tzml_lab.inference.compiling import needed_key, options_for
from tzml_lab.inference.example_kernels import example_library, with_libraries
from tzml_lab.inference.granted import enroll
from tzml_lab.target import Commands, files_of
from tzml_lab.time_limits import scaled

pytestmark = pytest.mark.lg_feature(["python", "disk"])

FOLDER = "/root/canaries"  # on the target, on its disk
SIZE = 32
WIDTH = 512

Canaries = dict[str, bytes]


def marked_network() -> tuple[bytes, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """A network of two layers, and the values between them for an input of all threes: integers, so exact."""
    numbers = np.random.default_rng(20261129)
    first, second = (numbers.integers(1, 4000, (WIDTH, WIDTH)).astype(np.float32) for _ in range(2))
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "first"], ["hidden"]),
            helper.make_node("MatMul", ["hidden", "second"], ["y"]),
        ],
        "marked",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, WIDTH])],
        [numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    hidden = np.full((1, WIDTH), 3, np.float32) @ first
    return bytes(model.SerializeToString()), hidden


def plan_part(bundle: Bundle) -> bytes:
    """A part of the plan without its library's digest, which the library has, too."""
    plan, digest = encode_plan(bundle.program), bundle.program.kernels_digest
    parts = [plan[at : at + SIZE] for at in range(0, len(plan) - SIZE + 1, 8)]
    own = [part for part in parts if not any(part[at : at + 8] in digest for at in range(0, SIZE, 8))]
    return max(own, key=lambda part: len(set(part)))


def canaries(bundle: Bundle, secret: bytes, activations: bytes) -> Canaries:
    """What of a model to look for. `activations`: bytes between two layers."""
    (weights, *_) = (b"".join(bytes(part) for part in chunk.parts) for chunk in bundle.chunks)
    middle = len(weights) // 2 // SIZE * SIZE
    return {
        "content key": secret,
        "plan": plan_part(bundle),
        "weights": weights[middle : middle + SIZE],
        "activations": activations,
    }


class MarkedModel:
    """The marked model on the target, sealed for it and not, and where to look for it.

    Another one, `crash`, is the end of its TA when its input begins with -1.
    """

    def __init__(self, command: Commands, target: Target, machine: TrustZoneQEMUDriver, folder: Path) -> None:
        self.command, self.target, self.machine, self.folder = command, target, machine, folder
        owner = OwnerKey(ec.generate_private_key(ec.SECP256R1()))
        model, hidden = marked_network()
        (folder / "model.onnx").write_bytes(model)
        options = options_for(target, owner=owner.public)
        self.clear = compile_model(folder / "model.onnx", options)
        weights = np.random.default_rng(20261130).integers(1, 4000, 16).astype(np.float32)
        marked = replace(bundle_examples.BUNDLE, chunks=(Content((weights.tobytes(),)),))
        library, digests = example_library(crash=True), [bundle_examples.KERNELS_DIGEST]
        crash = with_libraries(marked, library, needed_key(target), digests)
        self.key = seal(self.clear, owner, folder / "sealed.tzm")
        crash_key = seal(crash, owner, folder / "crash.tzm")
        self.canaries = canaries(self.clear, self.key.secret, hidden.tobytes()[640 : 640 + SIZE])
        self.of_crash = canaries(crash, crash_key.secret, (weights * 3).tobytes()[:SIZE])
        (folder / "hold.py").write_bytes((Path(__file__).parents[1] / "target" / "hold.py").read_bytes())
        self.command.run_check(f"rm -rf {FOLDER}; mkdir {FOLDER}")
        for name in ("sealed.tzm", "crash.tzm", "hold.py"):
            self.put(name)
        device = enroll(command, target, folder, FOLDER, [owner]).public_key
        for key, name in ((self.key, "sealed.tzg"), (crash_key, "crash.tzg")):
            (folder / name).write_bytes(make_grant(key, owner, [device], Terms(serial=1)))
            self.put(name)

    def put(self, name: str) -> None:
        files_of(self.target).put(str(self.folder / name), f"{FOLDER}/{name}")

    @contextmanager
    def held(self, bundle: str, world: str, grant: str = "", end: str = "close") -> Iterator[None]:
        """The model is open and has run once in the block; afterwards it is closed, its process still there.

        `end`: how it ends, "close", "crash", or "kill": its process is killed while the model runs.
        """
        self.command.run_check(f"cd {FOLDER} && rm -f open close crash kill running closed end log")
        grant = grant and f"{FOLDER}/{grant}"
        hold = f"python3 {FOLDER}/hold.py {FOLDER}/{bundle} {world} '{grant}' {FOLDER} > {FOLDER}/log 2>&1"
        self.command.run_check(f'nohup sh -c "{hold}" < /dev/null > /dev/null 2>&1 &')
        self._wait("open")
        yield
        self.command.run_check(f"touch {FOLDER}/{end}")
        if end == "kill":
            self._wait("running")
            self.command.run_check(f"kill -9 $(cat {FOLDER}/running)")
            self.command.run_check(f"while [ -d /proc/$(cat {FOLDER}/running) ]; do sleep 0.1; done")
        else:
            self._wait("closed")

    def end(self) -> None:
        self.command.run_check(f"touch {FOLDER}/end; sync")

    def _wait(self, name: str) -> None:
        wait = (
            f"for i in $(seq 600); do [ -e {FOLDER}/{name} ] && exit 0; sleep 0.2; done; cat {FOLDER}/log; exit 1"
        )
        self.command.run_check(f"sh -c '{wait}'", timeout=scaled(150))

    def in_normal_memory(self, canaries: Canaries) -> set[str]:
        with normal_memory(self.machine, self.folder) as memory:
            return {name for name, canary in canaries.items() if memory.find(canary) >= 0}

    def in_secure_memory(self, canaries: Canaries) -> set[str]:
        memory = secure_memory(self.machine)
        return {name for name, canary in canaries.items() if canary in memory}

    def on_disk(self, canaries: Canaries) -> set[str]:
        """Of all that the machine has written since it was built."""
        self.command.run_check("sync")
        assert self.machine.overlay
        data = self.machine.overlay.path.read_bytes()
        return {name for name, canary in canaries.items() if canary in data}

    def on_the_consoles(self, canaries: Canaries) -> set[str]:
        said = "\n".join(line.text for speaker in Speaker for line in self.machine.record.lines(speaker)).lower()
        return {name for name, canary in canaries.items() if canary.hex()[:32] in said.replace(" ", "")}


@pytest.fixture(scope="module")
def lab(command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MarkedModel]:
    if image_of(target.env.config).description.machine != "qemu":
        pytest.skip("only QEMU's virt machine keeps secure memory apart")
    found = MarkedModel(
        command, target, target.get_driver("TrustZoneQEMUDriver"), tmp_path_factory.mktemp("canaries")
    )
    yield found
    command.run_check(f"rm -rf {FOLDER}")


@pytest.mark.parametrize("end", ["close", "crash", "kill"])
def test_nothing_of_a_protected_model_is_anywhere_in_the_normal_world(lab: MarkedModel, end: str) -> None:
    """Nor in secure memory after the model is closed, its TA has died, or its client was killed in a run."""
    name, canaries = ("crash", lab.of_crash) if end == "crash" else ("sealed", lab.canaries)
    with lab.held(f"{name}.tzm", "tee", f"{name}.tzg", end):
        assert lab.in_normal_memory(canaries) == set()
        assert lab.in_secure_memory(canaries) == set(canaries)  # where all of it is, so the search works
    assert lab.in_normal_memory(canaries) == set()
    assert lab.in_secure_memory(canaries) == set()
    lab.end()
    assert lab.on_disk(canaries) == set()
    assert lab.on_the_consoles(canaries) == set()


def test_a_model_opens_again_after_its_ta_has_died(lab: MarkedModel) -> None:
    for _ in range(2):
        with lab.held("crash.tzm", "tee", "crash.tzg", "crash"):
            assert lab.in_secure_memory(lab.of_crash) == set(lab.of_crash)
        lab.end()


def test_the_same_search_finds_a_model_that_is_not_protected(lab: MarkedModel) -> None:
    lab.clear.write(lab.folder / "clear.tzm")
    lab.put("clear.tzm")
    (lab.folder / "key").write_bytes(lab.key.secret)
    lab.put("key")  # as if its owner had lost it
    with lab.held("clear.tzm", "ree"):
        assert lab.in_normal_memory(lab.canaries) == set(lab.canaries)
    lab.end()
    assert lab.on_disk(lab.canaries) >= {"content key", "plan", "weights"}
