"""SSH to a machine with a new, unknown host key."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import attr
from labgrid import target_factory
from labgrid.driver import ShellDriver
from labgrid.protocol import ConsoleProtocol
from labgrid.resource import NetworkService

from tzml_lab.labgrid_internals import SSHBase
from tzml_lab.time_limits import scaled

# ssh looks up the host key under this name, because the address does not identify the machine.
_ALIAS = "target"


@attr.s(eq=False)
class _ImageKeySSHDriver(SSHBase):
    """SSHDriver that is let in by the image's key, and knows the keys of no other machine.

    Args:
        key (str): reference to the images key for the private key that the image lets in

    See SSHDriver for the others. `keyfile` and `connection_timeout` are ignored.

    """

    key: str = attr.ib(default="ssh-key", validator=attr.validators.instance_of(str))

    new_keys = "yes"  # ssh_config's StrictHostKeyChecking

    def host_keys(self) -> Sequence[str]:
        """The public keys that the machine may have, as in a line of authorized_keys."""
        raise NotImplementedError

    def on_activate(self) -> None:
        self._secrets = Path(tempfile.mkdtemp(prefix="tzml-ssh-"))
        # ssh refuses a private key that others can read, and in a shared deploy folder they may
        copy = self._secrets / "key"
        copy.touch(0o600)
        copy.write_bytes(Path(self.target.env.config.get_image_path(self.key)).read_bytes())
        self.keyfile = str(copy)
        (self._secrets / "known_hosts").write_text("".join(f"{_ALIAS} {key}\n" for key in self.host_keys()))
        self.connection_timeout = scaled(60)
        super().on_activate()

    def first_options(self) -> Sequence[str]:
        """Options that trust only the keys in the file."""
        hosts = f"UserKnownHostsFile={self._secrets / 'known_hosts'}"
        checking = f"StrictHostKeyChecking={self.new_keys}"
        return (hosts, checking, f"HostKeyAlias={_ALIAS}", "IdentitiesOnly=yes")

    def on_deactivate(self) -> None:
        try:
            super().on_deactivate()
        finally:
            shutil.rmtree(self._secrets)


@target_factory.reg_driver
@attr.s(eq=False)
class ConsoleTrustSSHDriver(_ImageKeySSHDriver):
    """SSHDriver that trusts only the host key that the target shows on its console.

    A fresh image makes its host keys at its first boot, so nobody can know them in advance, and labgrid checks
    nothing. This driver asks the shell on the serial line, which can only lead to the target.

    Args:
        key (str): reference to the images key for the private key that the image lets in

    See SSHDriver for the others. `keyfile` and `connection_timeout` are ignored.

    """

    bindings = {"networkservice": NetworkService, "shell": ShellDriver}  # noqa: RUF012 (how labgrid declares them)

    def host_keys(self) -> Sequence[str]:
        """What the shell on the console says."""
        keys: Sequence[str] = self.shell.run_check("cat /etc/ssh/ssh_host_*_key.pub")
        return keys


@target_factory.reg_driver
@attr.s(eq=False)
class FirstUseSSHDriver(_ImageKeySSHDriver):
    """SSHDriver that trusts the host key that it meets first, for images without a login on the console.

    It is for addresses of this host, such as the port that QEMU forwards: nobody can stand in between.

    Args:
        key (str): reference to the images key for the private key that the image lets in

    See SSHDriver for the others. `keyfile` and `connection_timeout` are ignored.

    """

    bindings = {"networkservice": NetworkService, "console": ConsoleProtocol}  # noqa: RUF012 (as above)

    listens_only = True  # it is bound to the console so that it ends with it, and leaves it to others
    new_keys = "accept-new"

    def host_keys(self) -> Sequence[str]:
        """None are known."""
        return ()
