"""The networks of the zoo are what the literature says, and mean in PyTorch what they mean in ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from small_models import floats

from tzml_zoo import ZooModel, models
from tzml_zoo.check import check

SMALL = ("gru_keywords", "lstm_keywords", "squeezenet", "efficientnet_lite0")


@pytest.mark.parametrize("name", SMALL)
def test_parameters_and_operations_are_the_literatures(name: str) -> None:
    model = models()[name]
    _, net = model.build()
    assert (net.parameters, net.macs) == (model.parameters, model.macs)


@pytest.mark.parametrize("name", ["digits", "gru_keywords"])
def test_a_network_compiles_and_agrees_with_onnx_runtime(name: str, libtzml: Path) -> None:
    found = check(models()[name], "onnx", 5, 8 << 20)
    assert found.agree == found.samples == 5
    assert found.difference < 1e-5


# these take long; a quantized network has no twin in PyTorch
TWINS = [model for model in models().values() if model.name not in ("vgg16", "vgg19", "digits_int8")]


@pytest.mark.parametrize("model", TWINS, ids=lambda model: model.name)
def test_a_network_means_the_same_to_pytorch(model: ZooModel) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch: make test-frontends")
    from tzml_zoo.torch_twin import torch_twin

    x = floats(*model.input_shape)
    theirs = onnxruntime.InferenceSession(str(model.onnx())).run(None, {model.input: x})[0]
    with torch.no_grad():
        twin = torch_twin(model.onnx())(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(twin, theirs, atol=1e-4 * max(1, np.abs(theirs).max()))
