"""What `tzml times` measures is what the stages take, and each is measured as often as it was asked for."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

import pytest
from programs import run_module
from small_models import DATA

from tzml import stage_times
from tzml.compiler import CompileOptions
from tzml.owner.keys import generate, public_pem
from tzml.stage_times import Took, mean, measure
from tzml_zoo.digits import ONNX

pytestmark = pytest.mark.usefixtures("libtzml")


def tzml(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command; kernels are compiled each time, which takes minutes on a busy machine."""
    return run_module("tzml", *arguments, timeout=1200)


def test_a_table_and_json_have_the_means_of_models_and_formats(tmp_path: Path) -> None:
    models = (ONNX, DATA / "float32.tflite", DATA / "int8.tflite")
    done = tzml("times", *models, "--repeat", "2", "--runs", "3", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    about = json.loads(done.stdout)
    assert [(Path(m["model"]), m["format"]) for m in about["models"]] == list(
        zip(models, ("ONNX", "TFLite", "TFLite"), strict=True)
    )
    for model in about["models"]:
        assert {stage: len(took) for stage, took in model["samples"].items()} == {"import": 2, "build": 2, "run": 6}
        for stage, samples in model["samples"].items():
            assert all(min(took["wall"], took["cpu"]) > 0 for took in samples)
            assert model["mean"][stage]["cpu"] == pytest.approx(sum(t["cpu"] for t in samples) / len(samples))
    assert set(about["formats"]) == {"ONNX", "TFLite"}
    tflite = [model["mean"]["build"]["wall"] for model in about["models"][1:]]
    assert about["formats"]["TFLite"]["build"]["wall"] == pytest.approx(sum(tflite) / 2)
    assert about["formats"]["ONNX"] == about["models"][0]["mean"]
    done = tzml("times", *models[1:], "--repeat", "1", "--runs", "0")
    head, *rows = done.stdout.splitlines()
    assert head.split("  ")[0] == "model"
    assert [re.split(r"\s{2,}", row)[:2] for row in rows] == [
        ["float32.tflite", "TFLite"], ["int8.tflite", "TFLite"], ["mean", "TFLite"],
    ]  # fmt: skip
    assert all(row.split()[-2:] == ["-", "-"] for row in rows)


def test_each_stage_has_its_own_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A compiler that waits here and computes there is seen to do so."""

    def compute(seconds: float) -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    class Bundle:
        def write(self, path: Path) -> None:
            time.sleep(0.3)

    def compile_model(path: Path, options: CompileOptions, progress: stage_times.Progress) -> Bundle:
        progress("importing")
        compute(0.3)
        progress("simplifying")
        progress("simplifying")
        return Bundle()

    monkeypatch.setattr(stage_times, "compile_model", compile_model)
    times = measure(tmp_path / "x", CompileOptions("host"), 0)
    [imported], [built] = times["import"], times["build"]
    assert imported.cpu >= 0.3 > built.cpu
    assert built.wall >= 0.3
    assert times["run"] == []


def test_kernels_are_compiled_each_time_and_the_cache_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TZML_CACHE", str(tmp_path))
    measure(ONNX, CompileOptions("host"), 0)
    assert not (tmp_path / "kernels").exists()


def test_an_encrypted_model_is_measured_too(tmp_path: Path) -> None:
    key = generate(tmp_path / "key.pem")
    (tmp_path / "key.pub.pem").write_bytes(public_pem(key.public))
    assert tzml("encrypt", ONNX, "--for", tmp_path / "key.pub.pem", "-o", tmp_path / "x.tze").returncode == 0
    done = tzml(
        "times", tmp_path / "x.tze", "--key", tmp_path / "key.pem", "--repeat", "1", "--runs", "1", "--json"
    )
    assert (done.returncode, done.stderr) == (0, "")
    [model] = json.loads(done.stdout)["models"]
    assert model["format"] == "ONNX"
    assert model["mean"]["run"]["wall"] > 0
    assert "is encrypted; give the private key" in tzml("times", tmp_path / "x.tze").stderr


def test_means_are_of_what_there_is() -> None:
    assert mean([]) is None
    assert mean([Took(1, 2), Took(3, 6)]) == Took(2, 4)
