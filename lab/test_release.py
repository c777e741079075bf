"""A release runs sealed models for their owners, nothing else, and is silent. A development image differs.

kas/opt/release.yml makes a release. Tests without a mark run on either image, and see the difference.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import bundle_examples
import numpy as np
import pytest
from labgrid import Target

from tzml.bundle import Bundle, container
from tzml.image import Description
from tzml.owner.keys import OwnerKey
from tzml.owner.seal import seal
from tzml.protection import CLEAR_WARNING
from tzml_lab.consoles.lines import Speaker
from tzml_lab.consoles.record import ConsoleRecord
from tzml_lab.environment import image_of
from tzml_lab.inference.example_kernels import example_library, with_libraries
from tzml_lab.inference.granted import FOLDER, OWNER, Granted, enrolled
from tzml_lab.inference.signing_key import signing_key
from tzml_lab.target import Commands, RecordedConsole
from tzml_lab.time_limits import scaled
from tzml_zoo.digits import held_out_digits

pytestmark = pytest.mark.lg_feature("python")

ZOO = "/usr/share/tzml/models/digits.tzm"  # clear, and nobody's
INPUT = f"{FOLDER}/x.npy"
ABSENT = "0xffff0008"  # TEEC_ERROR_ITEM_NOT_FOUND
# pseudo TAs that any program may open in a development image
TESTS, STATISTICS = "d96a5b40-c3e5-21e3-8794-1002a5d5c61b", "d96a5b40-e2c7-b1af-8794-1002a5d5c61b"
TA = "bcfd5ae6-ea1e-4018-a5d9-7673b6e2e51f"
# what OP-TEE prints when a TA dies: registers, its memory map, how it ended
DUMP = re.compile(r"[EFDI]/T[AC]:|\bx0 |[Dd]ata-abort|region  *\d|panicked")


@pytest.fixture(scope="module")
def image(target: Target) -> Description:
    return image_of(target.env.config).description


@pytest.fixture(scope="module")
def lab(command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory) -> Granted:
    """An enrolled device with a sealed network, the same in clear and only signed, and one that ends its TA."""
    folder = tmp_path_factory.mktemp("release") / Path(FOLDER).name
    folder.mkdir()
    found = enrolled(command, target, folder)
    signed_clear(found.clear, OWNER, folder / "signed.tzm")
    signer = signing_key(image_of(target.env.config))
    assert signer
    crash = with_libraries(
        bundle_examples.BUNDLE, example_library(crash=True), signer, [bundle_examples.KERNELS_DIGEST]
    )
    found.keys["crash"] = seal(crash, OWNER, folder / "crash.tzm")
    samples, _ = held_out_digits()
    np.save(folder / "x.npy", samples[:1])
    np.save(folder / "end.npy", np.full(16, -1, np.float32).reshape(crash.inputs()[0].shape))
    (folder / "open_session.py").write_bytes((Path(__file__).parent / "target/open_session.py").read_bytes())
    for name in ("signed.tzm", "crash.tzm", "x.npy", "end.npy", "open_session.py"):
        found.put(name)
    return found


def signed_clear(bundle: Bundle, owner: OwnerKey, path: Path) -> None:
    """Write a bundle that its owner signed, and did not seal."""
    with path.open("w+b") as file:
        container.write(file, replace(bundle.header(), owner=owner.public), bundle.sections(), owner.sign)


def test_a_sealed_model_answers_as_it_does_in_the_normal_world(lab: Granted) -> None:
    samples, labels = held_out_digits()
    np.savez(lab.folder / "set.npz", image=samples[:30], labels=labels[:30])
    lab.put("set.npz")
    lab.grant("full")
    evaluate = (
        f"tzml evaluate {FOLDER}/sealed.tzm --grant {FOLDER}/full.tzg --against {FOLDER}/clear.tzm "
        f"--data {FOLDER}/set.npz --json"
    )
    (line,) = lab.command.run_check(evaluate, timeout=scaled(240))
    report = json.loads(line)
    assert report["equal"]
    assert report["scores"][0]["top_1"] >= 28


def test_each_answer_says_whether_other_models_run_here_too(lab: Granted, image: Description) -> None:
    lab.grant("full")
    run = f"tzml run {FOLDER}/sealed.tzm --grant {FOLDER}/full.tzg --input {INPUT}"
    (line,) = lab.command.run_check(f"{run} --json", timeout=scaled(120))
    assert (CLEAR_WARNING in json.loads(line)["warning"]) == (not image.release)
    said = "\n".join(lab.command.run_check(f"{run} 2>&1 >/dev/null", timeout=scaled(120)))
    assert (CLEAR_WARNING in said) == (not image.release)


def test_what_nobody_sealed_is_refused_by_a_release(lab: Granted, image: Description) -> None:
    """Unsigned or signed: it runs only in the normal world, where it protects nothing."""
    answers = lab.do(("signed", ""), ("clear", ""))
    if image.release:
        assert answers == ["UNSEALED"] * 2
    else:
        assert all(isinstance(answer, list) for answer in answers) or answers == ["DOWNGRADE"] * 2
    out, errors, code = lab.command.run(f"tzml run {ZOO} --input {INPUT}", timeout=scaled(120))
    assert code == (2 if image.release else 0)
    if image.release:
        (said,) = [*out, *errors]
        assert "this device runs sealed models only" in said
    lab.command.run_check(f"tzml run {ZOO} --input {INPUT} --world ree", timeout=scaled(120))


def test_a_ta_that_dies_says_nothing_on_the_consoles_of_a_release(
    lab: Granted, image: Description, record: ConsoleRecord
) -> None:
    lab.grant("full")
    lab.grant("crash", bundle="crash")
    before = len(dumped(record))
    run = f"tzml run {FOLDER}/crash.tzm --grant {FOLDER}/crash.tzg --input {FOLDER}/end.npy"
    out, errors, code = lab.command.run(run, timeout=scaled(120))
    assert code
    assert "the TA stopped (panicked)" in "\n".join([*out, *errors])
    # a development image does, so the pattern finds what a release must not print
    assert record.wait(lambda: len(dumped(record)) > before, scaled(5)) == (not image.release)
    if image.release:
        assert dumped(record) == []
        assert [line.text for line in record.lines(Speaker.secure)] == []
    assert isinstance(lab.do(("sealed", "full"))[0], list), "and other models go on"


def dumped(record: ConsoleRecord) -> list[str]:
    """What OP-TEE and TAs have printed, on either console."""
    return [line.text for speaker in Speaker for line in record.lines(speaker) if DUMP.search(line.text)]


def opens(lab: Granted, uuid: str) -> str:
    """What OP-TEE answers a program that opens a session there."""
    (answer,) = lab.command.run_check(f"python3 {FOLDER}/open_session.py {uuid}", timeout=scaled(60))
    return answer


@pytest.mark.parametrize("uuid", [TESTS, STATISTICS], ids=["tests", "statistics"])
def test_what_helps_to_develop_is_not_in_a_release(lab: Granted, image: Description, uuid: str) -> None:
    assert opens(lab, TA) == "0x00000000"
    assert opens(lab, uuid) == (ABSENT if image.release else "0x00000000")


@pytest.mark.lg_feature("release")
def test_a_release_has_one_ta_and_no_test_programs(lab: Granted) -> None:
    assert lab.command.run_check("ls /usr/lib/optee_armtz") == [f"{TA}.ta"]
    assert lab.command.run("command -v xtest tzml-ta-test")[0] == []
    assert lab.command.run("find / -xdev -path '*tee-supplicant/plugins/*'")[0] == []


@pytest.mark.lg_feature("release")
def test_nobody_logs_in_on_the_console_of_a_release(lab: Granted, target: Target) -> None:
    (status,) = lab.command.run_check("passwd --status root")
    assert status.split()[:2] == ["root", "L"]  # locked: no password is right
    console: RecordedConsole = target.get_driver("TrustZoneQEMUDriver")
    console.sendline("")
    console.expect("tzml login: ", timeout=scaled(60))
    console.sendline("root")
    console.expect("Password: ", timeout=scaled(60))
    console.sendline("")
    console.expect("Login incorrect", timeout=scaled(60))
