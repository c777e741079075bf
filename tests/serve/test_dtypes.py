"""Every datatype of the protocol that a bundle can have, in JSON and in binary tensors, to the last bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from echo import echo, numbers

from tzml.bundle import DType
from tzml.fleet import Device
from tzml.fleet.grpc_gateway import Gateway, Listening, start
from tzml.fleet.grpc_messages import message

from .server import Array, Server, for_host

NAMES = {
    "float32": "FP32", "float16": "FP16", "int8": "INT8", "uint8": "UINT8", "int16": "INT16", "int32": "INT32",
    "int64": "INT64", "bool": "BOOL", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "float64": "FP64",
}  # fmt: skip
GIVEN: dict[str, Array] = {dtype.name: numbers(dtype.name)[None] for dtype in DType}
IN_JSON = [name for name in NAMES if name != "float16"]


@pytest.fixture(scope="module")
def server(c_tests: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, library = tmp_path_factory.mktemp("echo"), c_tests / "example_kernels.so"
    (folder / "echo.tzm").write_bytes(for_host(echo(), library))
    (folder / "typed.tzm").write_bytes(for_host(echo(DType.float16), library))
    with Server(folder / "echo.tzm", folder / "typed.tzm") as running:
        yield running


@pytest.fixture
def gateway(server: Server) -> Iterator[str]:
    listening, port = start(Gateway(Device.parse(server.address), 10), Listening("127.0.0.1:0"))
    yield f"127.0.0.1:{port}"
    listening.stop(None).wait()


def described(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": NAMES[name], "shape": [1, 3], **more}


def request(**changed: Any) -> tuple[bytes, dict[str, str]]:
    """Numbers of all dtypes, as JSON where that can carry them; those that are changed are lists."""
    inputs = [described(name, data=changed.get(name, GIVEN[name][0].tolist())) for name in IN_JSON]
    half = GIVEN["float16"].tobytes()
    inputs.append(described("float16", parameters={"binary_data_size": len(half)}))
    outputs = [{"name": f"{name} again", "parameters": {"binary_data": name == "float16"}} for name in NAMES]
    text = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
    return text + half, {"Inference-Header-Content-Length": str(len(text))}


def infer(server: Server, **changed: Any) -> tuple[int, Any, bytes]:
    body, headers = request(**changed)
    status, given, answer = server.ask_raw("/v2/models/echo/infer", body, headers)
    size = int(given.get("inference-header-content-length", len(answer)))
    return status, json.loads(answer[:size]), answer[size:]


def test_the_model_says_which_datatypes_it_has(server: Server) -> None:
    _, about = server.ask("/v2/models/echo")
    assert {tensor["name"]: tensor["datatype"] for tensor in about["inputs"]} == NAMES


def test_json_carries_each_number_exactly(server: Server) -> None:
    status, answer, half = infer(server)
    assert status == 200
    found = {tensor["name"]: tensor for tensor in answer["outputs"]}
    assert half == GIVEN["float16"].tobytes()
    for name in IN_JSON:
        tensor = found[f"{name} again"]
        assert tensor["datatype"] == NAMES[name]
        assert np.array(tensor["data"], name).tobytes() == GIVEN[name].tobytes()
    # by their digits: who reads them as doubles sees nothing wrong
    assert found["uint64 again"]["data"] == [0, 2**64 - 1, 2**63 + 1]
    assert found["int64 again"]["data"] == [-(2**63), 2**63 - 1, 2**62 + 1]


@pytest.mark.parametrize(
    ("dtype", "numbers"),
    [
        ("uint16", [0, 2**16, 0]), ("uint16", [0, -1, 0]), ("uint32", [0, 2**32, 0]), ("uint32", [0, -1, 0]),
        ("uint64", [0, 2**64, 0]), ("uint64", [0, -1, 0]), ("uint64", [0, 1.5, 0]), ("int64", [0, 2**63, 0]),
        ("float32", [0, 1e39, 0]), ("float64", [0, "1", 0]), ("float64", [0, True, 0]),
    ],
)  # fmt: skip
def test_a_number_that_a_datatype_does_not_have_is_refused(server: Server, dtype: str, numbers: list[Any]) -> None:
    status, answer, _ = infer(server, **{dtype: numbers})
    assert status == 400
    assert f"element 1 of input {dtype} is not of {NAMES[dtype]}" in answer["error"]


def test_real_numbers_that_json_does_not_have_are_refused(server: Server) -> None:
    body, headers = request()
    text, _, rest = body.partition(b"1.7976931348623157e+308")
    status, answer = server.ask("/v2/models/echo/infer", text + b"1.7976931348623157e+309" + rest, headers)
    assert status == 400
    assert answer["error"]


def test_binary_tensors_are_the_numbers_as_they_lie_in_memory(server: Server, gateway: str) -> None:
    for client, at in ((tritonclient.http, server.address), (tritonclient.grpc, gateway)):
        inputs = []
        for name, array in GIVEN.items():
            inputs.append(client.InferInput(name, [1, 3], NAMES[name]))
            inputs[-1].set_data_from_numpy(array)
        with client.InferenceServerClient(at) as connected:
            answer = connected.infer("echo", inputs)
        for name, array in GIVEN.items():
            found = answer.as_numpy(f"{name} again")
            assert (found.dtype, found.tobytes()) == (array.dtype, array.tobytes())


FIELDS = {
    "float32": "fp32_contents", "int8": "int_contents", "uint8": "uint_contents", "int16": "int_contents",
    "int32": "int_contents", "int64": "int64_contents", "bool": "bool_contents", "uint16": "uint_contents",
    "uint32": "uint_contents", "uint64": "uint64_contents", "float64": "fp64_contents",
}  # fmt: skip


def infer_typed(gateway: str, **changed: list[Any]) -> dict[str, bytes]:
    """The answers of the model without float16, which only bytes can carry; the tensors are in typed fields."""
    inputs = [
        described(name, contents={field: changed.get(name, GIVEN[name][0].tolist())})
        for name, field in FIELDS.items()
    ]
    with grpc.insecure_channel(gateway) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=message("ModelInferRequest").SerializeToString,
            response_deserializer=message("ModelInferResponse").FromString,
        )
        answer = call(message("ModelInferRequest")(model_name="typed", inputs=inputs), timeout=20)
    return dict(zip((output.name for output in answer.outputs), answer.raw_output_contents, strict=True))


def test_typed_fields_of_grpc_carry_each_number_exactly(gateway: str) -> None:
    assert infer_typed(gateway) == {f"{name} again": GIVEN[name].tobytes() for name in FIELDS}


@pytest.mark.parametrize(("dtype", "number"), [("uint16", 2**16), ("uint8", 256), ("int8", -129)])
def test_a_number_of_a_wider_field_is_refused(gateway: str, dtype: str, number: int) -> None:
    with pytest.raises(grpc.RpcError, match=f"a number of input {dtype} is not of {NAMES[dtype]}") as caught:
        infer_typed(gateway, **{dtype: [0, number, 0]})
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
