"""What the caller says about proxies and certificates reaches apt and pip: seen by a proxy and a server."""

from __future__ import annotations

import hashlib
import http.server
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bb
import pytest
import yaml
from conftest import ROOT
from tzmldebian import apt, fetch

from .test_apt import LocalArchive, fetched, same_fetchers  # noqa: F401 (a fixture)

HOST = "archive.invalid"  # nobody but the proxy knows it


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder, also as the proxy for any host, and keeps what was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        path = self.server.folder / urlsplit(self.path).path.lstrip("/")
        data = path.read_bytes() if path.is_file() else b""
        self.send_response(200 if path.is_file() else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_CONNECT(self) -> None:
        self.server.asked.append(self.path)
        self.send_error(403)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalArchive:
    monkeypatch.setattr(apt, "KEYRING", tmp_path / "no-keyring")
    archive = LocalArchive(tmp_path / "archive")
    archive.add("app", "1.0-1")
    archive.publish()
    return archive


def serve(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def proxy(archive: LocalArchive) -> Iterator[Server]:
    yield from serve(Server(archive.folder))


@pytest.fixture
def recipe(d: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A datastore of a task, to whose environment nothing was passed on."""
    for name in fetch.NETWORK_VARIABLES | {"PIP_PROXY", "PIP_INDEX_URL"}:
        monkeypatch.delenv(name, raising=False)
    d.setVar("BB_ORIGENV", bb.data.init())
    d.setVar("DEB_HOST_ARCH", "arm64")
    d.setVar("DL_DIR", str(tmp_path / "downloads"))
    d.setVar("FETCHED_DIR", str(tmp_path / "fetched"))
    d.setVar("HOST_HOME", str(tmp_path))
    d.setVar("PYTHON_HOST", str(ROOT / ".venv/bin/python3"))
    return d


def say(d: Any, **variables: str) -> None:
    """The caller's environment."""
    for name, value in variables.items():
        d.getVar("BB_ORIGENV", False).setVar(name, value)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_debian_is_fetched_through_the_proxy(recipe: Any, proxy: Server, variable: str) -> None:
    recipe.setVar("DEBIAN_MIRROR", f"[trusted=yes] http://{HOST}")
    say(recipe, **{variable: f"http://127.0.0.1:{proxy.server_port}"})
    assert fetched(recipe, "apt-binary://app;suite=sid") == ["app_1.0-1_arm64.deb"]
    assert f"http://{HOST}/pool/app_1.0-1_arm64.deb" in proxy.asked
    assert len(proxy.asked) >= 3  # the release, its indices, the package


def test_a_host_that_needs_no_proxy_is_asked_itself(recipe: Any, proxy: Server, archive: LocalArchive) -> None:
    direct = Server(archive.folder)
    for server in serve(direct):
        recipe.setVar("DEBIAN_MIRROR", f"[trusted=yes] http://127.0.0.1:{server.server_port}")
        say(recipe, HTTP_PROXY=f"http://127.0.0.1:{proxy.server_port}", NO_PROXY="127.0.0.1")
        fetched(recipe, "apt-binary://app;suite=sid")
    assert (bool(direct.asked), proxy.asked) == (True, [])


WHEEL = f"pypi-wheel://app;version=1;python=3.13;platform=any;sha256sum={'0' * 64}"


@pytest.mark.parametrize("variable", ["PIP_PROXY", "HTTP_PROXY"])
def test_pypi_is_asked_through_the_proxy(recipe: Any, proxy: Server, variable: str) -> None:
    say(recipe, PIP_INDEX_URL=f"http://{HOST}/simple", PIP_TRUSTED_HOST=HOST, PIP_RETRIES="0")
    say(recipe, **{variable: f"http://127.0.0.1:{proxy.server_port}"})
    with pytest.raises(bb.fetch2.FetchError, match="No matching distribution found for app==1"):
        fetched(recipe, WHEEL)
    assert proxy.asked == [f"http://{HOST}/simple/app/"]


def test_bitbakes_own_fetchers_use_the_proxy(recipe: Any, proxy: Server, archive: LocalArchive) -> None:
    """Those of a product's recipe: wget reads only the variables in small letters."""
    archive.folder.joinpath("source.txt").write_text("text")
    digest = hashlib.sha256(b"text").hexdigest()
    recipe.setVar("SRC_URI", f"http://{HOST}/source.txt;sha256sum={digest}")
    recipe.setVar("PATH", os.environ["PATH"])
    recipe.setVar("FILESPATH", "")
    say(recipe, HTTP_PROXY=f"http://127.0.0.1:{proxy.server_port}")
    fetch.register()
    fetch.download(recipe)
    assert proxy.asked == [f"http://{HOST}/source.txt"]


@pytest.fixture
def https(archive: LocalArchive, tmp_path: Path) -> Iterator[Server]:
    """A server whose certificate nobody but who reads tmp_path/server.pem trusts."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", "key.pem", "-out", "server.pem", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    server = Server(archive.folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    yield from serve(server)


@pytest.mark.parametrize("variable", [None, "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_a_certificate_that_the_caller_trusts_is_trusted(
    recipe: Any, https: Server, tmp_path: Path, variable: str | None
) -> None:
    tmp_path.joinpath("apt.conf").write_text('Acquire::Retries "0";')
    recipe.setVar("DEBIAN_MIRROR", f"[trusted=yes] https://localhost:{https.server_port}")
    say(recipe, APT_CONFIG=str(tmp_path / "apt.conf"))
    say(recipe, PIP_INDEX_URL=f"https://localhost:{https.server_port}/simple", PIP_RETRIES="0")
    if variable is None:
        with pytest.raises(bb.fetch2.FetchError):
            fetched(recipe, "apt-binary://app;suite=sid")
        assert https.asked == []
        return
    say(recipe, **{variable: str(tmp_path / "server.pem")})
    assert fetched(recipe, "apt-binary://app;suite=sid") == ["app_1.0-1_arm64.deb"]
    shutil.rmtree(tmp_path / "downloads")
    with pytest.raises(bb.fetch2.FetchError, match="No matching distribution found for app==1"):
        fetched(recipe, WHEEL)
    assert "/simple/app/" in https.asked


def test_kas_passes_on_what_the_fetchers_use() -> None:
    passed = yaml.safe_load((ROOT / "kas/include/debian.yml").read_text())["env"]
    needed = {"ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "FTP_PROXY"}
    needed |= {name.lower() for name in needed} | set(fetch.CERTIFICATES) - {"GIT_SSL_CAINFO"}
    needed |= {"APT_CONFIG", "PIP_INDEX_URL", "PIP_PROXY", "PIP_TRUSTED_HOST", "SSL_CERT_DIR", "XDG_CONFIG_HOME"}
    assert needed <= set(passed)
    assert all(passed[name] is None for name in needed)
