"""ONNX's operators of regions of images are as its reference has them; nothing is read outside of an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from small_models import Array, CompileAndRun, floats, onnx_model

from tzml.compiler.frontends import import_file
from tzml.compiler.frontends.onnx.implied import implied_inputs

n = helper.make_node
IMAGE = (2, 4, 6, 7)
NO_PLACE = np.array([np.nan, np.inf, -np.inf, 1e30], np.float32)


def answers(model: onnx.ModelProto, x: Array, folder: Path, compile_and_run: CompileAndRun) -> tuple[Array, Array]:
    """Ours, and the reference's."""
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    (theirs,) = ReferenceEvaluator(model).run(None, {"x": x})
    return compile_and_run(path, x[None])[0], theirs


def model_of(*nodes: onnx.NodeProto, shape: tuple[int, ...], rank: int = 4, **constants: Array) -> onnx.ModelProto:
    model = onnx_model(*nodes, shape=shape, out=tuple("abcd"[:rank]), **constants)
    model.opset_import[0].version = 22
    return model


@pytest.mark.parametrize(
    ("mode", "coordinates", "sizes"),
    [
        ("linear", "half_pixel", (4, 3)),
        ("linear", "half_pixel_symmetric", (11, 10)),
        ("cubic", "align_corners", (3, 13)),
        ("nearest", "asymmetric", (5, 4)),
    ],
)
@pytest.mark.parametrize("antialias", [0, 1])
def test_an_image_is_resized(
    mode: str,
    coordinates: str,
    sizes: tuple[int, int],
    antialias: int,
    tmp_path: Path,
    compile_and_run: CompileAndRun,
) -> None:
    """By scales that do not divide the sizes, of two axes."""
    if mode == "nearest" and antialias:
        pytest.skip("nothing is between pixels")
    about = {"mode": mode, "coordinate_transformation_mode": coordinates, "antialias": antialias}
    scales = np.array([(size + 0.4) / old for size, old in zip(sizes, IMAGE[2:], strict=True)], np.float32)
    model = model_of(n("Resize", ["x", "", "scales"], ["y"], axes=[2, 3], **about), shape=IMAGE, scales=scales)
    ours, theirs = answers(model, floats(*IMAGE), tmp_path, compile_and_run)
    assert ours.shape == (2, 4, *sizes)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def deformed(offset: Array) -> onnx.ModelProto:
    about = {"group": 2, "offset_group": 2, "strides": [2, 1], "dilations": [1, 2], "pads": [1, 0, 0, 1]}
    return model_of(
        n("DeformConv", ["x", "w", "offset", "b", "mask"], ["y"], **about),
        shape=IMAGE, w=floats(6, 2, 3, 2), offset=offset, b=floats(6), mask=floats(2, 12, 3, 6),
    )  # fmt: skip


def test_a_convolution_is_deformed(tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    """Also by offsets that lead outside of the image."""
    model = deformed(floats(2, 24, 3, 6) * 5)
    ours, theirs = answers(model, floats(*IMAGE), tmp_path, compile_and_run)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_offsets_of_no_numbers_read_nothing(tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(deformed(np.resize(NO_PLACE, (2, 24, 3, 6))).SerializeToString())
    ours = compile_and_run(path, floats(1, *IMAGE))[0]
    assert (ours == np.broadcast_to(floats(6).reshape(6, 1, 1), ours.shape)).all()


REGIONS = np.array([[0, 0, 5, 4], [1.5, 2.5, 3, 9], [-4, -3, 20, 30], [3, 3, 3, 3]], np.float32)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "output_half_pixel"])
def test_regions_are_aligned(mode: str, coordinates: str, tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    about = {"output_height": 3, "output_width": 2, "sampling_ratio": 3, "spatial_scale": 0.7, "mode": mode}
    model = model_of(
        n("RoiAlign", ["x", "r", "at"], ["y"], coordinate_transformation_mode=coordinates, **about),
        shape=IMAGE, r=REGIONS, at=np.array([0, 1, 1, 0]),
    )  # fmt: skip
    ours, theirs = answers(model, floats(*IMAGE), tmp_path, compile_and_run)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_region_of_no_image_is_of_the_nearest_one(tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    """And one of no numbers lies outside."""
    regions = np.concatenate([REGIONS, np.resize(NO_PLACE, (1, 4))])
    model = model_of(
        n("Cast", ["x"], ["at"], to=TensorProto.INT64),
        n("RoiAlign", ["image", "r", "at"], ["y"], sampling_ratio=2),
        shape=(5,), image=floats(*IMAGE), r=regions,
    )  # fmt: skip
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    hostile, limited = compile_and_run(path, np.array([[1e9, -7, -1e18, 1e18, 0], [1, 0, 0, 1, 0]], np.float32))
    assert (hostile == limited).all()
    assert np.isfinite(hostile).all()
    assert (hostile[4] == 0).all()


def test_a_pooling_is_undone_and_its_indices_may_be_anything(
    tmp_path: Path, compile_and_run: CompileAndRun
) -> None:
    about = {"kernel_shape": [2, 2], "strides": [2, 2]}
    model = model_of(
        n("MaxPool", ["x"], ["pooled", "at"], **about),
        n("MaxUnpool", ["pooled", "at"], ["y"], **about), shape=(2, 3, 6, 8),
    )  # fmt: skip
    x = floats(2, 3, 6, 8)
    ours, theirs = answers(model, x, tmp_path, compile_and_run)
    assert (ours == theirs).all()
    assert np.count_nonzero(ours) == 2 * 3 * 3 * 4

    model = model_of(
        n("Cast", ["x"], ["at"], to=TensorProto.INT64), n("MaxUnpool", ["new", "at"], ["y"], **about),
        shape=(1, 1, 2, 2), new=np.array([1, 2, 3, 4], np.float32).reshape(1, 1, 2, 2),
    )  # fmt: skip
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    [ours] = compile_and_run(path, np.array([1e18, -1e18, 5, 16], np.float32).reshape(1, 1, 1, 2, 2))
    assert ours.ravel().tolist() == [0, 0, 0, 0, 0, 3, *[0] * 10]


def shaped(operator: str, shape: tuple[int, ...], result: tuple[int, ...], length: int, **about: int) -> bytes:
    """A layer whose second input says a shape that the file declares."""
    graph = helper.make_graph(
        [n(operator, ["x", "says"], ["y"], **about)],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("says", TensorProto.INT64, [length]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, result)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    data: bytes = model.SerializeToString()
    return data


@pytest.mark.parametrize("operator", ["ReduceSum", "ReduceMax"])
def test_axes_from_data_choose_among_those_that_fit(operator: str, tmp_path: Path, libtzml: Path) -> None:
    """Also when they count from the end; other axes read nothing else."""
    from tzml.client import World, open_model
    from tzml.compiler import CompileOptions, compile_model

    path, x = tmp_path / "model.onnx", floats(4, 3, 3)
    path.write_bytes(shaped(operator, x.shape, (4, 3), 1, keepdims=0))
    compile_model(path, CompileOptions("host")).write(tmp_path / "model.tzm")
    reduce = np.sum if operator == "ReduceSum" else np.max
    with open_model(tmp_path / "model.tzm", World.ree) as model:
        for said, axis in ((1, 1), (2, 2), (-1, 2), (-2, 1), (10**18, 1)):
            ours = model.run({"x": x, "says": np.array([said])}).outputs["y"]
            np.testing.assert_allclose(ours, reduce(x, axis=axis), rtol=1e-5, atol=1e-5)


def transform(shape: tuple[int, ...], result: tuple[int, ...], **about: int) -> onnx.ModelProto:
    """A Fourier transform along an axis that is an input."""
    graph = helper.make_graph(
        [n("DFT", ["x", "", "axis"], ["y"], **about)],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("axis", TensorProto.INT64, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, result)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_a_transform_along_an_axis_from_data_is_of_those_that_fit(tmp_path: Path, libtzml: Path) -> None:
    """Also along an axis of one number, which becomes a complex one."""
    from tzml.client import World, open_model
    from tzml.compiler import CompileOptions, compile_model

    path, x = tmp_path / "model.onnx", floats(1, 5, 5, 1)
    path.write_bytes(transform(x.shape, (1, 5, 5, 2)).SerializeToString())
    compile_model(path, CompileOptions("host")).write(tmp_path / "model.tzm")
    with open_model(tmp_path / "model.tzm", World.ree) as model:
        for said, axis in ((0, 0), (1, 1), (2, 2), (-2, 2), (-3, 1)):
            ours = model.run({"x": x, "axis": np.array(said)}).outputs["y"]
            theirs = np.fft.fft(x[..., 0], axis=axis)
            np.testing.assert_allclose(ours, np.stack((theirs.real, theirs.imag), -1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "result", "about", "axis"),
    [
        ((1, 9, 8, 1), (1, 5, 8, 2), {"onesided": 1}, 1),
        ((1, 5, 8, 2), (1, 5, 14, 1), {"onesided": 1, "inverse": 1}, 2),
        ((1, 5, 4, 2), (1, 5, 4, 2), {}, None),
        ((1, 5, 4, 2), (1, 6, 4, 2), {}, None),
    ],
)
def test_a_transforms_axis_is_known_where_one_alone_fits(
    shape: tuple[int, ...], result: tuple[int, ...], about: dict[str, int], axis: int | None
) -> None:
    model = transform(shape, result, **about)
    found = implied_inputs(model, {"x": shape, "axis": ()}, "model.onnx")
    assert {name: (value.item(), value.shape) for name, (value, _) in found.items()} == (
        {} if axis is None else {"axis": (axis, ())}
    )


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (shaped("Reshape", (2, 6), (3, 4), 2), "[3, 4]"),
        (shaped("Tile", (2, 3), (4, 3), 2), "[2, 1]"),
        (shaped("ReduceSum", (4, 3, 5), (4, 1, 5), 1), "[1]"),
        (shaped("ReduceMax", (4, 3, 5), (3,), 2, keepdims=0), "[0, 2]"),
        (shaped("Squeeze", (4, 1, 5), (4, 5), 1), "[1]"),
    ],
)
def test_an_input_that_says_a_declared_shape_is_known(data: bytes, value: str, tmp_path: Path) -> None:
    path, said = tmp_path / "model.onnx", list[str]()
    path.write_bytes(data)
    assert import_file(path, {}, said.append).input_names == ("x",)
    assert said == [
        f"input says is taken to be {value}, which the shape of y says as well; the bundle does not have it"
    ]


@pytest.mark.parametrize(
    "data",
    [
        shaped("Slice", (4, 3), (2, 3), 1),
        shaped("ReduceSum", (4, 3, 5), (4, 1, 5), 2),
        shaped("Reshape", (2, 6), (3, 5), 2),
    ],
    ids=["a slice", "too many", "of another size"],
)
def test_an_input_of_which_shapes_say_too_little_is_refused(data: bytes, tmp_path: Path) -> None:
    from tzml.compiler.ir.errors import CompileError

    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(CompileError):
        import_file(path, {}, lambda _: None)
