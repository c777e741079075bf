"""The bundle (.tzm): one file that holds a compiled model. docs/bundle.md is the specification."""

from tzml.bundle.bundle import Bundle, Public, decode, read, read_public, read_section
from tzml.bundle.container import Section, SectionType
from tzml.bundle.content import (
    BOTH,
    Access,
    Argument,
    Call,
    Chunk,
    Content,
    Direction,
    DType,
    Library,
    Memory,
    OutputPolicy,
    Port,
    Program,
    Region,
    Role,
    Target,
    Tensor,
    Worlds,
)
from tzml.bundle.format import BundleError
from tzml.bundle.identity import NO_IDENTITY, derive_model_id

__all__ = [
    "BOTH",
    "NO_IDENTITY",
    "Access",
    "Argument",
    "Bundle",
    "BundleError",
    "Call",
    "Chunk",
    "Content",
    "DType",
    "Direction",
    "Library",
    "Memory",
    "OutputPolicy",
    "Port",
    "Program",
    "Public",
    "Region",
    "Role",
    "Section",
    "SectionType",
    "Target",
    "Tensor",
    "Worlds",
    "decode",
    "derive_model_id",
    "read",
    "read_public",
    "read_section",
]
