"""Keras and TensorFlow files answer as their frameworks do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import CompileAndRun, floats

from tzml.compiler import InputSpec
from tzml.compiler.frontends import import_file
from tzml.compiler.ir.errors import CompileError

tf = pytest.importorskip("tensorflow", reason="needs TensorFlow: make test-frontends")
pytest.importorskip("tf2onnx", reason="needs tf2onnx: make test-frontends")

SHAPE = (1, 12, 12, 3)


@pytest.fixture(scope="module")
def network() -> Any:
    from frontends.make_fixtures import keras_network

    return keras_network(quantizable=False)


def freeze(network: Any, path: Path) -> None:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    spec = tf.TensorSpec((None, *SHAPE[1:]), tf.float32, name="image")
    frozen = convert_variables_to_constants_v2(tf.function(lambda x: network(x)).get_concrete_function(spec))
    tf.io.write_graph(frozen.graph.as_graph_def(), str(path.parent), path.name, as_text=False)


@pytest.mark.parametrize("kind", ["keras", "saved_model", "frozen"])
def test_a_model_answers_as_tensorflow(
    kind: str, network: Any, tmp_path: Path, compile_and_run: CompileAndRun
) -> None:
    path = tmp_path / "model.keras"
    if kind == "keras":
        network.save(path)
    elif kind == "saved_model":
        path = tmp_path / "saved"
        network.export(path, verbose=False)
    else:
        freeze(network, path)
    (name,) = ["x" if kind == "frozen" else "image"]
    if kind == "frozen":
        (name,) = [node.name for node in _graph(path).node if node.op == "Placeholder"]
    x = floats(3, *SHAPE)
    theirs = np.stack([network(sample).numpy() for sample in x])
    np.testing.assert_allclose(compile_and_run(path, x, **{name: SHAPE}), theirs, atol=1e-6)


def _graph(path: Path) -> Any:
    graph = tf.compat.v1.GraphDef()
    graph.ParseFromString(path.read_bytes())
    return graph


def save(tmp_path: Path, shape: tuple[int, ...], *layers: Any) -> Path:
    import keras

    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input(shape, name="x"), *layers]).save(path)
    return path


def test_recurrent_layers_are_unrolled(tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    import keras

    path = save(tmp_path, (4, 5), keras.layers.LSTM(6, return_sequences=True), keras.layers.GRU(3))
    x = floats(1, 1, 4, 5)
    theirs = keras.saving.load_model(path)(x[0]).numpy()
    np.testing.assert_allclose(compile_and_run(path, x, x=(1, 4, 5))[0], theirs, atol=1e-6)


def test_an_open_batch_is_named(network: Any, tmp_path: Path) -> None:
    network.save(tmp_path / "model.keras")
    with pytest.raises(CompileError, match=r"input image has open dimensions: .*; give --input image=1x12x12x3"):
        import_file(tmp_path / "model.keras", {}, lambda _: None)


def test_code_that_a_keras_file_brings_is_not_run(tmp_path: Path) -> None:
    import keras

    path = save(tmp_path, (4,), keras.layers.Lambda(lambda x: x + 1))
    with pytest.raises(CompileError, match="Keras cannot load it"):
        import_file(path, {"x": InputSpec((1, 4))}, lambda _: None)


def test_an_operator_without_a_kernel_is_named(tmp_path: Path) -> None:
    class Module(tf.Module):  # type: ignore[misc,name-defined]
        @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def run(self, x: Any) -> Any:
            return {"y": tf.math.bessel_i0(x)}

    module = Module()
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.run})
    with pytest.raises(CompileError, match="no support for the operator BesselI0"):
        import_file(tmp_path, {}, lambda _: None)
