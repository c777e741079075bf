# SPDX-License-Identifier: Apache-2.0
"""testimage: networks answer on the device as another runtime does, and the device's own tests pass.

What is sent and what is expected comes from known_answers.py, which the project's own environment runs
(TZML_PYTHON): this code runs in the Python of OE-core's tests, which has no NumPy.
"""

import json
import subprocess
import tempfile
from pathlib import Path

from oeqa.core.decorator.depends import OETestDepends
from oeqa.runtime.case import OERuntimeTestCase
from oeqa.runtime.decorator.package import OEHasPackage

LIBRARY = Path(__file__).resolve().parents[3]
PTEST = "/usr/lib/tzml/ptest/run-ptest"
THERE = "/run/tzml-testimage"
WORLDS = ("tee", "ree")


class TzmlTest(OERuntimeTestCase):
    """The product on a device that has booted."""

    def known_answers(self, *arguments):
        """The output of known_answers.py."""
        command = [self.td["TZML_PYTHON"], str(LIBRARY / "known_answers.py"), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def on_target(self, command, timeout=300):
        """The output of a command that succeeds."""
        status, output = self.target.run(command, timeout=timeout)
        assert status == 0, f"{command}: {output}"
        return output

    @OETestDepends(["ssh.SSHTest.test_ssh"])
    @OEHasPackage(["python3-tzml"])
    def test_networks_answer_as_another_runtime_does(self):
        self.on_target(f"mkdir -p {THERE}")
        with tempfile.TemporaryDirectory() as here:
            for name in json.loads(self.known_answers("write", here)):
                inputs, bundle = f"{name}.inputs.npy", f"/usr/share/tzml/models/{name}.tzm"
                self.target.copyTo(f"{here}/{inputs}", f"{THERE}/{inputs}")
                for world in WORLDS:
                    output = f"{name}.{world}.npy"
                    run = f"tzml run {bundle} --input {THERE}/{inputs} --world {world} --output {THERE}/{output}"
                    self.on_target(run)
                    self.target.copyFrom(f"{THERE}/{output}", f"{here}/{output}")
            self.known_answers("check", here, *WORLDS)

    @OETestDepends(["ssh.SSHTest.test_ssh"])
    @OEHasPackage(["tzml-test"])
    def test_the_trusted_application_refuses_what_it_has_to(self):
        # it takes a sound bundle and an input: 28 x 28 float32
        self.on_target("head -c 3136 /dev/zero >/tmp/sample.bin")
        self.on_target("tzml-ta-test /usr/share/tzml/models/digits.tzm /tmp/sample.bin")

    @OETestDepends(["ssh.SSHTest.test_ssh"])
    @OEHasPackage(["tzml-ptest"])
    def test_the_client_librarys_own_test(self):
        assert "FAIL:" not in self.on_target(PTEST)
