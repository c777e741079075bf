"""Run by the Python that has KServe: its own clients, unmodified, ask servers of REST and of gRPC.

usage: kserve_client.py REST-URL GRPC-ADDRESS. Prints what they answered, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.inference_client import InferenceGRPCClient

IMAGE = np.arange(16, dtype=np.float32).reshape(1, 4, 4)


def request(model: str = "plain", *, binary: bool) -> Any:
    tensor = InferInput("image", [1, 4, 4], "FP32")
    tensor.set_data_from_numpy(IMAGE, binary_data=binary)
    return InferRequest(model, [tensor], request_id="7")


def told(answer: Any) -> list[Any]:
    return [answer.id, answer.outputs[0].name, answer.outputs[0].as_numpy().tolist()]


async def ask(rest: str, grpc: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    found["rest"] = [await client.is_server_live(rest), await client.is_server_ready(rest)]
    found["rest"] += [await client.is_model_ready(rest, name) for name in ("plain", "other")]
    for binary in (False, True):
        found[f"rest, binary {binary}"] = told(await client.infer(rest, request(binary=binary), model_name="plain"))
    await client.close()
    client = InferenceGRPCClient(grpc, retries=0)
    found["grpc"] = [await client.is_server_live(), await client.is_server_ready()]
    found["grpc"] += [await client.is_model_ready(name) for name in ("plain", "other")]
    for binary in (False, True):
        found[f"grpc, binary {binary}"] = told(await client.infer(request(binary=binary)))
    try:
        await client.infer(request("other", binary=True))
    except Exception as error:
        found["grpc, no such model"] = [str(getattr(error, "code", lambda: "")()), str(error)]
    await client.close()
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ask(*sys.argv[1:]))))
