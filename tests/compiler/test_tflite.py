"""TFLite files answer as TFLite does; a damaged one is refused before anything follows its offsets."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from small_models import DATA, Array, CompileAndRun

from tzml.compiler import CompileOptions, InputSpec, compile_model
from tzml.compiler.frontends import import_file
from tzml.compiler.frontends.tflite.check import check_tflite
from tzml.compiler.frontends.tflite.flatbuffer import FlatbufferError, Table
from tzml.compiler.ir.errors import CompileError
from tzml.metadata import read_metadata
from tzml.preprocess import Quantization

FLOAT = (DATA / "float32.tflite").read_bytes()
INT8 = (DATA / "int8.tflite").read_bytes()


def test_a_float_model_answers_as_tflite(answers: dict[str, Array], compile_and_run: CompileAndRun) -> None:
    ours = compile_and_run(DATA / "float32.tflite", answers["float32_x"])
    np.testing.assert_allclose(ours, answers["float32_y"], atol=1e-6)


def test_an_int8_model_answers_with_the_same_integers(
    answers: dict[str, Array], compile_and_run: CompileAndRun
) -> None:
    ours = compile_and_run(DATA / "int8.tflite", answers["int8_x"])
    assert ours.dtype == np.int8
    assert (ours == answers["int8_y"]).all()


def test_the_scales_of_int8_inputs_and_outputs_travel_in_the_bundle() -> None:
    bundle = compile_model(DATA / "int8.tflite", CompileOptions("host"))
    metadata = read_metadata(bundle.metadata, {port.name: port.shape for port in bundle.inputs()})
    (source,), (result,) = bundle.inputs(), bundle.outputs()
    assert metadata.quantization[result.name] == Quantization(1 / 256, -128)
    assert metadata.quantization[source.name].scale == pytest.approx(0.025, rel=0.2)


def test_dynamic_range_quantization_is_refused_with_the_way_around() -> None:
    message = (
        r"no support for the operators? FULLY_CONNECTED with dynamic-range quantization \(layer .*\).*; "
        r"convert the model without quantization, or with full integer quantization \(a representative_dataset\)"
    )
    with pytest.raises(CompileError, match=message):
        import_file(DATA / "dynamic_range.tflite", {}, lambda _: None)


def test_an_input_can_be_given_another_batch(answers: dict[str, Array], compile_and_run: CompileAndRun) -> None:
    x = answers["float32_x"]
    graph = import_file(DATA / "float32.tflite", {}, lambda _: None)
    (name,) = graph.input_names
    both = compile_and_run(DATA / "float32.tflite", x[None, :, 0], **{name: (len(x), *x.shape[2:])})
    np.testing.assert_allclose(both[0], answers["float32_y"][:, 0], atol=1e-6)
    with pytest.raises(CompileError, match=r"not \[1, 5, 5, 3\]"):
        import_file(DATA / "float32.tflite", {name: InputSpec((1, 5, 5, 3))}, lambda _: None)


def with_word(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + struct.pack("<I", value & 0xFFFFFFFF) + data[at + 4 :]


@pytest.mark.parametrize("data", [FLOAT, INT8], ids=["float", "int8"])
@pytest.mark.parametrize("value", [0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_no_offset_is_followed_out_of_the_file(data: bytes, value: int) -> None:
    refused = 0
    for at in range(0, len(data), 4):
        try:
            check_tflite(with_word(data, at, value))
        except FlatbufferError:
            refused += 1
    # the others are weights, scales, and options that are read when they are used
    assert refused > len(data) // 4 // 4


def test_a_truncated_file_is_refused() -> None:
    for size in range(0, len(FLOAT) // 2, 3):
        with pytest.raises(FlatbufferError):
            check_tflite(FLOAT[:size])


def test_a_damaged_file_compiles_or_is_refused_in_one_line(tmp_path: Path) -> None:
    random = np.random.RandomState(1)
    path, messages = tmp_path / "damaged.tflite", []
    for _ in range(15):
        damaged = INT8
        for _ in range(3):
            damaged = with_word(damaged, 8 + 4 * random.randint(len(INT8) // 4 - 2), random.randint(64))
        path.write_bytes(damaged)
        try:
            import_file(path, {}, lambda _: None)
        except CompileError as error:
            messages.append(str(error))
    assert messages
    assert all("\n" not in message for message in messages)


def test_an_offset_out_of_range_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(with_word(FLOAT, 0, 1 << 30))
    with pytest.raises(CompileError, match="is not a valid TFLite file: the offset of the model is out of range"):
        import_file(path, {}, lambda _: None)


def test_two_tensors_of_one_name_are_refused() -> None:
    names = [table.text(3) for graph in Table.root(FLOAT, "the model").tables(2, "graph")
             for table in graph.tables(0, "tensor")]  # fmt: skip
    one, other = next((a, b) for a in names for b in names if a != b and len(a) == len(b))
    with pytest.raises(FlatbufferError, match="several tensors have the name"):
        check_tflite(FLOAT.replace(one.encode(), other.encode()))


def test_nan_weights_are_warned_of(tmp_path: Path) -> None:
    graph = next(Table.root(FLOAT, "the model").tables(2, "graph"))
    # the largest constant: the file holds its bytes as they are
    buffers = [table.numbers(0, "B") for table in Table.root(FLOAT, "the model").tables(4, "buffer")]
    used = {t.scalar(2, "uint32") for t in graph.tables(0, "tensor") if t.scalar(1, "int8") == 0}
    weights = max((bytes(buffers[i]) for i in used), key=len)
    path = tmp_path / "model.tflite"
    path.write_bytes(FLOAT.replace(weights[:32], struct.pack("<8f", *[float("nan")] * 8)))
    warnings: list[str] = []
    import_file(path, {}, warnings.append)
    assert len(warnings) == 1
    assert "NaN or infinite values in the weights" in warnings[0]
