"""Inference over several attested TEEs, between which records are sealed. docs/bundle.md, "Release (.tzr)"."""

from tzml.pipeline.record import SealedRecord, open_record, read_record, seal_record
from tzml.pipeline.release import EpochKeys, StageRelease, make_release, read_release

__all__ = [
    "EpochKeys",
    "SealedRecord",
    "StageRelease",
    "make_release",
    "open_record",
    "read_record",
    "read_release",
    "seal_record",
]
