"""An owner's key in a token (SoftHSM) signs what a key in a file signs, and is never read."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pkcs11
import pytest
from click.testing import CliRunner, Result
from pkcs11.util.ec import encode_named_curve_parameters

from tzml.cli import tzml
from tzml.device import DeviceRecord
from tzml.owner.grant import read_grant
from tzml.owner.pkcs11 import TokenKey, token_key
from tzml.owner.seal import ContentKey

PIN = "12345"
DEVICE = DeviceRecord(
    # of a key that nobody needs: the generator of P-256
    bytes.fromhex(
        "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    ),
    bytes(32),
    (),
    None,
)


def module() -> Path:
    """SoftHSM's library, where Debian's package has it."""
    listed = subprocess.run(["dpkg", "-L", "libsofthsm2"], capture_output=True, text=True, check=True).stdout
    return next(Path(line) for line in listed.split() if line.endswith("libsofthsm2.so"))


@dataclass
class Token:
    """A token with the keys `owner` (id 01) and `other curve`, a folder, and how URIs begin and end."""

    folder: Path
    module: Path

    def uri(self, name: str, token: str = "studio") -> str:
        return f"pkcs11:token={token};{name}?module-path={self.module}"

    @contextmanager
    def key(self, name: str = "object=owner") -> Iterator[TokenKey]:
        with token_key(self.uri(name), PIN) as key:
            yield key

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(tzml, arguments)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    folder = tmp_path_factory.mktemp("token")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\n")
    (folder / "pin").write_text(f"{PIN}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", "studio", "--so-pin", PIN, "--pin", PIN],
            check=True, capture_output=True,
        )  # fmt: skip
        library = pkcs11.lib(str(module()))
        library.reinitialize()  # it may have been loaded with another token
        with library.get_token(token_label="studio").open(user_pin=PIN, rw=True) as session:
            for name, curve, number in (("owner", "secp256r1", b"\1"), ("other curve", "secp384r1", b"\2")):
                parameters = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
                domain = session.create_domain_parameters(pkcs11.KeyType.EC, parameters, local=True)
                domain.generate_keypair(store=True, label=name, id=number)
        patch.chdir(folder)
        ContentKey(bytes(32), bytes(16), bytes(32)).write(folder / "model.tzk")
        DEVICE.write(folder / "device.tzd")
        yield Token(folder, module())


def test_a_grant_is_signed_in_the_token(token: Token) -> None:
    done = token.run(
        "grant",
        "model.tzk",
        "--owner",
        token.uri("object=owner"),
        "--passphrase-file",
        "pin",
        "--device",
        "device.tzd",
    )
    assert done.exit_code == 0, done.output
    grant = read_grant((token.folder / "model.tzg").read_bytes())  # checks the signature
    with token.key("id=%01") as key:
        assert grant.owner == key.public


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("object=none", "has not one P-256 key 'none'"),
        ("object=other%20curve", "is not a P-256 key"),
        ("object=owner;id=%02", "has not one P-256 key 'owner'"),
        ("object=owner;serial=1", "has 'serial'"),
        ("object=owner;object=other", "says something twice"),
        ("object=owner;type=public", "is not of a private key"),
        ("type=private", "lacks token, object or id, or module-path"),
    ],
)
def test_what_names_no_owners_key_is_refused(token: Token, name: str, says: str) -> None:
    done = token.run(
        "revoke", "model.tzk", "--owner", token.uri(name), "--passphrase-file", "pin", "--device", "device.tzd"
    )
    assert says in str(done.exception)
    assert not (token.folder / "model.revoked.tzg").exists()


@pytest.mark.parametrize(
    ("owner", "pin", "says"),
    [
        ("pkcs11:token=studio;object=owner?module-path=/none.so", "pin", "cannot use /none.so"),
        ("{elsewhere}", "pin", "there is no token 'elsewhere'"),
        ("{owner}", "wrong", "cannot open the token 'studio' (PinIncorrect)"),
        ("{owner}", "", "a token needs a PIN"),
    ],
)
def test_a_token_that_does_not_open_is_an_error(token: Token, owner: str, pin: str, says: str) -> None:
    (token.folder / "wrong").write_text("54321\n")
    owner = owner.format(owner=token.uri("object=owner"), elsewhere=token.uri("object=owner", "elsewhere"))
    more = ["--passphrase-file", pin] if pin else []
    done = token.run("grant", "model.tzk", "--owner", owner, *more, "--device", "device.tzd", "-o", "refused.tzg")
    assert says in str(done.exception)
    assert not (token.folder / "refused.tzg").exists()
