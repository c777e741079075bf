"""A sequence has its session to itself: its state is seen by no other client, and ends with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from bundle_examples import ANSWER

from .server import Server, image

INPUT = np.arange(16, dtype=np.float32).reshape(1, 4, 4)


@pytest.fixture
def step(server: Server) -> Callable[..., Any]:
    """One request of a sequence: status, and the sum of its state or the error."""

    def run(sequence: int | str, **parameters: bool) -> tuple[int, Any]:
        given = image() | {"data": INPUT.ravel().tolist()}
        status, answer = server.infer("counter", [given], parameters={"sequence_id": sequence, **parameters})
        return status, answer["outputs"][0]["data"][0] / ANSWER if status == 200 else answer["error"]

    return run


def test_clients_that_take_turns_see_only_their_own_state(server: Server) -> None:
    with triton.InferenceServerClient(server.address) as one, triton.InferenceServerClient(server.address) as two:

        def run(client: Any, sequence: int, number: int) -> float:
            given = triton.InferInput("image", [1, 4, 4], "FP32")
            given.set_data_from_numpy(INPUT)
            answer = client.infer(
                "counter", [given], sequence_id=sequence, sequence_start=number == 1, sequence_end=number == 4
            )
            return float(answer.as_numpy("score")[0]) / ANSWER

        for number in range(1, 5):
            assert run(one, 11, number) == number
            if number > 1:
                assert run(two, 12, number - 1) == number - 1
        assert run(two, 12, 4) == 4
    assert server.metric('tzml_serve_sequences{model="counter"}') == 0


def test_a_number_and_a_string_are_different_ids(step: Callable[..., Any]) -> None:
    assert step(7, sequence_start=True) == (200, 1)
    assert step("7", sequence_start=True) == (200, 1)
    assert step(7, sequence_end=True) == (200, 2)
    assert step("7", sequence_end=True) == (200, 2)


def test_a_new_sequence_has_nothing_of_the_last_one(step: Callable[..., Any]) -> None:
    for _ in range(2):
        assert step("a", sequence_start=True) == (200, 1)
        assert step("a", sequence_end=True) == (200, 2)
    status, error = step("a")
    assert status == 400
    assert "is not known" in error


def test_a_sequence_that_has_begun_is_nobody_elses(step: Callable[..., Any]) -> None:
    assert step("b", sequence_start=True) == (200, 1)
    status, error = step("b", sequence_start=True)
    assert status == 409
    assert "has begun already" in error
    assert step("b", sequence_end=True) == (200, 2)


def test_a_request_without_a_sequence_is_refused(server: Server) -> None:
    status, answer = server.infer("counter", [image()])
    assert status == 400
    assert "keeps state: give the parameters sequence_id" in answer["error"]


def test_there_is_room_for_so_many_sequences_and_idle_ones_end(models: Path) -> None:
    with Server(
        "--sequences", "2", "--sequence-idle", "1", "--probe", "1", f"counter={models / 'stateful.tzm'}"
    ) as server:

        def start(sequence: str) -> int:
            parameters = {"sequence_id": sequence, "sequence_start": True}
            return server.infer("counter", [image()], parameters=parameters)[0]

        assert [start("a"), start("b"), start("c")] == [200, 200, 503]
        deadline = time.monotonic() + 15
        while server.metric('tzml_serve_sequences{model="counter"}') and time.monotonic() < deadline:
            time.sleep(0.1)
        assert start("c") == 200
        assert server.infer("counter", [image()], parameters={"sequence_id": "a"})[0] == 400
