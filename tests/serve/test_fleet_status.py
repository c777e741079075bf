"""`tzml fleet status`: what every device does, on one page, also of those that do not answer."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tzml.cli import tzml
from tzml.fleet import Device
from tzml.fleet.page import status_page
from tzml.fleet.status import DeviceStatus, ModelStatus, fleet_status, read_metrics, status_table

from .server import Server, image


def status(*arguments: str) -> Result:
    return CliRunner().invoke(tzml, ["fleet", "status", *arguments])


@pytest.fixture
def server(models: Path) -> Iterator[Server]:
    with Server(models / "plain.tzm") as server:
        yield server


def test_each_device_is_shown_with_its_models_and_what_it_answered(server: Server, tmp_path: Path) -> None:
    for value in range(3):
        assert server.infer("plain", [image(value)])[0] == 200
    assert server.infer("plain", [])[0] == 400
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        there, gone = f"kitchen={server.address}", f"garden=127.0.0.1:{nobody.getsockname()[1]}"
        alone, both = status(there), status(there, gone, "--json")
        page = tmp_path / "fleet.html"
        assert status(there, gone, "--html", str(page)).exit_code == 1
    assert alone.exit_code == 0
    assert alone.output.splitlines()[1].split()[:5] == ["kitchen", server.address, "ready", "plain", "3"]
    assert both.exit_code == 1
    kitchen, garden = json.loads(both.output)
    assert (kitchen["state"], garden["state"]) == ("ready", "unreachable")
    assert kitchen["responses"]["200"] >= 3
    assert kitchen["responses"]["400"] == 1
    (model,) = kitchen["models"]
    assert (model["name"], model["ready"], model["inferences"]) == ("plain", True, 3)
    assert model["mean"] > 0
    assert "refused" in garden["fault"]
    html = page.read_text()
    assert "1 of 2 devices ready" in html
    assert garden["fault"] in html


def test_a_device_that_freezes_is_unreachable_and_stops_no_other(server: Server, models: Path) -> None:
    with Server(models / "plain.tzm") as frozen:
        frozen.process.send_signal(signal.SIGSTOP)
        try:
            found = fleet_status([Device.parse(s.address) for s in (frozen, server)], timeout=0.5)
        finally:
            frozen.process.send_signal(signal.SIGCONT)
    assert [one.state for one in found] == ["unreachable", "ready"]
    assert "timed out" in found[0].fault


def test_what_is_no_tzml_serve_is_unreachable(server: Server) -> None:
    models, responses = read_metrics('garbage\ntzml_serve_model_ready{model="a"} x\n# HELP a\nother 7\n')
    assert (models, responses) == ([], {})
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        (found,) = fleet_status([Device.parse(f"127.0.0.1:{other.getsockname()[1]}")], timeout=0.3)
    assert found.state == "unreachable"


def test_a_model_that_is_not_ready_makes_its_device_not_ready() -> None:
    text = (
        'tzml_serve_model_ready{model="a"} 1\ntzml_serve_model_ready{model="b"} 0\n'
        'tzml_serve_inferences_total{model="b"} 1200\ntzml_serve_inference_seconds_sum{model="b"} 6\n'
        'tzml_serve_inference_seconds_count{model="b"} 1200\ntzml_serve_responses_total{code="500"} 2\n'
        'tzml_serve_responses_total{code="503"} 9\ntzml_serve_sessions_lost_total{model="b"} 4\n'
        'tzml_serve_inference_seconds_bucket{model="b",le="+Inf"} 1200\n'
    )
    models, responses = read_metrics(text)
    found = DeviceStatus("d", "d:1", "", "0", 0.1, tuple(models), responses)
    assert (found.state, found.failed) == ("not ready", 2)
    assert models[1] == ModelStatus("b", False, 1200, 0.005, 0, 0, 4)
    assert "b (not ready)" in status_table([found])
    assert "1,200" in status_table([found])
    assert "5.0 ms" in status_page([found])


def test_what_devices_say_is_no_markup() -> None:
    evil = DeviceStatus("<script>", "d:1", "<img src=x>", models=(ModelStatus("<b>", False, 0, None, 0, 0, 0),))
    page = status_page([evil])
    assert "<script>" not in page
    assert "<img" not in page
    assert "<b>" not in page
