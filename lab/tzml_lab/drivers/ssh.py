"""SSH to a machine whose host key nobody has seen before."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import attr
from labgrid import target_factory
from labgrid.driver import ShellDriver
from labgrid.resource import NetworkService

from tzml_lab.labgrid_internals import SSHBase
from tzml_lab.time_limits import scaled

# The name under which ssh looks up the key: the address says nothing about which machine it is
_ALIAS = "target"


@target_factory.reg_driver
@attr.s(eq=False)
class ConsoleTrustSSHDriver(SSHBase):
    """SSHDriver that trusts the host key which the target itself shows on its console, and no other.

    A fresh image makes its host keys on the first boot, so nobody can know them in advance; labgrid then
    checks nothing. Here the shell on the serial line, which leads to the target and nowhere else, is asked.

    Args:
        key (str): reference to the images key for the private key that the image lets in

    See SSHDriver for the others; `keyfile` and `connection_timeout` have no place here.

    """

    bindings = {"networkservice": NetworkService, "shell": ShellDriver}  # noqa: RUF012 (how labgrid declares them)

    key: str = attr.ib(default="ssh-key", validator=attr.validators.instance_of(str))

    def on_activate(self) -> None:
        self._secrets = Path(tempfile.mkdtemp(prefix="tzml-ssh-"))
        # ssh refuses a private key that others may read, as a shared deploy folder may have it
        copy = self._secrets / "key"
        copy.touch(0o600)
        copy.write_bytes(Path(self.target.env.config.get_image_path(self.key)).read_bytes())
        self.keyfile = str(copy)
        keys = self.shell.run_check("cat /etc/ssh/ssh_host_*_key.pub")
        (self._secrets / "known_hosts").write_text("".join(f"{_ALIAS} {key}\n" for key in keys))
        self.connection_timeout = scaled(60)
        super().on_activate()

    def first_options(self) -> Sequence[str]:
        """Trust the keys that were read, and nothing else."""
        hosts = f"UserKnownHostsFile={self._secrets / 'known_hosts'}"
        return (hosts, "StrictHostKeyChecking=yes", f"HostKeyAlias={_ALIAS}", "IdentitiesOnly=yes")

    def on_deactivate(self) -> None:
        try:
            super().on_deactivate()
        finally:
            shutil.rmtree(self._secrets)
