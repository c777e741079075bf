"""SSH to a machine with a new, unknown host key."""

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

# ssh looks up the host key under this name, because the address does not identify the machine.
_ALIAS = "target"


@target_factory.reg_driver
@attr.s(eq=False)
class ConsoleTrustSSHDriver(SSHBase):
    """SSHDriver that trusts only the host key that the target shows on its console.

    A fresh image makes its host keys at its first boot, so nobody can know them in advance, and labgrid checks
    nothing. This driver asks the shell on the serial line, which can only lead to the target.

    Args:
        key (str): reference to the images key for the private key that the image lets in

    See SSHDriver for the others. `keyfile` and `connection_timeout` are ignored.

    """

    bindings = {"networkservice": NetworkService, "shell": ShellDriver}  # noqa: RUF012 (how labgrid declares them)

    key: str = attr.ib(default="ssh-key", validator=attr.validators.instance_of(str))

    def on_activate(self) -> None:
        self._secrets = Path(tempfile.mkdtemp(prefix="tzml-ssh-"))
        # ssh refuses a private key that others can read, and in a shared deploy folder they may
        copy = self._secrets / "key"
        copy.touch(0o600)
        copy.write_bytes(Path(self.target.env.config.get_image_path(self.key)).read_bytes())
        self.keyfile = str(copy)
        keys = self.shell.run_check("cat /etc/ssh/ssh_host_*_key.pub")
        (self._secrets / "known_hosts").write_text("".join(f"{_ALIAS} {key}\n" for key in keys))
        self.connection_timeout = scaled(60)
        super().on_activate()

    def first_options(self) -> Sequence[str]:
        """Options that trust only the keys that were read."""
        hosts = f"UserKnownHostsFile={self._secrets / 'known_hosts'}"
        return (hosts, "StrictHostKeyChecking=yes", f"HostKeyAlias={_ALIAS}", "IdentitiesOnly=yes")

    def on_deactivate(self) -> None:
        try:
            super().on_deactivate()
        finally:
            shutil.rmtree(self._secrets)
