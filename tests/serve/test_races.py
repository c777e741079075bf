"""Threads of tzml-serve share no data without saying so: ThreadSanitizer watches it under load."""

from __future__ import annotations

import http.client
import json
import random
import threading
from pathlib import Path

import pytest

from .server import Server

CLIENTS = 6
REQUESTS = 400  # of each client


def ask_often(server: Server, seed: int, answers: dict[int, bytes], failures: list[str]) -> None:
    """Ask for one of a hundred images at a time, and leave some connections in the middle of a request."""
    chance = random.Random(seed)
    [about] = server.ask("/v2/models/digits")[1]["inputs"]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        for _ in range(REQUESTS):
            image = chance.randrange(100)
            tensor = {**about, "shape": [1, *about["shape"][1:]], "data": [image / 100] * (28 * 28)}
            connection.request("POST", "/v2/models/digits/infer", json.dumps({"inputs": [tensor]}))
            if chance.random() < 0.05:
                connection.close()  # before the answer; the next request opens another one
                continue
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 200:
                failures.append(f"{answer.status}: {said!r}")
            elif answers.setdefault(image, said) != said:
                failures.append(f"image {image} has two answers")
    except OSError as error:
        failures.append(repr(error))
    finally:
        connection.close()


@pytest.mark.full
def test_many_clients_get_right_answers_without_a_data_race(digits_for_host: Path) -> None:
    answers: dict[int, bytes] = {}
    failures: list[str] = []
    with Server(digits_for_host, sanitizer="thread") as server:  # ThreadSanitizer's exit code is 66 if it saw one
        clients = [
            threading.Thread(target=ask_often, args=(server, seed, answers, failures)) for seed in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    assert failures == []
    assert len(answers) == 100
    assert not any("ThreadSanitizer" in line for line in server.said)
