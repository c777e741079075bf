"""What a row of the operator table says is true, and what follows of it happens: for every row, also a new one.

The reference is TVM's own definition of each operator, compiled by TVM alone.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from functools import partial
from typing import Any

import numpy as np
import pytest
import tvm
import tvm_ffi
from relax_networks import Array, Expr, Part, by_tvm_alone, by_tzml, constant, imported, network
from tvm import ir, relax, tirx, topi

from tzml.compiler.codegen import kernels
from tzml.compiler.codegen.kernels.isa import NEON
from tzml.compiler.frontends.tflite.importer import BECOMES
from tzml.compiler.ir.limits import NO_LIMITS, Limits
from tzml.compiler.ir.operators import OPERATORS, Kind, Operator, is_elementwise
from tzml.compiler.ir.targets import TARGETS
from tzml.compiler.lower import prepare, to_tensor_functions
from tzml.compiler.passes import select_kernels, simplify

CHANNELS = 20
"""Not a multiple of any vector's lanes."""
IMAGE = (1, CHANNELS, 8, 8)

# What TVM computes number by number and the table does not have, with the reason
LEFT_OUT = {
    "atan2": "not in math.c",
    "atanh": "TVM makes logarithms of it when it lowers the kernel",
    "tan": "TVM makes the sine and the cosine of it when it lowers the kernel",
    **dict.fromkeys(("tril", "triu"), "a number's place decides what becomes of it"),
    **dict.fromkeys(("ones_like", "zeros_like"), "their result is a constant"),
    **dict.fromkeys(("collapse_sum_like", "size"), "of an operand of another shape they are sums"),
    "nn.dropout": "it does nothing when a model is not trained; lower.prepare takes it out",
}  # fmt: skip


def floats(*shape: int) -> Array:
    """Positive numbers around 1: every function is defined for them."""
    return np.random.default_rng(2).uniform(0.4, 1.6, shape).astype(np.float32)


PER_CHANNEL = constant(floats(CHANNELS, 1, 1))
CONDITION = constant(np.arange(CHANNELS).reshape(-1, 1, 1) % 3 > 0, "bool")
SCALE, ZERO = constant(0.01), constant(3, "int8")
STATISTICS = [constant(floats(CHANNELS)) for _ in range(4)]


def row_of_pixels(bb: relax.BlockBuilder, y: Expr) -> Expr:
    """An image with one dimension of space."""
    return bb.emit(relax.op.reshape(y, (1, CHANNELS, -1)))


# How to call operators that take more, or other things, than tensors of float32
EXAMPLES: dict[str, Part] = {
    "relax.astype": lambda bb, y: relax.op.astype(y, "int32"),
    "relax.clip": lambda bb, y: relax.op.clip(y, 0.8, 1.2),
    "relax.dequantize": lambda bb, y: relax.op.dequantize(bb.emit(relax.op.astype(y, "int8")), SCALE, ZERO),
    "relax.quantize": lambda bb, y: relax.op.quantize(y, SCALE, ZERO, 1, "int8"),
    "relax.logical_and": lambda bb, y: relax.op.logical_and(bb.emit(relax.op.astype(y, "bool")), CONDITION),
    "relax.logical_not": lambda bb, y: relax.op.logical_not(bb.emit(relax.op.astype(y, "bool"))),
    "relax.logical_or": lambda bb, y: relax.op.logical_or(bb.emit(relax.op.astype(y, "bool")), CONDITION),
    "relax.logical_xor": lambda bb, y: relax.op.logical_xor(bb.emit(relax.op.astype(y, "bool")), CONDITION),
    "relax.where": lambda bb, y: relax.op.where(CONDITION, y, PER_CHANNEL),
    "relax.broadcast_to": lambda bb, y: relax.op.broadcast_to(y, (3, *IMAGE[1:])),
    "relax.concat": lambda bb, y: relax.op.concat([y, y], 1),
    "relax.expand_dims": lambda bb, y: relax.op.expand_dims(y, 2),
    "relax.image.resize2d": lambda bb, y: relax.op.image.resize2d(y, (12, 9), method="nearest_neighbor"),
    "relax.matmul": lambda bb, y: relax.op.matmul(y, constant(floats(8, 5))),
    "relax.mean": lambda bb, y: relax.op.mean(y, [2, 3]),
    "relax.nn.adaptive_avg_pool2d": lambda bb, y: relax.op.nn.adaptive_avg_pool2d(y, (1, 1)),
    "relax.nn.avg_pool2d": lambda bb, y: relax.op.nn.avg_pool2d(y, (3, 3), (2, 2), (1, 1)),
    "relax.nn.batch_norm": lambda bb, y: bb.emit(relax.op.nn.batch_norm(y, *STATISTICS, 1, training=False))[0],
    "relax.nn.conv2d": lambda bb, y: relax.op.nn.conv2d(y, constant(floats(7, CHANNELS, 3, 3) / 99)),
    "relax.nn.conv2d_transpose": lambda bb, y: relax.op.nn.conv2d_transpose(y, constant(floats(CHANNELS, 7, 3, 3))),
    "relax.nn.max_pool2d": lambda bb, y: relax.op.nn.max_pool2d(y, (3, 3), (2, 2), (1, 1)),
    "relax.nn.pad": lambda bb, y: relax.op.nn.pad(y, (0, 0, 0, 0, 1, 2, 2, 1)),
    "relax.permute_dims": lambda bb, y: relax.op.permute_dims(y, [0, 2, 3, 1]),
    "relax.reshape": lambda bb, y: relax.op.reshape(y, (CHANNELS, -1)),
    "relax.shape_of": lambda bb, y: relax.op.shape_to_tensor(bb.emit(relax.op.shape_of(y))),
    "relax.shape_to_tensor": lambda bb, y: relax.op.shape_to_tensor(bb.emit(relax.op.shape_of(y))),
    "relax.split": lambda bb, y: bb.emit(relax.op.split(y, 4, 1))[2],
    "relax.squeeze": lambda bb, y: relax.op.squeeze(y, [0]),
    "relax.strided_slice": lambda bb, y: relax.op.strided_slice(y, [1, 3], [3, 1], [17, 7]),
    "relax.take": lambda bb, y: relax.op.take(y, constant([2, 0, 19], "int64"), 1, mode="clip"),
    "relax.tile": lambda bb, y: relax.op.tile(y, (1, 2, 1, 1)),
    "relax.argmax": lambda bb, y: relax.op.argmax(y, 1),
    "relax.argmin": lambda bb, y: relax.op.argmin(y, 1),
    "relax.flip": lambda bb, y: relax.op.flip(y, 2),
    "relax.max": lambda bb, y: relax.op.max(y, [1, 3]),
    "relax.min": lambda bb, y: relax.op.min(y, [1, 3]),
    "relax.nn.avg_pool1d": lambda bb, y: relax.op.nn.avg_pool1d(row_of_pixels(bb, y), 3, 2),
    "relax.nn.conv1d": lambda bb, y: relax.op.nn.conv1d(row_of_pixels(bb, y), constant(floats(7, CHANNELS, 3))),
    "relax.nn.group_norm": lambda bb, y: relax.op.nn.group_norm(y, *STATISTICS[:2], 4, 1, [2, 3]),
    "relax.nn.instance_norm": lambda bb, y: relax.op.nn.instance_norm(y, *STATISTICS[:2], 1, [2, 3]),
    "relax.nn.layer_norm": lambda bb, y: relax.op.nn.layer_norm(y, constant(floats(8)), constant(floats(8)), [-1]),
    "relax.nn.log_softmax": lambda bb, y: relax.op.nn.log_softmax(y, 1),
    "relax.nn.max_pool1d": lambda bb, y: relax.op.nn.max_pool1d(row_of_pixels(bb, y), 3, 2),
    "relax.nn.prelu": lambda bb, y: relax.op.nn.prelu(y, constant(floats(CHANNELS)), 1),
    "relax.nn.rms_norm": lambda bb, y: relax.op.nn.rms_norm(y, constant(floats(8)), [-1]),
    "relax.nn.softmax": lambda bb, y: relax.op.nn.softmax(y, 1),
    "relax.prod": lambda bb, y: relax.op.prod(y, [2, 3]),
    "relax.repeat": lambda bb, y: relax.op.repeat(y, 2, 1),
    "relax.stack": lambda bb, y: relax.op.stack([y, y], 1),
    "relax.std": lambda bb, y: relax.op.std(y, [2, 3]),
    "relax.sum": lambda bb, y: relax.op.sum(y, [1, 3]),
    "relax.tril": lambda bb, y: relax.op.tril(y, 1),
    "relax.triu": lambda bb, y: relax.op.triu(y, 1),
    "relax.variance": lambda bb, y: relax.op.variance(y, [2, 3]),
    "relax.call_tir": lambda bb, y: bb.call_te(topi.minimum, y, constant(0.9)),
}  # fmt: skip


def example(row: Operator) -> Part:
    """An element-wise operator of tensors needs none of its own."""
    if row.name in EXAMPLES:
        return EXAMPLES[row.name]
    assert row.kind is Kind.elementwise, f"{row.name} has no example: add one to EXAMPLES"
    function: Any = relax.op
    for part in row.name.split(".")[1:]:
        function = getattr(function, part)
    return lambda bb, y: function(y, *[PER_CHANNEL] * (row.operands - 1))


def convolution(bb: relax.BlockBuilder, x: Expr) -> Expr:
    """One that changes nothing, but leaves an image in blocks of channels."""
    return bb.emit(relax.op.nn.conv2d(x, constant(np.eye(CHANNELS)[:, :, None, None])))


def behind_a_convolution(row: Operator) -> Part:
    return lambda bb, x: example(row)(bb, convolution(bb, x))


def simplified(module: Any) -> Any:
    return prepare(imported(module), TARGETS["rpi3"].tvm).module


def calls(module: Any, limits: Limits = NO_LIMITS) -> int:
    """How many kernels an inference calls."""
    with tvm.target.Target(TARGETS["rpi3"].tvm):
        main = to_tensor_functions(simplified(module), NEON, limits)["main"]
    values = [binding.value for block in main.body.blocks for binding in block.bindings]
    return sum(isinstance(value, relax.Call) and isinstance(value.op, ir.GlobalVar) for value in values)


def every(kind: Kind) -> pytest.MarkDecorator:
    rows = [row for row in OPERATORS.values() if row.kind is kind]
    return pytest.mark.parametrize("row", rows, ids=[row.name.removeprefix("relax.") for row in rows])


@pytest.fixture(scope="module")
def expected() -> dict[str, Array]:
    """By TVM alone, from `floats(*IMAGE)`."""
    rows = [row for row in OPERATORS.values() if not row.passes or row.kind is not Kind.other]
    return dict(
        zip(
            [row.name for row in rows],
            by_tvm_alone(network(IMAGE, *map(example, rows)), floats(*IMAGE)),
            strict=True,
        )
    )


def test_every_operator_computes_what_tvm_alone_does(
    expected: dict[str, Array],
) -> None:
    """Of an image as the model has it, and of one in blocks of channels, as a convolution leaves it."""
    rows = [OPERATORS[name] for name in expected]
    examples = [*map(example, rows), *map(behind_a_convolution, rows)]
    result = by_tzml(network(IMAGE, *examples, joined=True), floats(*IMAGE))
    wanted = [(name, array.ravel()) for name, array in expected.items()] * 2
    parts = np.split(result, np.cumsum([array.size for _, array in wanted])[:-1])
    for part, (name, array) in zip(parts, wanted, strict=True):
        # what is left of a sum of large numbers is as exact as they are
        largest = max(1, float(np.abs(array).max()))
        np.testing.assert_allclose(part, array, rtol=1e-5, atol=1e-6 * largest, err_msg=name)


def test_operators_of_constants_are_folded_to_what_tvm_alone_computes(expected: dict[str, Array]) -> None:
    rows = [row for row in OPERATORS.values() if row.fold]
    x = constant(floats(*IMAGE))
    folded = simplified(network(IMAGE, *(lambda bb, _, row=row: example(row)(bb, x) for row in rows)))
    fields = folded["main"].body.blocks[-1].bindings[-1].value.fields
    for row, field in zip(rows, fields, strict=True):
        assert isinstance(field, ir.GenericConst), f"{row.name} was not folded"
        np.testing.assert_allclose(field.value.numpy(), expected[row.name], rtol=1e-5, atol=1e-6, err_msg=row.name)


# What follows of being element-wise


def pooled(bb: relax.BlockBuilder, y: Expr) -> Expr:
    """Something that wants an image whole, and of float32."""
    return relax.op.nn.max_pool2d(bb.emit(relax.op.astype(y, "float32")), (4, 4), (4, 4))


def layer(row: Operator | None) -> Part:
    """A convolution, with an operator behind it, and a pooling."""
    before = behind_a_convolution(row) if row else convolution
    return lambda bb, x: pooled(bb, bb.emit(before(bb, x)))


TALL = (1, CHANNELS, 32, 8)
HALF_THE_WEIGHTS = Limits(weights=4 * CHANNELS * CHANNELS // 2)
# of what a layer of a tall image reads and writes
MOST_OF_THE_ROWS = Limits(activations=4 * 32 * 8 * CHANNELS * 15 // 8)


@functools.cache
def calls_without(limits: Limits, shape: tuple[int, ...] = IMAGE) -> int:
    """Of the network without an operator behind its convolution."""
    return calls(network(shape, layer(None)), limits)


@every(Kind.elementwise)
def test_an_element_wise_operator_is_fused_with_the_layer_before_it(row: Operator) -> None:
    assert calls(network(IMAGE, layer(row))) == calls_without(NO_LIMITS)


@every(Kind.elementwise)
def test_an_element_wise_operator_is_split_with_the_layer_before_it(row: Operator) -> None:
    """But one that is the beginning of the next layer."""
    parts = calls_without(HALF_THE_WEIGHTS)
    assert parts > calls_without(NO_LIMITS)
    assert (calls(network(IMAGE, layer(row)), HALF_THE_WEIGHTS) == parts) == (not row.part_of_next)


@every(Kind.elementwise)
def test_an_element_wise_operator_is_tiled_with_the_layer_before_it(row: Operator) -> None:
    """But one that is the beginning of the next layer."""
    strips = calls_without(MOST_OF_THE_ROWS, TALL)
    assert strips > calls_without(NO_LIMITS, TALL)
    assert (calls(network(TALL, layer(row)), MOST_OF_THE_ROWS) == strips) == (not row.part_of_next)


def test_a_quantization_with_a_scale_for_each_channel_is_not_element_wise() -> None:
    scales, zeros = constant(floats(CHANNELS)), constant(np.zeros(CHANNELS), "int8")
    x = relax.Var("x", relax.TensorType(IMAGE, "float32"))
    assert is_elementwise(relax.op.quantize(x, SCALE, ZERO, 1, "int8"))
    assert not is_elementwise(relax.op.quantize(x, scales, zeros, 1, "int8"))
    assert not is_elementwise(
        relax.op.quantize(x, relax.Var("s", relax.TensorType((), "float32")), ZERO, 1, "int8")
    )


# What is forgotten


def tensor_function(name: str) -> Any:
    """TVM's definition of an operator of as many float32 images as it takes; None if it takes something else."""
    function: Any = relax.op
    for part in name.split("."):
        function = getattr(function, part, None)
    for operands in (1, 2, 3):
        try:
            module = network(IMAGE, partial(_applied, function, operands))
            module = relax.transform.AnnotateTIROpPattern()(relax.transform.LegalizeOps()(module))
        except Exception:  # TVM raises many kinds
            continue
        return next((f for f in module.functions.values() if isinstance(f, tirx.PrimFunc)), None)
    return None


def _applied(function: Any, operands: int, bb: relax.BlockBuilder, x: Expr) -> Expr:
    return function(*[x] * operands)


def test_every_operator_that_tvm_computes_number_by_number_has_a_row_or_a_reason() -> None:
    names = [name.removeprefix("relax.") for name in ir.Op.list_op_names() if name.startswith("relax.")]
    functions = {name: tensor_function(name) for name in names if not name.startswith(("builtin.", "grad.", "vm."))}
    found = {name for name, f in functions.items() if f is not None and f.attrs["op_pattern"] == 0}
    rows = {row.name.removeprefix("relax.") for row in OPERATORS.values() if row.kind is Kind.elementwise}
    assert found - rows == set(LEFT_OUT), "add a row to ir/operators.py, or a reason to LEFT_OUT"


@pytest.mark.parametrize("module", [select_kernels, simplify], ids=["select_kernels", "simplify"])
def test_a_pass_with_code_for_an_operator_is_named_in_its_row(module: Any) -> None:
    name = module.__name__.rpartition(".")[2]
    assert set(module.HANDLERS) == {row.name for row in OPERATORS.values() if name in row.passes}


def test_every_kernel_is_named_in_a_row() -> None:
    modules = [
        importlib.import_module(found.name)
        for found in pkgutil.iter_modules(kernels.__path__, f"{kernels.__name__}.")
    ]
    found = {module.__name__.rpartition(".")[2] for module in modules if hasattr(module, "schedule")}
    assert found - {"generic"} == {name for row in OPERATORS.values() for name in row.kernels}


@every(Kind.elementwise)
def test_a_row_names_the_functions_that_its_operator_calls(row: Operator) -> None:
    module = relax.transform.LegalizeOps()(network(IMAGE, example(row)))
    called: set[str] = set()
    for function in module.functions.values():
        if isinstance(function, tirx.PrimFunc):
            tvm_ffi.structural_walk(function.body, (ir.Call, lambda call: called.add(call.op.name)))
    instructions = {"ceil", "fabs", "floor", "isnan", "nearbyint", "round", "rsqrt", "sqrt", "trunc"}
    assert {name.partition(".")[2] for name in called} - instructions == set(row.functions)


@pytest.mark.parametrize("name", BECOMES)
def test_what_moves_numbers_in_tflite_is_in_the_table(name: str) -> None:
    assert all(OPERATORS[f"relax.{part}"].kind is Kind.data_movement for part in BECOMES[name])
