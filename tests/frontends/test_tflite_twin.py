"""A TFLite file of the zoo computes what the ONNX file does, in the graph that LiteRT is fastest with."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from small_models import floats

from tzml.bench import runtimes
from tzml.cli.zoo import command
from tzml.errors import TzmlError
from tzml_zoo.builder import Net, Value

SHAPE = (1, 3, 32, 32)


def network(net: Net, x: Value) -> Value:
    """What networks of the zoo have that a converter may leave transposed or apart."""
    x = net.relu6(net.batch_norm("bn1", net.conv("conv1", x, 8, 3, stride=2, padding=(0, 0, 1, 1))))
    y = net.conv("conv2", x, 8, 3, padding=1, groups=8)
    x = net.relu(net.batch_norm("bn2", net.concat([x, y])))
    x = net.add(net.conv("conv3", x, 16, 1, bias=True), net.avg_pool(x, 3, 1, 1))
    return net.linear("fc", net.global_avg_pool(net.max_pool(x, 2, 2)), 10)


def test_litert_answers_as_onnx_runtime(tmp_path: Path) -> None:
    pytest.importorskip("litert_torch", reason="needs litert-torch: make test-frontends")
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    from tzml_zoo.tflite_twin import save_tflite

    net = Net("small", 1)
    onnx.save(net.model(network(net, net.input("image", *SHAPE)), "logits"), tmp_path / "small.onnx")
    x = floats(*SHAPE)
    theirs = onnxruntime.InferenceSession(str(tmp_path / "small.onnx")).run(None, {"image": x})[0]
    save_tflite(tmp_path / "small.onnx", SHAPE, tmp_path / "small.tflite")

    np.save(tmp_path / "input.npy", x)
    assert runtimes.litert(tmp_path / "small.tflite", tmp_path, runtimes.How(repeat=1))
    np.testing.assert_allclose(np.load(tmp_path / "litert.npy"), theirs, atol=1e-5)

    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # so that the file's own operators are listed
    interpreter = Interpreter(str(tmp_path / "small.tflite"), experimental_op_resolver_type=kernels)
    operators = [operator["op_name"] for operator in interpreter._get_ops_details()]
    assert operators.count("CONV_2D") + operators.count("DEPTHWISE_CONV_2D") == 3
    assert not {"TRANSPOSE", "SUB", "RELU", "RELU6"} & set(operators), operators


def test_without_the_converter_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TZML_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    monkeypatch.delitem(sys.modules, "tzml_zoo.tflite_twin", raising=False)
    done = CliRunner().invoke(command, ["convert", "lstm_keywords"])
    assert isinstance(done.exception, TzmlError)
    assert "litert-torch" in str(done.exception)
    assert "pip install 'tzml[litert]'" in str(done.exception)
