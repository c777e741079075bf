"""The owner's verifier: lets attested sessions into a pipeline, and nobody else."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from tzml.device import Challenge, SessionRecord
from tzml.owner.attestation import EvidenceError, Measurements, Refusal, check_evidence
from tzml.owner.keys import Signer
from tzml.owner.register import Recorded, Register
from tzml.pipeline.description import Pipeline
from tzml.pipeline.release import EpochKeys, make_release


@dataclass
class Verifier:
    """Gives the keys of an epoch to sessions whose evidence holds.

    `expected` is what the image measures; `register` has the attestation keys that are known. Keys from the field
    count only with `field_keys`. Each nonce is good for one answer.
    """

    pipeline: Pipeline
    keys: EpochKeys
    owner: Signer
    expected: Measurements
    register: Register
    field_keys: bool = False
    _asked: set[bytes] = field(default_factory=set)

    def ask(self) -> bytes:
        """A nonce of 32 bytes for a session that wants to be let in."""
        nonce = secrets.token_bytes(32)
        self._asked.add(nonce)
        return nonce

    def release(self, stage: int, session: SessionRecord) -> bytes:
        """The release (.tzr) for a session that answered a nonce of `ask`. Raises EvidenceError, TzmlError."""
        if session.nonce not in self._asked:
            raise EvidenceError(
                Refusal.NONCE,
                "the session answers a nonce that was not asked, or was answered before",
                "ask it again",
            )
        challenge = Challenge(b"", session.nonce)
        evidence = check_evidence(session, challenge, self.expected, [self.owner.public])
        entry = self.register.entry(evidence)
        if entry is None or (entry.recorded != Recorded.factory and not self.field_keys):
            known = "is not in the register" if entry is None else "was recorded in the field"
            raise EvidenceError(
                Refusal.KEY, f"OP-TEE's key {evidence.key_id.hex()} {known}: the device may be software",
                "verify the device where you hold it (tzml device verify --register --factory)",
            )  # fmt: skip
        self._asked.remove(session.nonce)
        spec = self.pipeline.stages[stage]
        return make_release(self.keys, self.owner, session, stage, spec.bundle_digest, spec.program)
