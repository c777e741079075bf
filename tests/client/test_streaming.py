"""`tzml inspect` shows what lies where; `tzml run` tells what is loaded."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tzml.bundle import read
from tzml.bundle.streaming import bytes_loaded
from tzml.cli import inspect, run
from tzml.compiler import CompileOptions, compile_model
from tzml.memory_map import memory_map, picture
from tzml_zoo.digits import ONNX


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits network in so little memory that its largest layer is split."""
    path = tmp_path_factory.mktemp("streamed") / "digits.tzm"
    compile_model(ONNX, CompileOptions("host", secure_memory=100 << 10)).write(path)
    return path


def test_inspect_tells_each_call_and_what_is_loaded_for_it(streamed: Path) -> None:
    shown = CliRunner().invoke(inspect.command, [str(streamed), "--json"])
    about = json.loads(shown.output)
    assert [call["layer"].split()[0] for call in about["calls"]][-1].startswith("softmax")
    sizes = [chunk["size"] for chunk in about["places"]]
    assert about["loaded_each_inference"] == sum(sizes[n] for call in about["calls"] for n in call["loads"])
    assert max(call["arena"] for call in about["calls"]) <= about["arena"]
    text = CliRunner().invoke(inspect.command, [str(streamed)]).output
    assert "* loaded for this call in each inference" in text
    assert len([line for line in text.splitlines() if "matmul" in line]) == len(
        [call for call in about["calls"] if "matmul" in call["layer"]]
    )


def test_nothing_in_the_map_is_in_the_same_place_at_the_same_time(streamed: Path) -> None:
    memory = memory_map(read(streamed))
    for kind in (memory.arena, memory.weights):
        for i, a in enumerate(kind):
            for b in kind[:i]:
                together = a.first <= b.last and b.first <= a.last
                assert not (together and a.start < b.start + b.size and b.start < a.start + a.size), (a, b)


def test_the_picture_has_a_box_for_everything_in_memory(streamed: Path, tmp_path: Path) -> None:
    svg, page = tmp_path / "map.svg", tmp_path / "map.html"
    done = CliRunner().invoke(inspect.command, [str(streamed), "--svg", str(svg), "--html", str(page)])
    assert done.exit_code == 0, done.output
    memory = memory_map(read(streamed))
    titles = [e.text or "" for e in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}title")]
    assert len([t for t in titles if " bytes at " in t]) == len(memory.arena) + len(memory.weights)
    assert svg.read_text() in page.read_text()
    texts = [e.text or "" for e in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"weights that stay", "weights loaded in each inference", "call", "input", "chunk 0"} <= set(texts)
    shares = [t for t in titles if t.startswith(("arena", "memory for weights", "header", "TA and its kernels"))]
    assert len(shares) == 3  # for this host: there is no TA
    with_ta = picture(replace(read(streamed), code_memory=1 << 20), "with a TA")
    assert "TA and its kernels 1.00 MiB, 92%" in with_ta
    assert sum(int(t.rpartition(" ")[2].rstrip("%")) for t in shares) == pytest.approx(100, abs=2)


def test_run_reports_what_each_inference_loads(streamed: Path, tmp_path: Path, libtzml: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 1, 28, 28), np.float32))
    arguments = [str(streamed), "--input", str(tmp_path / "x.npy"), "--world", "ree", "--repeat", "3"]
    report = json.loads(CliRunner().invoke(run.command, [*arguments, "--json"]).output)["streaming"]
    # what had room when the model was opened is there for the first inference, and is not for the others
    assert report["bytes"] == pytest.approx(bytes_loaded(read(streamed).program, read(streamed).memory), rel=0.2)
    assert report["bytes"] == pytest.approx(sum(chunk["bytes"] for chunk in report["chunks"]), abs=1)
    assert all(chunk["seconds"] > 0 for chunk in report["chunks"])
    assert "bytes of weights loaded in each, in" in CliRunner().invoke(run.command, arguments).output
