"""Standard clients get right answers: tritonclient, unmodified, and the protocol's JSON and binary tensors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from bundle_examples import ANSWER

from tzml.client import World, open_model
from tzml_lab.inference.known_models import KNOWN

from .server import Array, Server, image

SAMPLES = KNOWN["digits"].samples[0][:5]


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with triton.InferenceServerClient(server.address) as found:
        yield found


@pytest.fixture(scope="module")
def expected(digits_for_host: Path, libtzml: Path) -> Array:
    """What the model itself answers."""
    with open_model(digits_for_host, World.ree) as model:
        return np.concatenate([model.run(x[None]).outputs["probabilities"] for x in SAMPLES])


def digits(samples: Array, *, binary: bool) -> list[Any]:
    given = triton.InferInput("image", list(samples.shape), "FP32")
    given.set_data_from_numpy(samples, binary_data=binary)
    return [given]


@pytest.mark.parametrize("binary_input", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize("binary_output", [True, False], ids=["binary", "json"])
def test_triton_clients_get_the_models_bits(
    client: Any, expected: Array, binary_input: bool, binary_output: bool
) -> None:
    wanted = [triton.InferRequestedOutput("probabilities", binary_data=binary_output)]
    for samples in (SAMPLES[:1], SAMPLES):
        answer = client.infer("digits", digits(samples, binary=binary_input), outputs=wanted, request_id='a "b" ü')
        found = answer.as_numpy("probabilities").astype(np.float32).reshape(len(samples), -1)
        assert (found == expected[: len(samples)]).all()
        assert answer.get_response()["id"] == 'a "b" ü'
        assert answer.get_response()["outputs"][0]["shape"] == [len(samples), 10]


def test_triton_clients_see_what_there_is(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data", "sequence"]
    assert client.get_model_metadata("digits") == {
        "name": "digits",
        "platform": "tzml",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 28, 28]}],
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}],
    }
    assert client.get_model_metadata("counter")["inputs"][0]["shape"] == [1, 4, 4]
    with pytest.raises(triton.InferenceServerException, match="there is no model other here"):
        client.infer("other", digits(SAMPLES[:1], binary=True))


def test_json_may_be_nested_or_flat_and_its_fields_in_any_order(server: Server) -> None:
    data = np.arange(16, dtype=float).reshape(1, 4, 4)
    for shown in (data.tolist(), data.ravel().tolist()):
        for order in (("name", "shape", "datatype", "data"), ("data", "datatype", "name", "shape")):
            given = {"name": "image", "shape": [1, 4, 4], "datatype": "FP32", "data": shown}
            body = {"unknown": {"a": [1, {"b": None}]}, "inputs": [{key: given[key] for key in order}]}
            status, answer = server.ask("/v2/models/plain/infer", json.dumps(body).encode())
            assert (status, answer["outputs"][0]["data"]) == (200, [ANSWER])


def test_samples_are_answered_in_their_order(server: Server) -> None:
    given = image(samples=3)
    given["data"] = [float(i) for i in range(3) for _ in range(16)]
    status, answer = server.infer("plain", [given])
    assert status == 200
    assert answer["outputs"][0] == {"name": "score", "datatype": "FP32", "shape": [3], "data": [0, 60, 120]}


def test_prometheus_reads_what_happened(server: Server) -> None:
    before = server.metric('tzml_serve_inferences_total{model="plain"}')
    server.infer("plain", [image(samples=4)])
    assert server.metric('tzml_serve_inferences_total{model="plain"}') == before + 4
    assert server.metric('tzml_serve_model_ready{model="counter"}') == 1
    assert server.metric('tzml_serve_inference_seconds_count{model="plain",}') == before + 4
    assert server.metric("tzml_serve_request_bytes") == 0
