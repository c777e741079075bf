"""TFLite files answer as TFLite does; a damaged one is refused before anything follows its offsets."""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import DATA, Array, CompileAndRun
from tflite_models import Tensor, TfliteFile

from tzml.compiler import CompileOptions, InputSpec, compile_model
from tzml.compiler.frontends import import_file
from tzml.compiler.frontends.tflite.check import check_tflite
from tzml.compiler.frontends.tflite.flatbuffer import FlatbufferError, FlatTable
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.imported import Imported
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


def test_layers_with_integer_weights_are_computed_in_real_numbers(
    answers: dict[str, Array], compile_and_run: CompileAndRun
) -> None:
    """Beside what LiteRT answers, which rounds the inputs of such layers to 8 bits, too."""
    by_litert = [
        0.11018322, 0.10615484, 0.09379707, 0.09013351, 0.09248823, 0.09580807, 0.10828479, 0.1001282, 0.10857183,
        0.09445016,
    ]  # fmt: skip
    ours = compile_and_run(DATA / "dynamic_range.tflite", answers["float32_x"])[0]
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours.reshape(-1), by_litert, atol=2e-4)


def test_small_integers_without_a_scale_are_refused() -> None:
    file = TfliteFile()
    given = [file.input(Tensor((3, 4), "int8")) for _ in range(2)]
    file.operator("ADD", given, Tensor((3, 4), "int8"), options="AddOptions")
    with pytest.raises(CompileError, match=r"operator ADD .* its elements have no scale"):
        imported(file)


def test_an_activation_that_tflite_passes_over_is_refused() -> None:
    file = TfliteFile()
    given = [file.input(Tensor((3, 4))) for _ in range(2)]
    file.operator("ADD", given, Tensor((3, 4)), options="AddOptions", FusedActivationFunction=4)
    with pytest.raises(CompileError, match=r"operator ADD .* FusedActivationFunction is 4"):
        imported(file)


def test_the_state_of_a_recurrent_layer_is_an_input_and_an_output() -> None:
    file, warnings = TfliteFile(), list[str]()
    weights = [file.constant(np.ones(shape, np.float32)) for shape in ((4, 3), (4, 5), (4,))]
    state = file.tensor(Tensor((1, 20), variable=True))
    file.operator(
        "SVDF", [file.input(Tensor((1, 3))), *weights, state], Tensor((1, 4)), options="SVDFOptions", Rank=1
    )
    graph = imported(file, warnings)
    assert graph.input_names == (f"t{file.inputs[0]}", f"t{state}")
    assert graph.output_names == (f"t{file.outputs[0]}", f"t{state}/next")
    assert warnings == [
        f"the variable t{state} is an input, which begins as zeros; what is in the output t{state}/next is for the "
        "next run"
    ]


def imported(file: TfliteFile, warnings: list[str] | None = None) -> Imported:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(file.to_bytes())
        return import_file(path, {}, (warnings if warnings is not None else list[str]()).append)


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
    names = [table.text(3) for graph in FlatTable.root(FLOAT, "the model").tables(2, "graph")
             for table in graph.tables(0, "tensor")]  # fmt: skip
    one, other = next((a, b) for a in names for b in names if a != b and len(a) == len(b))
    with pytest.raises(FlatbufferError, match="several tensors have the name"):
        check_tflite(FLOAT.replace(one.encode(), other.encode()))


def test_nan_weights_are_warned_of(tmp_path: Path) -> None:
    graph = next(FlatTable.root(FLOAT, "the model").tables(2, "graph"))
    # the largest constant: the file holds its bytes as they are
    buffers = [table.numbers(0, "B") for table in FlatTable.root(FLOAT, "the model").tables(4, "buffer")]
    used = {t.scalar(2, "uint32") for t in graph.tables(0, "tensor") if t.scalar(1, "int8") == 0}
    weights = max((bytes(buffers[i]) for i in used), key=len)
    path = tmp_path / "model.tflite"
    path.write_bytes(FLOAT.replace(weights[:32], struct.pack("<8f", *[float("nan")] * 8)))
    warnings: list[str] = []
    import_file(path, {}, warnings.append)
    assert len(warnings) == 1
    assert "NaN or infinite values in the weights" in warnings[0]


# Operators whose TFLite kernels TVM's converter does not follow. tests/frontends/test_litert.py has all of them.

SAME, VALID = 0, 1
STEPS: dict[str, Any] = {"kind": "int8", "scale": 0.1, "zero": -3}
IMAGE = Tensor((1, 6, 6, 16), **STEPS)


def one(name: str, result: Tensor, *constants: Array, options: str = "", **values: int | float) -> bytes:
    """A file with one operator of an int8 image."""
    file = TfliteFile(version=2)
    file.operator(name, [file.input(IMAGE), *map(file.constant, constants)], result, options=options, **values)
    return file.to_bytes()


def run_one(file: bytes, folder: Path, run: CompileAndRun) -> tuple[Array, Array]:
    """An image, and what comes of it."""
    (folder / "model.tflite").write_bytes(file)
    x = np.random.default_rng(1).integers(-128, 128, IMAGE.shape).astype(np.int8)
    return x, run(folder / "model.tflite", x[None])[0]


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 3, VALID), (6, 6, VALID), (2, 1, VALID), (3, 2, SAME)]
)
def test_a_mean_of_integers_is_rounded(
    kernel: int, stride: int, padding: int, tmp_path: Path, compile_and_run: CompileAndRun
) -> None:
    """Halves away from 0, and without what lies outside of the image."""
    side = (6 - kernel) // stride + 1 if padding == VALID else 6 // stride
    window: dict[str, Any] = {"StrideH": stride, "StrideW": stride, "FilterHeight": kernel, "FilterWidth": kernel}
    file = one(
        "AVERAGE_POOL_2D", Tensor((1, side, side, 16), **STEPS), options="Pool2DOptions", Padding=padding, **window
    )
    x, y = run_one(file, tmp_path, compile_and_run)
    for h, w in np.ndindex(side, side):
        part = x[0, h * stride : h * stride + kernel, w * stride : w * stride + kernel].astype(int)
        total, count = part.sum((0, 1)), part.shape[0] * part.shape[1]
        rounded = np.sign(total) * ((2 * np.abs(total) + count) // (2 * count))
        np.testing.assert_array_equal(y[0, h, w], rounded)


def test_the_options_of_a_softmax_are_heeded(tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    result = Tensor(IMAGE.shape, "int8", 1 / 256, -128)
    x, y = run_one(one("SOFTMAX", result, options="SoftmaxOptions", Beta=0.25), tmp_path, compile_and_run)
    exact = np.exp((x.astype(np.float64) + 3) * 0.1 * 0.25)
    exact /= exact.sum(-1, keepdims=True)
    assert np.abs(y.astype(int) - np.clip(np.rint(exact * 256) - 128, -128, 127)).max() <= 1


def test_positions_have_the_type_that_the_file_says(tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    file = one("ARG_MAX", Tensor((1, 6, 6), "int32"), np.array(3, np.int32), options="ArgMaxOptions", OutputType=2)
    x, y = run_one(file, tmp_path, compile_and_run)
    assert y.dtype == np.int32
    np.testing.assert_array_equal(y, x.argmax(3))


def test_a_dense_layer_makes_rows(tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    file = TfliteFile(version=2)
    weights = file.constant(np.eye(16, dtype=np.int8), scale=0.5)
    file.operator("FULLY_CONNECTED", [file.input(IMAGE), weights], Tensor((36, 16), "int8", 0.05, -3),
                  options="FullyConnectedOptions")  # fmt: skip
    x, y = run_one(file.to_bytes(), tmp_path, compile_and_run)
    np.testing.assert_array_equal(y, x.reshape(36, 16))


@pytest.mark.parametrize("bias", [1 << 30, -(1 << 30), (1 << 31) - 1, 0])
def test_a_dead_channel_leaves_its_layer_in_integers(
    bias: int, tmp_path: Path, compile_and_run: CompileAndRun
) -> None:
    """The converter gives it a scale as small as its weights, and limits its bias to 2^30."""
    random = np.random.default_rng(0)
    scales, biases = np.full(32, 0.01), random.integers(-2000, 2000, 32).astype(np.int32)
    scales[5], biases[5] = 1e-10, bias
    scales[6], biases[6] = 2e-9, bias
    values = random.integers(-127, 128, (32, 1, 1, 16)).astype(np.int8)
    file = TfliteFile(version=3)
    operands = [file.constant(values, scale=scales), file.constant(biases, scale=scales * 0.1)]
    file.operator("CONV_2D", [file.input(IMAGE), *operands], Tensor((1, 6, 6, 32), "int8", 0.1, -3),
                  options="Conv2DOptions", Padding=VALID, StrideH=1, StrideW=1)  # fmt: skip
    x, y = run_one(file.to_bytes(), tmp_path, compile_and_run)
    total = (x.astype(int) + 3) @ values[:, 0, 0].astype(int).T + biases
    assert np.abs(y - np.clip(np.rint(total * scales) - 3, -128, 127)).max() <= 1
    notes = json.loads(compile_model(tmp_path / "model.tflite", CompileOptions("host")).notes)
    assert any("integer_conv2d" in call for call in notes["programs"]["main"]["calls"])


OTHER = Tensor(IMAGE.shape, "int8", 0.2, -3)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (one("RESHAPE", OTHER, np.array(IMAGE.shape, np.int32)), "have different scales or zero points"),
        (one("NEG", IMAGE), "its zero point is not 0"),
        (one("REDUCE_PROD", Tensor((1, 6, 6), **STEPS), np.array([3], np.int32), options="ReducerOptions"),
         "rounds after each factor"),
        (one("RELU", Tensor((1, 6, 6, 8), **STEPS)), "its result has the shape [1, 6, 6, 16], and in the file"),
    ],
    ids=["RESHAPE", "NEG", "REDUCE_PROD", "RELU"],
)  # fmt: skip
def test_what_would_be_passed_over_is_refused(file: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(file)
    with pytest.raises(CompileError) as caught:
        import_file(path, {}, lambda _: None)
    assert message in str(caught.value)


def summing(shape: tuple[int, ...] = (1, 4)) -> TfliteFile:
    """What it was given so far, in a variable, and twice that."""
    file = TfliteFile()
    x = file.input(Tensor(shape))
    (handle,) = file.operator("VAR_HANDLE", [], Tensor((), "resource"))
    (before,) = file.operator("READ_VARIABLE", [handle], Tensor(shape))
    (total,) = file.operator("ADD", [before, x], Tensor(shape), options="AddOptions")
    file.operator("ASSIGN_VARIABLE", [handle, total])
    (after,) = file.operator("READ_VARIABLE", [handle], Tensor(shape))
    (result,) = file.operator("ADD", [after, total], Tensor(shape), options="AddOptions")
    file.outputs = [result]
    return file


def test_a_variable_is_an_input_and_an_output(tmp_path: Path, libtzml: Path) -> None:
    """What is read after it is assigned is what was assigned."""
    from tzml.client import World, open_model

    (tmp_path / "model.tflite").write_bytes(summing().to_bytes())
    told: list[str] = []
    compile_model(tmp_path / "model.tflite", CompileOptions("host"), warn=told.append).write(tmp_path / "model.tzm")
    assert "the variable variable0 is an input, which begins as zeros" in told[0]
    x, total = np.arange(4, dtype=np.float32)[None], np.zeros((1, 4), np.float32)
    with open_model(tmp_path / "model.tzm", World.ree) as model:
        for run in (1, 2, 3):
            result, total = model.run({"t0": x, "variable0": total}).outputs.values()
            assert (total == run * x).all()
            assert (result == 2 * total).all()


def scaled(file: TfliteFile) -> TfliteFile:
    """x + w, with another axis."""
    w = file.constant(np.arange(4, dtype=np.float32)[None])
    (y,) = file.operator("ADD", [file.input(Tensor((1, 4))), w], Tensor((1, 4)), options="AddOptions")
    axis = file.constant(np.array(1, np.int32))
    file.operator("EXPAND_DIMS", [y, axis], Tensor((1, 1, 4)), options="ExpandDimsOptions")
    file.outputs = file.outputs[-1:]
    return file


@pytest.mark.parametrize("behind", [False, True])
def test_constants_may_lie_behind_the_flatbuffer(
    behind: bool, tmp_path: Path, compile_and_run: CompileAndRun
) -> None:
    """As files have them that are larger than 2 GB, and those of newer tools."""
    path = tmp_path / "model.tflite"
    path.write_bytes(scaled(TfliteFile()).to_bytes(behind=behind))
    x = np.ones((1, 4), np.float32)
    assert compile_and_run(path, x[None])[0].tolist() == [[[1, 2, 3, 4]]]


def test_constants_beyond_the_file_are_refused() -> None:
    with pytest.raises(FlatbufferError, match="buffer 2 is outside of the file: 4 bytes at"):
        check_tflite(scaled(TfliteFile()).to_bytes(behind=True)[:-1])
