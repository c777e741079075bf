"""A pipeline's client: seals inputs to attested first stages, and opens the answers of last ones."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.bundle import BundleError
from tzml.errors import TzmlError, known_names
from tzml.pipeline.description import Invitation, TensorSpec
from tzml.pipeline.record import SECRET_SIZE, SealedRecord, open_record, seal_record
from tzml.pipeline.release import wrap_client_secret

Array = NDArray[Any]


@dataclass(frozen=True)
class Pending:
    """A request whose answer is awaited."""

    request: bytes
    answer_secret: bytes


class Client:
    """Seals requests for one epoch of a pipeline. Its secret stays in memory, and dies with it."""

    def __init__(self, invitation: Invitation) -> None:
        self.invitation = invitation
        self._secret = secrets.token_bytes(SECRET_SIZE)
        self._sender = secrets.token_bytes(32)
        self._counter = 0
        try:
            self._enc, self._wrapped = wrap_client_secret(
                self._secret, invitation.pipeline, invitation.epoch, invitation.client_public
            )
        except ValueError as error:
            raise TzmlError("the pipeline's key is not a point of P-256", "get the invitation again") from error

    def seal(self, inputs: Mapping[str, Array]) -> tuple[bytes, Pending]:
        """A record for the first stage, and what opens its answer.

        `inputs` has an array for each input's name, of its dtype and shape. Raises TzmlError.
        """
        known = [spec.name for spec in self.invitation.inputs]
        for name in inputs:
            if name not in known:
                raise TzmlError(f"the pipeline has no input {name}", known_names(name, known))
        payload = b"".join(_pack(spec, inputs) for spec in self.invitation.inputs)
        record = SealedRecord(
            self.invitation.pipeline, self.invitation.epoch, 0, secrets.token_bytes(16), self._sender,
            self._counter, len(payload), self._enc, self._wrapped,
        )  # fmt: skip
        self._counter += 1
        return seal_record(record, self._secret, payload), Pending(
            record.request, record.answer_secret(self._secret)
        )

    def open(self, pending: Pending, answer: bytes) -> dict[str, Array]:
        """The outputs by name. Raises BundleError, as RECORD_TAG for an answer to another request."""
        record, payload = open_record(answer, pending.answer_secret)
        expected = (self.invitation.pipeline, self.invitation.epoch, self.invitation.stage_count, pending.request)
        if (record.pipeline, record.epoch, record.edge, record.request) != expected:
            raise BundleError("RECORD_OTHER", "the record is no answer to this request", "ask again")
        size = sum(spec.size for spec in self.invitation.outputs)
        if len(payload) != size:
            raise BundleError(
                "RECORD_MALFORMED", f"the answer has {len(payload)} bytes, not {size}",
                "make the pipeline with the policy that the last stage's grant has (tzml pipeline new --policy)",
            )  # fmt: skip
        arrays, start = {}, 0
        for spec in self.invitation.outputs:
            part = payload[start : start + spec.size]
            arrays[spec.name] = np.frombuffer(part, spec.dtype).reshape(spec.shape)
            start += spec.size
        return arrays


def _pack(spec: TensorSpec, inputs: Mapping[str, Array]) -> bytes:
    if spec.name not in inputs:
        raise TzmlError(f"no array was given for the input {spec.name}")
    array = np.asarray(inputs[spec.name])
    if array.dtype != np.dtype(spec.dtype) or array.shape != spec.shape:
        raise TzmlError(
            f"the input {spec.name} is {spec.dtype}[{', '.join(map(str, spec.shape))}], "
            f"not {array.dtype}{list(array.shape)}",
            "give an array of that dtype and shape: nothing is converted silently",
        )
    return array.tobytes()
