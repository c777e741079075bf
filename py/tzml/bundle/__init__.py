"""The bundle (.tzm): one file that holds a compiled model. docs/bundle.md is the specification."""

from tzml.bundle.file import Bundle, Section, SectionType, Target, decode, read, read_section
from tzml.bundle.format import BundleError
from tzml.bundle.plan import Access, Argument, Call, Chunk, DType, Plan, Region, Tensor

__all__ = [
    "Access",
    "Argument",
    "Bundle",
    "BundleError",
    "Call",
    "Chunk",
    "DType",
    "Plan",
    "Region",
    "Section",
    "SectionType",
    "Target",
    "Tensor",
    "decode",
    "read",
    "read_section",
]
