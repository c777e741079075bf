"""Unsigned integers of 16 bits and more wrap around as NumPy's do, and float64 is as exact as it says.

Both on either processor.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from relax_networks import graph, network
from small_models import Array, run_kernels
from tvm import relax

from tzml.compiler.frontends import import_file
from tzml.compiler.frontends.checks import check_ports
from tzml.compiler.ir.errors import CompileError

TARGETS = ["host", "rpi3"]
UNSIGNED = ["uint16", "uint32", "uint64"]
COUNT = 64


def n(operator: str, inputs: list[str], **attributes: Any) -> tuple[str, list[str], dict[str, Any]]:
    return operator, inputs, attributes


def model_of(dtype: str, *layers: tuple[str, list[str], dict[str, Any]], **constants: Any) -> onnx.ModelProto:
    """From `x`, two rows `a` and `b` of the dtype, to one row of all layers' results, converted to the dtype."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [helper.make_node("Split", ["x"], ["a", "b"], "split", axis=0, num_outputs=2)]
    flat = []
    for number, (operator, inputs, attributes) in enumerate(layers):
        result = f"{operator}{number}"
        nodes.append(helper.make_node(operator, inputs, [result], result, **attributes))
        nodes.append(helper.make_node("Cast", [result], [f"{result} cast"], f"{result} cast", to=kind))
        nodes.append(helper.make_node("Reshape", [f"{result} cast", "row"], [f"{result} flat"], f"{result} flat"))
        flat.append(f"{result} flat")
    nodes.append(helper.make_node("Concat", flat, ["y"], "all", axis=0))
    constants["row"] = np.array([-1])
    graph = helper.make_graph(
        nodes,
        "dtypes",
        [helper.make_tensor_value_info("x", kind, [2, COUNT])],
        [helper.make_tensor_value_info("y", kind, ["all"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


def by_onnx(model: onnx.ModelProto, x: Array) -> Array:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        (y,) = ReferenceEvaluator(model).run(None, {"x": x})
    return np.asarray(y)


def integers(dtype: str) -> Array:
    """Of all magnitudes, none of them 0, with the ends and what lies beyond those of signed ones and of doubles."""
    random, limits = np.random.default_rng(1), np.iinfo(dtype)
    x = random.integers(0, limits.max, (2, COUNT), dtype, endpoint=True) >> random.integers(
        0, limits.bits, (2, COUNT), dtype
    )
    edges = [1, limits.max, limits.max // 2, limits.max // 2 + 1, limits.max - 1, (1 << 53) % limits.max + 1]
    x[0, : len(edges)] = edges
    x[1, : len(edges)] = edges[::-1]
    return np.asarray(x | 1)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", UNSIGNED)
def test_unsigned_integers_are_computed_exactly(dtype: str, target: str) -> None:
    x = integers(dtype)
    bits = np.iinfo(dtype).bits
    half = np.array(np.iinfo(dtype).max // 2 + 5, dtype)
    layers = [
        *(n(operator, ["a", "b"]) for operator in (
            "Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Greater", "GreaterOrEqual", "Less", "LessOrEqual",
            "Equal", "BitwiseAnd", "BitwiseOr", "BitwiseXor")),
        *(n(operator, ["a", "half"]) for operator in (
            "Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Greater", "Less")),
        *(n("BitShift", ["a", "by"], direction=direction) for direction in ("LEFT", "RIGHT")),
        n("BitwiseNot", ["a"]),
        n("Clip", ["a", "low", "half"]),
        n("ArgMax", ["x"], axis=1),
        n("Concat", ["a", "b"], axis=1),
        n("Transpose", ["x"], perm=[1, 0]),
        n("Gather", ["a", "places"], axis=1),
        n("Cast", ["a"], to=TensorProto.BOOL),
    ]  # fmt: skip
    if dtype != "uint16":  # ONNX has these of 32 and 64 bits only
        layers += [
            n("ReduceMax", ["x", "second"], keepdims=0),
            n("ReduceMin", ["x", "second"], keepdims=0),
            n("ReduceSum", ["x", "second"], keepdims=0),
            n("ReduceProd", ["x", "second"], keepdims=0),
            n("CumSum", ["x", "one"]),
            n("MatMul", ["a", "column"]),
        ]
    model = model_of(
        dtype, *layers, half=half, low=np.array(7, dtype), second=np.array([1]), one=np.array(1), column=x[:1].T,
        by=np.arange(COUNT, dtype=dtype)[None] % bits, places=np.array([3, 1, 5]),
    )  # fmt: skip
    _, y = run_kernels(model, x, target)
    np.testing.assert_array_equal(y, by_onnx(model, x))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", UNSIGNED)
def test_unsigned_integers_are_converted_exactly(dtype: str, target: str) -> None:
    """To each type and back; all numbers are of both."""
    limits = np.iinfo(dtype)
    for other in ("int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"):
        numbers = np.dtype(other)
        exact = {"float16": 11, "float32": 24, "float64": 53}
        most = 2 ** min(exact[other], 15) if other in exact else np.iinfo(other).max
        x = np.minimum(integers(dtype), np.array(min(limits.max, most), dtype))
        if other in exact:  # those with as many bits as the significand has, up to the end
            x[1] = (
                (x[1] >> min(limits.bits - exact[other], limits.bits - 1)) << (limits.bits - exact[other])
                if (limits.bits > exact[other] and other != "float16")
                else x[1]
            )
        to = helper.np_dtype_to_tensor_dtype(numbers)
        model = model_of(dtype, n("Cast", ["x"], to=to))
        _, y = run_kernels(model, x, target)
        np.testing.assert_array_equal(y, x.astype(numbers).astype(dtype).ravel())


def reals() -> Array:
    random = np.random.default_rng(4)
    x = random.standard_normal((2, COUNT)) * 10.0 ** random.integers(-3, 2, (2, COUNT))
    x[0, :6] = np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5
    x[1, :8] = 1, 2, 3, np.inf, 5, np.nan, 1.5, 2.5
    return x


@pytest.mark.parametrize("target", TARGETS)
def test_numbers_of_float64_are_as_exact_as_they_can_be(target: str) -> None:
    """Nothing between them is rounded to float32, and NaN stays."""
    x = reals()
    layers = [
        *(n(operator, ["a", "b"]) for operator in ("Add", "Sub", "Mul", "Div", "Less", "Equal", "Max", "Min")),
        *(n(operator, ["a"]) for operator in (
            "Exp", "Sigmoid", "Abs", "Neg", "Floor", "Ceil", "Round", "Relu", "IsNaN", "IsInf")),
        *(n(operator, ["size"]) for operator in ("Log", "Sqrt", "Reciprocal")),
        n("Mod", ["finite", "divisor"], fmod=1),
        n("LeakyRelu", ["a"], alpha=0.25),
        n("Clip", ["finite", "low", "high"]),
        n("MatMul", ["finite", "column"]),
        n("Gemm", ["finite", "column"]),
        n("Softmax", ["finite"], axis=-1),
        n("LogSoftmax", ["finite"], axis=-1),
        n("ReduceMean", ["finite", "second"]),
        n("ReduceLogSumExp", ["finite", "second"]),
        n("CumSum", ["finite", "one"]),
        n("Conv", ["image", "kernel"], pads=[1, 1, 1, 1]),
        n("AveragePool", ["image"], kernel_shape=[3, 3]),
        n("MaxPool", ["image"], kernel_shape=[2, 2]),
        n("Resize", ["image", "", "twice"], mode="nearest"),
        n("Resize", ["image", "", "twice"], mode="linear"),
    ]  # fmt: skip
    random = np.random.default_rng(5)
    model = model_of(
        "float64", *layers, divisor=random.uniform(0.1, 0.9, (1, COUNT)), low=np.array(-0.3), high=np.array(1 / 3),
        column=random.standard_normal((COUNT, 3)), second=np.array([1]), one=np.array(1), limit=np.array(50.0),
        kernel=random.standard_normal((2, 1, 3, 3)), twice=np.array([1, 1, 2, 2], np.float32),
        zero=np.array(0.0),
        as_image=np.array([1, 1, 8, 8]),
    )  # fmt: skip
    more = [
        helper.make_node("IsNaN", ["a"], ["no number"], "i"),
        helper.make_node("Where", ["no number", "zero", "a"], ["number"], "w"),
        helper.make_node("Min", ["number", "limit"], ["low enough"], "m"),
        helper.make_node("Neg", ["limit"], ["least"], "l"),
        helper.make_node("Max", ["low enough", "least"], ["finite"], "f"),
        helper.make_node("Abs", ["b"], ["size"], "s"),
        helper.make_node("Reshape", ["finite", "as_image"], ["image"], "r"),
    ]
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([nodes[0], *more, *nodes[1:]])
    _, y = run_kernels(model, x, target)
    expected = by_onnx(model, x)
    np.testing.assert_allclose(y, expected, rtol=1e-13, atol=1e-15)


def test_pixels_of_float64_are_not_rounded_before_they_are_mixed() -> None:
    """ONNX's reference computes in float32; but what is linear in the pixels grows as they do."""
    random = np.random.default_rng(8)
    model = model_of(
        "float64", n("Resize", ["image", "", "part"], mode="cubic", antialias=1),
        n("GridSample", ["image", "grid"]),
        part=np.array([1, 1, 0.6, 0.6], np.float32), grid=random.uniform(-1, 1, (1, 4, 4, 2)),
        as_image=np.array([1, 1, 8, 8]),
    )  # fmt: skip
    model.graph.node.insert(1, helper.make_node("Reshape", ["a", "as_image"], ["image"]))
    x = random.standard_normal((2, COUNT))
    _, y = run_kernels(model, x)
    _, larger = run_kernels(model, x * (1 + 2.0**-40))
    np.testing.assert_allclose(larger, y * (1 + 2.0**-40), rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(y, by_onnx(model, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_normalizations_of_float64_are_as_exact_as_it_is(target: str) -> None:
    """But those that ONNX defines to be of float32 inside: RMSNormalization, GroupNormalization."""
    x = np.random.default_rng(6).standard_normal((2, COUNT))
    gamma, epsilon = np.linspace(0.5, 1.5, COUNT), 2.0**-10
    model = model_of(
        "float64", n("LayerNormalization", ["x", "gamma"], epsilon=epsilon),
        n("InstanceNormalization", ["columns", "gamma", "zeros"], epsilon=epsilon),
        gamma=gamma, zeros=np.zeros(COUNT), axes=np.array([0]),
    )  # fmt: skip
    model.graph.node.insert(1, helper.make_node("Transpose", ["x"], ["pairs"], "transpose", perm=[1, 0]))
    model.graph.node.insert(2, helper.make_node("Unsqueeze", ["pairs", "axes"], ["columns"], "unsqueeze"))

    def normalized(of: Array) -> Array:
        away = of - of.mean(-1, keepdims=True)
        result: Array = away / np.sqrt((away * away).mean(-1, keepdims=True) + epsilon)
        return result

    expected = [
        normalized(x) * gamma,
        normalized(x.T) * gamma[:, None],
    ]
    _, y = run_kernels(model, x, target)
    np.testing.assert_allclose(y, np.concatenate([part.ravel() for part in expected]), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("operator", ["Sin", "Cos", "Tanh", "Asinh", "Erf"])
def test_a_function_that_is_less_exact_than_float64_is_refused(operator: str) -> None:
    with pytest.raises(
        CompileError, match=r"of float64, for which there is no function; export the layer in float32"
    ):
        run_kernels(model_of("float64", n(operator, ["a"])), reals())


def test_what_is_computed_in_float32_does_not_take_float64(tmp_path: Path) -> None:
    model = model_of(
        "float64", n("RoiAlign", ["image", "rois", "which"], sampling_ratio=2),
        rois=np.zeros((1, 4)), which=np.array([0]), shape=np.array([1, 1, 8, 8]),
    )  # fmt: skip
    model.graph.node.insert(1, helper.make_node("Reshape", ["a", "shape"], ["image"]))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CompileError, match="its elements are of float64, and it is computed in float32"):
        import_file(tmp_path / "model.onnx", {}, lambda _: None)


def test_other_formats_than_onnx_do_not_have_these_types_yet() -> None:
    """What TVM's importer of PyTorch makes of them was not compared with PyTorch."""
    check_ports(network((4,), lambda _, x: relax.op.abs(x)), "model.pt2")
    given = network((4,), lambda _, x: relax.op.abs(x), kind="float64")
    made = network((4,), lambda _, x: relax.op.astype(x, "uint32"))
    for module, kind in ((given, "float64"), (made, "uint32")):
        with pytest.raises(CompileError, match=f"model.pt2: an input or output is of type {kind}, which only ONNX"):
            check_ports(module, "model.pt2")


def test_an_operator_that_computes_another_type_than_it_promises_is_an_error() -> None:
    """As TVM's mean of integers does, which no frontend uses for them."""
    with pytest.raises(
        CompileError, match=r"output y would be int64\[4\], and not int32\[4\]; this is an error in tz"
    ):
        graph(network((4, 8), lambda _, x: relax.op.mean(x, axis=1), kind="int32"))


def test_integers_are_neither_shrunk_nor_mixed(tmp_path: Path) -> None:
    """Limits below zero would wrap around, and float32 does not have all of them."""
    shape = {"shape": np.array([1, 1, 8, 8])}
    for layer, constants in (
        (n("Shrink", ["image"], lambd=1.5), {}),
        (n("GridSample", ["image", "grid"]), {"grid": np.zeros((1, 2, 2, 2), np.float32)}),
        (n("Resize", ["image", "", "twice"], mode="linear"), {"twice": np.array([1, 1, 2, 2], np.float32)}),
    ):
        model = model_of("uint32", layer, **shape, **constants)
        model.graph.node.insert(1, helper.make_node("Reshape", ["a", "shape"], ["image"]))
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(CompileError, match=f"the operator {layer[0]} .*its elements are of type uint32"):
            import_file(tmp_path / "model.onnx", {}, lambda _: None)


def test_the_nearest_pixels_of_large_integers_are_exact() -> None:
    x = integers("uint64")
    model = model_of(
        "uint64", n("Resize", ["image", "", "twice"], mode="nearest"),
        n("GridSample", ["image", "grid"], mode="nearest"),
        shape=np.array([1, 1, 8, 8]), twice=np.array([1, 1, 2, 2], np.float32),
        grid=np.array([[-1, -1], [0.9, 0.9], [0.01, 0.01]], np.float32).reshape(1, 1, 3, 2),
    )  # fmt: skip
    model.graph.node.insert(1, helper.make_node("Reshape", ["a", "shape"], ["image"]))
    image = x[0].reshape(8, 8)
    expected = [*np.repeat(np.repeat(image, 2, 0), 2, 1).ravel(), image[0, 0], image[7, 7], image[4, 4]]
    _, y = run_kernels(model, x)
    assert y.tolist() == [int(number) for number in expected]


@pytest.mark.parametrize("axes", [[1], [0, 1]])
@pytest.mark.parametrize("dtype", ["int32", "uint32"])
def test_the_mean_of_integers_does_not_wrap_around(dtype: str, axes: list[int]) -> None:
    x = integers(dtype)
    if dtype == "int32":
        x[1] *= -1
    given = np.array(axes)
    bundle, y = run_kernels(model_of(dtype, n("ReduceMean", ["x", "axes"], keepdims=0), axes=given), x)
    assert bundle.outputs()[0].dtype.name == dtype
    exact = x.astype(object).sum(tuple(axes))
    count = x.size if len(axes) == 2 else COUNT
    assert y.tolist() == [int(abs(s) // count * (1 if s > 0 else -1)) for s in np.ravel(exact)]


def test_means_of_uint64_are_refused() -> None:
    model = model_of("uint64", n("ReduceMean", ["x", "axes"]), axes=np.array([1]))
    with pytest.raises(CompileError, match=r"ReduceMean .*of type uint64, whose sums may be too large"):
        run_kernels(model, integers("uint64"))
