"""gRPC for clients that want it: a gateway on a host, in front of a device's tzml-serve or of HAProxy.

A library for gRPC on the device would take more than tzml-serve itself; here it costs the device nothing.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from tzml.errors import TzmlError
from tzml.fleet.grpc_messages import METHODS, SERVICE, message
from tzml.fleet.haproxy import Device
from tzml.http_client import KeptConnection, connect, error_of

_STATUSES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
# the datatypes with the field that has their numbers, and how those lie in memory
_CONTENTS = {
    "BOOL": ("bool_contents", "?"),
    "INT8": ("int_contents", "<i1"),
    "INT16": ("int_contents", "<i2"),
    "INT32": ("int_contents", "<i4"),
    "INT64": ("int64_contents", "<i8"),
    "UINT8": ("uint_contents", "<u1"),
    "UINT16": ("uint_contents", "<u2"),
    "UINT32": ("uint_contents", "<u4"),
    "UINT64": ("uint64_contents", "<u8"),
    "FP32": ("fp32_contents", "<f4"),
    "FP64": ("fp64_contents", "<f8"),
}
# NumPy would make float64 of numbers below and above 2^63
_FIELDS = {
    "bool_contents": "?",
    "int_contents": "<i4",
    "int64_contents": "<i8",
    "uint_contents": "<u4",
    "uint64_contents": "<u8",
    "fp32_contents": "<f4",
    "fp64_contents": "<f8",
}


class GrpcRefusal(Exception):  # noqa: N818 (it is an answer)
    """An answer that is an error."""

    def __init__(self, status: grpc.StatusCode, what: str) -> None:
        super().__init__(what)
        self.status = status


@dataclass(frozen=True)
class Listening:
    """Where the gateway listens; `certificate`, `key` and `client_ca` are PEM files."""

    address: str = "127.0.0.1:8001"
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None


class Gateway:
    """Answers gRPC with what a device answers over REST."""

    def __init__(
        self, device: Device, timeout: float = 30, context: ssl.SSLContext | None = None, largest: int = 64 << 20
    ) -> None:
        self._device, self._timeout, self._context, self.largest = device, timeout, context, largest
        self._local = threading.local()

    def _exchange(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """One request on this thread's connection, which is opened again if the device has closed it."""
        if not hasattr(self._local, "connection"):
            self._local.connection = KeptConnection(self._connect)
        kept: KeptConnection = self._local.connection
        try:
            return kept.exchange("GET" if body is None else "POST", path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            late = isinstance(error, TimeoutError)
            status = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.UNAVAILABLE
            raise GrpcRefusal(status, f"the device does not answer: {error}") from error

    def _connect(self) -> http.client.HTTPConnection:
        device, context = self._device, self._context
        return connect(device.host, device.port, self._timeout, context, secure=context is not None)

    def _is_true(self, path: str) -> bool:
        return self._exchange(path)[0] == 200

    def _ask(self, path: str) -> Any:
        status, _, answer = self._exchange(path)
        if status != 200:
            raise _refusal(status, answer)
        return json.loads(answer)

    def server_live(self, _: Any) -> Any:
        return message("ServerLiveResponse")(live=self._is_true("/v2/health/live"))

    def server_ready(self, _: Any) -> Any:
        return message("ServerReadyResponse")(ready=self._is_true("/v2/health/ready"))

    def model_ready(self, request: Any) -> Any:
        path = f"/v2/models/{_name(request.name, request.version)}/ready"
        return message("ModelReadyResponse")(ready=self._is_true(path))

    def server_metadata(self, _: Any) -> Any:
        about = self._ask("/v2")
        return message("ServerMetadataResponse")(
            name=about["name"], version=about["version"], extensions=about["extensions"]
        )

    def model_metadata(self, request: Any) -> Any:
        about = self._ask(f"/v2/models/{_name(request.name, request.version)}")
        return message("ModelMetadataResponse")(
            name=about["name"], platform=about["platform"], inputs=about["inputs"], outputs=about["outputs"]
        )

    def model_infer(self, request: Any) -> Any:
        name = _name(request.model_name, request.model_version)
        head, tensors = _to_rest(request)
        text = json.dumps(head).encode()
        headers = {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(text)),
        }
        status, given, answer = self._exchange(f"/v2/models/{name}/infer", b"".join((text, *tensors)), headers)
        if status != 200:
            raise _refusal(status, answer)
        return _from_rest(answer, int(given.get("Inference-Header-Content-Length", len(answer))))


def _name(name: str, version: str) -> str:
    if version:
        raise GrpcRefusal(
            grpc.StatusCode.NOT_FOUND, f"model {name} has no version {version}: models have none here"
        )
    if not name or not all(c.isalnum() or c in "._-" for c in name) or not name.isascii():
        raise GrpcRefusal(grpc.StatusCode.NOT_FOUND, f"there is no model {name} here")
    return name


def _to_rest(request: Any) -> tuple[dict[str, Any], list[bytes]]:
    """The request's JSON, and its tensors, which follow it."""
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise GrpcRefusal(
            grpc.StatusCode.INVALID_ARGUMENT, f"{len(raw)} raw_input_contents for {len(request.inputs)} inputs"
        )
    tensors, inputs = [], []
    for number, tensor in enumerate(request.inputs):
        if raw and tensor.HasField("contents"):
            raise GrpcRefusal(
                grpc.StatusCode.INVALID_ARGUMENT, f"input {tensor.name} has both contents and raw bytes"
            )
        data = raw[number] if raw else _packed(tensor)
        tensors.append(data)
        inputs.append(
            {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape),
             "parameters": _values(tensor.parameters) | {"binary_data_size": len(data)}}
        )  # fmt: skip
    head: dict[str, Any] = {
        "inputs": inputs,
        "parameters": _values(request.parameters) | {"binary_data_output": True},
    }
    if request.id:
        head["id"] = request.id
    if request.outputs:
        head["outputs"] = [{"name": o.name, "parameters": {"binary_data": True}} for o in request.outputs]
    return head, tensors


def _packed(tensor: Any) -> bytes:
    """The numbers of an input as they lie in memory."""
    known = _CONTENTS.get(tensor.datatype)
    if not known:
        raise GrpcRefusal(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"input {tensor.name} has the datatype {tensor.datatype}, which only raw_input_contents can carry",
        )
    field, form = known
    numbers = getattr(tensor.contents, field)
    others = [other.name for other, _ in tensor.contents.ListFields() if other.name != field]
    if others:
        raise GrpcRefusal(
            grpc.StatusCode.INVALID_ARGUMENT, f"input {tensor.name} of {tensor.datatype} is in {others[0]}"
        )
    given = np.array(numbers, _FIELDS[field])
    packed = given.astype(form)
    if given.size and not np.array_equal(packed, given, equal_nan=given.dtype.kind == "f"):  # NumPy wraps around
        raise GrpcRefusal(
            grpc.StatusCode.INVALID_ARGUMENT, f"a number of input {tensor.name} is not of {tensor.datatype}"
        )
    return packed.tobytes()


def _values(parameters: Any) -> dict[str, Any]:
    found = {}
    for name, parameter in parameters.items():
        which = parameter.WhichOneof("parameter_choice")
        if which:
            found[name] = getattr(parameter, which)
    return found


def _from_rest(answer: bytes, size: int) -> Any:
    head, at = json.loads(answer[:size]), size
    response = message("ModelInferResponse")(model_name=head["model_name"], id=head.get("id", ""))
    for output in head["outputs"]:
        count = output["parameters"]["binary_data_size"]
        response.outputs.add(name=output["name"], datatype=output["datatype"], shape=output["shape"])
        response.raw_output_contents.append(answer[at : at + count])
        at += count
    return response


def _refusal(status: int, answer: bytes) -> GrpcRefusal:
    said = error_of(answer, f"HTTP status {status}")
    return GrpcRefusal(_STATUSES.get(status, grpc.StatusCode.INTERNAL), said)


def start(gateway: Gateway, listening: Listening, threads: int = 16) -> tuple[grpc.Server, int]:
    """Listen: the server, and its port. Raises TzmlError."""
    host, _, _ = listening.address.rpartition(":")
    files = (listening.certificate, listening.key, listening.client_ca)
    if not all(files) and (any(files) or not _is_loopback(host.strip("[]"))):
        raise TzmlError(
            f"{listening.address}: the network gets in only with TLS and clients' certificates",
            "give --tls-cert, --tls-key and --client-ca, or listen on 127.0.0.1",
        )
    size = gateway.largest
    server = grpc.server(
        ThreadPoolExecutor(threads),
        options=[("grpc.max_receive_message_length", size), ("grpc.max_send_message_length", size),
                 ("grpc.so_reuseport", 0)],
        maximum_concurrent_rpcs=64,
    )  # fmt: skip
    handlers = {name: _handler(name, getattr(gateway, _snake(name))) for name in METHODS}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    try:
        if listening.certificate and listening.key and listening.client_ca:
            pair = (listening.key.read_bytes(), listening.certificate.read_bytes())
            credentials = grpc.ssl_server_credentials(
                [pair], listening.client_ca.read_bytes(), require_client_auth=True
            )
            port = server.add_secure_port(listening.address, credentials)
        else:
            port = server.add_insecure_port(listening.address)
    except (OSError, RuntimeError, ValueError) as error:
        raise TzmlError(f"cannot listen on {listening.address}: {error}", "give another --listen") from error
    if not port:
        raise TzmlError(f"cannot listen on {listening.address}", "give another --listen")
    server.start()
    return server, port


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).strip("_")


def _handler(name: str, answer: Callable[[Any], Any]) -> Any:
    def respond(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return answer(request)
        except GrpcRefusal as error:
            context.abort(error.status, str(error))

    return grpc.unary_unary_rpc_method_handler(
        respond,
        request_deserializer=message(f"{name}Request").FromString,
        response_serializer=message(f"{name}Response").SerializeToString,
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
