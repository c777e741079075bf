"""A device behind QEMU's network, which lets nobody in: it pulls a sealed model and its grant, and serves it.

What the image has not is copied there as docs/serving.md says.
"""

from __future__ import annotations

import functools
import http.server
import importlib.util
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from labgrid import Target

from tzml.fleet.publish import Repository
from tzml_lab.environment import ROOT
from tzml_lab.faults import RecordProperty
from tzml_lab.inference.granted import Granted, enrolled
from tzml_lab.target import Commands, files_of
from tzml_lab.time_limits import scaled

pytestmark = [pytest.mark.full, pytest.mark.lg_feature(["emulator", "network", "python", "systemd"])]

FOLDER, HOST = "/opt/puller", "10.0.2.2"  # on the target; what QEMU's user network calls this host
MODELS, DROP_IN = "/var/lib/tzml/models", "/run/systemd/system/tzml-serve.service.d"
OPTIONS = f"--grant digits={MODELS}/digits/current/model.tzg digits={MODELS}/digits/current/model.tzm"


@pytest.fixture(scope="module")
def lab(command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Granted]:
    """An enrolled device with what pulls, and tzml-serve that is to serve what was pulled."""
    folder = tmp_path_factory.mktemp("pull")
    (folder / "sealed").mkdir()
    found = enrolled(command, target, folder / "sealed")
    puller = folder / Path(FOLDER).name
    for name in ("tuf", "securesystemslib", "urllib3"):
        [place] = importlib.util.find_spec(name).submodule_search_locations  # type: ignore[union-attr, misc]
        shutil.copytree(place, puller / name, ignore=shutil.ignore_patterns("__pycache__", "test_data"))
    shutil.copytree(ROOT / "py/tzml", puller / "tzml", ignore=shutil.ignore_patterns("__pycache__"))
    command.run_check(f"rm -rf {FOLDER} {MODELS}/digits")
    files_of(target).put(str(puller), FOLDER)
    command.run_check(
        f"mkdir -p {DROP_IN} && echo 'TZML_SERVE_OPTIONS=\"{OPTIONS}\"' >{FOLDER}/options && "
        f"printf '[Service]\\nEnvironmentFile=\\nEnvironmentFile={FOLDER}/options\\n' >{DROP_IN}/pull.conf && "
        "systemctl daemon-reload",
        timeout=scaled(60),
    )
    yield found
    command.run("systemctl stop tzml-serve", timeout=scaled(60))
    command.run(f"rm -rf {FOLDER} {MODELS}/digits {DROP_IN} && systemctl daemon-reload", timeout=scaled(60))


def test_a_device_installs_what_its_owner_signed_and_serves_it(
    lab: Granted, tmp_path: Path, record_property: RecordProperty
) -> None:
    sealed, grant = lab.folder / "sealed.tzm", lab.folder / "full.tzg"
    lab.grant("full")
    www = tmp_path / "www"
    repository = Repository(www, tmp_path / "keys")
    repository.begin()
    repository.publish("digits", sealed, {"here": grant})
    files_of(lab.target).put(str(www / "metadata" / "1.root.json"), f"{FOLDER}/1.root.json")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=www)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        pull = (
            f"PYTHONPATH={FOLDER} python3 -m tzml fleet pull http://{HOST}:{server.server_address[1]}/ "
            f"--root {FOLDER}/1.root.json --model digits --device here"
        )
        said = lab.command.run_check(f"bash -c 'time -p {pull}' 2>&1", timeout=scaled(300))
        print(said)
        record_property("pull", " ".join(said))
        assert any(line.endswith(" is served") for line in said)
        again = lab.command.run_check(f"bash -c 'time -p {pull}' 2>&1", timeout=scaled(300))
        record_property("pull without news", " ".join(again))
        print(again)
        assert any(line.endswith(" is here") for line in again)
        # the same with one byte changed, which nobody signed
        changed = bytearray(sealed.read_bytes())
        changed[-1] ^= 1
        (tmp_path / "changed.tzm").write_bytes(changed)
        repository.publish("digits", tmp_path / "changed.tzm", {"here": grant})
        [place] = [p for p in (www / "targets" / "digits").glob("*.model.tzm") if p.read_bytes() == changed]
        place.write_bytes(sealed.read_bytes())
        said, _, code = lab.command.run(f"{pull} 2>&1", timeout=scaled(300))
        assert (code, "is not the file that the owner published" in " ".join(said)) == (2, True), said
        # signed, but not what the TA opens: what was served is served on
        place.write_bytes(changed)
        said, _, code = lab.command.run(f"{pull} --wait 20 2>&1", timeout=scaled(300))
        assert (code, "went back to" in " ".join(said)) == (2, True), said
        server.shutdown()
    lab.command.run_check(
        "python3 -c \"import urllib.request as u; u.urlopen('http://127.0.0.1:8000/v2/models/digits/ready')\""
    )
    [installed] = lab.command.run_check(f"sha256sum {MODELS}/digits/current/model.tzm")
    [expected] = lab.command.run_check("sha256sum /tmp/sealed/sealed.tzm")
    assert installed.split()[0] == expected.split()[0]
