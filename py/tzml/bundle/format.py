"""Numbers of docs/bundle.md that the header and the plan share.

runtime/include/tzml/format.h has the same for C.
"""

from tzml.errors import TzmlError

ALIGNMENT = 64
DIGEST_SIZE = 32
FORMAT_VERSION = 1
KERNEL_ABI = 2
MAX_MEMORY = 1 << 32
MAX_SECTIONS = 1024
PAGE = 4096  # of secure memory


class BundleError(TzmlError):
    """A bundle that is not as docs/bundle.md says.

    `status` is the name of the code that the TA and libtzml return for the same bundle
    (runtime/include/tzml/status.h), as in "SECTION_DIGEST".
    """

    def __init__(self, status: str, what: str) -> None:
        super().__init__(f"{what} ({status})", "copy the bundle again, or compile it again")
        self.status = status


def align(size: int) -> int:
    """`size` in bytes, rounded up to the alignment of sections, chunks and kernel arguments."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def require(condition: bool, status: str, what: str) -> None:
    """Raise BundleError unless `condition`."""
    if not condition:
        raise BundleError(status, what)
