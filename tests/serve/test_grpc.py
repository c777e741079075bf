"""gRPC through the gateway: Triton's client, unmodified, gets the model's bits and the protocol's errors."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from bundle_examples import ANSWER
from tritonclient.grpc import service_pb2

from tzml.client import World, open_model
from tzml.errors import TzmlError
from tzml.fleet import Device
from tzml.fleet.grpc_gateway import Gateway, Listening, start
from tzml.fleet.grpc_messages import _MESSAGES, message
from tzml_lab.inference.known_models import KNOWN
from tzml_lab.processes import free_port

from .server import Array, Server

SAMPLES = KNOWN["digits"].samples[0][:3]
IMAGE = np.arange(16, dtype=np.float32).reshape(1, 4, 4)


@pytest.fixture
def address(server: Server) -> Iterator[str]:
    gateway, port = start(Gateway(Device.parse(server.address), 10), Listening("127.0.0.1:0"))
    yield f"127.0.0.1:{port}"
    gateway.stop(None).wait()


@pytest.fixture
def client(address: str) -> Iterator[Any]:
    with triton.InferenceServerClient(address) as found:
        yield found


def given(name: str, array: Array, datatype: str = "FP32") -> Any:
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def test_triton_clients_get_the_models_bits(client: Any, digits_for_host: Path, libtzml: Path) -> None:
    with open_model(digits_for_host, World.ree) as model:
        expected = np.concatenate([model.run(x[None]).outputs["probabilities"] for x in SAMPLES])
    for samples in (SAMPLES[:1], SAMPLES):
        for outputs in (None, [triton.InferRequestedOutput("probabilities")]):
            answer = client.infer("digits", [given("image", samples)], outputs=outputs, request_id="7 ü")
            assert answer.as_numpy("probabilities").tobytes() == expected[: len(samples)].tobytes()
            assert answer.get_response().id == "7 ü"


def test_triton_clients_see_what_there_is(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert not client.is_model_ready("other")
    assert list(client.get_server_metadata().extensions) == ["binary_tensor_data", "sequence"]
    about = client.get_model_metadata("digits")
    assert (about.name, about.platform) == ("digits", "tzml")
    assert [(t.name, t.datatype, list(t.shape)) for t in about.inputs] == [("image", "FP32", [-1, 1, 28, 28])]


def test_a_sequence_keeps_its_state(client: Any) -> None:
    # the stateful example adds its input to its state each time
    answers = [
        client.infer("counter", [given("image", IMAGE)], sequence_id=5, sequence_start=i == 0, sequence_end=i == 2)
        .as_numpy("score").item()
        for i in range(3)
    ]  # fmt: skip
    assert answers[0] != answers[1] != answers[2]
    with pytest.raises(triton.InferenceServerException, match="sequence 5 is not known"):
        client.infer("counter", [given("image", IMAGE)], sequence_id=5)


@pytest.mark.parametrize(
    ("model", "inputs", "status", "says"),
    [
        ("other", [given("image", IMAGE)], "NOT_FOUND", "there is no model other here"),
        ("../v2", [given("image", IMAGE)], "NOT_FOUND", "there is no model"),
        ("plain", [], "INVALID_ARGUMENT", "input image is missing"),
        ("plain", [given("other", IMAGE)], "INVALID_ARGUMENT", "the model has no input other"),
        ("plain", [given("image", IMAGE.astype(np.float64), "FP64")], "INVALID_ARGUMENT", "FP64"),
        ("plain", [given("image", IMAGE.reshape(1, 16))], "INVALID_ARGUMENT", "the model takes"),
    ],
)
def test_what_is_wrong_has_its_status(client: Any, model: str, inputs: list[Any], status: str, says: str) -> None:
    with pytest.raises(triton.InferenceServerException, match=says) as caught:
        client.infer(model, inputs)
    assert caught.value.status() == f"StatusCode.{status}"


def infer(address: str, **fields: Any) -> Any:
    """A request that Triton's client does not make."""
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 4, 4]}
    request = message("ModelInferRequest")(
        **{"model_name": "plain", "inputs": [tensor | fields.pop("tensor", {})], **fields}
    )
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=message("ModelInferRequest").SerializeToString,
            response_deserializer=message("ModelInferResponse").FromString,
        )
        return call(request, timeout=20)


def test_numbers_may_come_in_typed_fields(address: str) -> None:
    answer = infer(address, tensor={"contents": {"fp32_contents": IMAGE.ravel().tolist()}})
    assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [ANSWER]


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"model_version": "1"}, grpc.StatusCode.NOT_FOUND, "no version 1"),
        ({"raw_input_contents": [b"", b""]}, grpc.StatusCode.INVALID_ARGUMENT, "2 raw_input_contents for 1 inputs"),
        ({"raw_input_contents": [bytes(63)]}, grpc.StatusCode.INVALID_ARGUMENT, "63"),
        ({"raw_input_contents": [bytes(64)], "tensor": {"contents": {"fp32_contents": [1]}}},
         grpc.StatusCode.INVALID_ARGUMENT, "both contents and raw bytes"),
        ({"tensor": {"contents": {"int_contents": [1]}}}, grpc.StatusCode.INVALID_ARGUMENT, "is in int_contents"),
        ({"tensor": {"datatype": "INT8", "contents": {"int_contents": [300] * 16}}},
         grpc.StatusCode.INVALID_ARGUMENT, "not of INT8"),
        ({"tensor": {"datatype": "BYTES"}}, grpc.StatusCode.INVALID_ARGUMENT, "only raw_input_contents"),
    ],
)  # fmt: skip
def test_malformed_requests_are_named(
    address: str, fields: dict[str, Any], status: grpc.StatusCode, says: str
) -> None:
    with pytest.raises(grpc.RpcError, match=says) as caught:
        infer(address, **fields)
    assert caught.value.code() == status


def test_bytes_that_are_no_message_stop_nobody(address: str, client: Any) -> None:
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError):
            call(b"\xff" * 100, timeout=10)
        unknown = channel.unary_unary("/inference.GRPCInferenceService/ModelStreamInfer")
        with pytest.raises(grpc.RpcError) as caught:
            unknown(b"", timeout=10)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    with socket.create_connection(address.split(":")) as raw:  # type: ignore[arg-type]
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert client.infer("plain", [given("image", IMAGE)]).as_numpy("score").tolist() == [ANSWER]


def test_many_clients_get_their_own_answers(address: str) -> None:
    wrong = []

    def ask(number: int) -> None:
        with triton.InferenceServerClient(address) as client:
            for count in range(10):
                value = float(number * 100 + count)
                answer = client.infer("plain", [given("image", np.full((1, 4, 4), value, np.float32))])
                if answer.as_numpy("score").tolist() != [60 * value]:
                    wrong.append(value)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


def test_a_device_that_is_gone_is_unavailable_and_comes_back(models: Path) -> None:
    port = free_port()
    gateway, listening = start(Gateway(Device.parse(f"127.0.0.1:{port}"), 5), Listening("127.0.0.1:0"))
    try:
        with triton.InferenceServerClient(f"127.0.0.1:{listening}") as client:
            for _ in range(2):
                with pytest.raises(triton.InferenceServerException, match="does not answer") as caught:
                    client.infer("plain", [given("image", IMAGE)])
                assert caught.value.status() == "StatusCode.UNAVAILABLE"
                with Server("--port", str(port), models / "plain.tzm"):
                    assert client.infer("plain", [given("image", IMAGE)]).as_numpy("score").tolist() == [ANSWER]
    finally:
        gateway.stop(None).wait()


@pytest.mark.parametrize("name", sorted(_MESSAGES))
def test_the_messages_are_those_of_tritons_client(name: str) -> None:
    ours = message(name).DESCRIPTOR
    nested = {"InferInputTensor": "ModelInferRequest", "InferRequestedOutputTensor": "ModelInferRequest",
              "InferOutputTensor": "ModelInferResponse", "TensorMetadata": "ModelMetadataResponse"}  # fmt: skip
    parent = service_pb2.DESCRIPTOR.message_types_by_name[nested.get(name, name)]
    theirs = parent.nested_types_by_name[name] if name in nested else parent
    known = {field.name: field for field in theirs.fields}
    for field in ours.fields:
        assert (field.number, field.type) == (known[field.name].number, known[field.name].type)


def test_it_listens_to_the_network_with_clients_certificates_only(tmp_path: Path) -> None:
    device = Gateway(Device.parse("127.0.0.1:1"))
    with pytest.raises(TzmlError, match="only with TLS and clients' certificates"):
        start(device, Listening("0.0.0.0:0"))
    with pytest.raises(TzmlError, match="only with TLS and clients' certificates"):
        start(device, Listening("127.0.0.1:0", certificate=tmp_path / "x"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(TzmlError, match="cannot listen"):
            start(device, Listening(f"127.0.0.1:{taken.getsockname()[1]}"))


def test_the_command_serves_until_it_is_told_to_stop(server: Server) -> None:
    command = [sys.executable, "-m", "tzml", "fleet", "grpc", server.address, "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = process.stdout.readline().split()[-1]
        try:
            with triton.InferenceServerClient(address) as client:
                assert client.infer("plain", [given("image", IMAGE)]).as_numpy("score").tolist() == [ANSWER]
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
