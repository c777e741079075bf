"""Numbers of docs/bundle.md that the sections share, and the error of a bundle that breaks its rules.

runtime/include/tzml/format.h has the same numbers for C.
"""

from tzml.errors import TzmlError

ALIGNMENT = 64
DIGEST_SIZE = 32
KEY_SIZE = 64  # a P-256 public key, X and Y, or a signature
FORMAT_VERSION = 2
KERNEL_ABI = 3
PAGE = 4096  # of secure memory

MAX_MEMORY = 1 << 32
MAX_SECTIONS = 1024
MAX_SEALED_SIZE = 1 << 29  # a sealed section has less
MAX_INTERFACE_SIZE = 512 << 10
MAX_PLAN_SIZE = 1 << 20  # also of a memory section
MAX_KERNELS_SIZE = 16 << 20  # also of metadata and notes
MAX_PROGRAMS = 16
MAX_LIBRARIES = 16
MAX_MEMORIES = 2
MAX_TENSORS = 256
MAX_PORTS = 64
MAX_DIMENSIONS = 8
MAX_NAME_SIZE = 1024
MAX_ARGUMENTS = 64
MAX_DEVIATION = 1 << 24  # of noise


class BundleError(TzmlError):
    """A bundle that is not as docs/bundle.md says.

    `status` is the name of the code that the TA and libtzml return for the same bundle
    (runtime/include/tzml/status.h), as in "SECTION_DIGEST".
    """

    def __init__(self, status: str, what: str, remedy: str = "copy the bundle again, or compile it again") -> None:
        super().__init__(f"{what} ({status})", remedy)
        self.status = status
        self._given = (status, what, remedy)

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        """For pickle, which would call it with the message alone."""
        return type(self), self._given


def align(size: int) -> int:
    """`size` in bytes, rounded up to the alignment of sections, chunks and kernel arguments."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def pages(*sizes: int) -> int:
    """The bytes of the pages of secure memory that blocks of these sizes take."""
    return sum(-(-size // PAGE) * PAGE for size in sizes)


def require(condition: bool, status: str, what: str) -> None:
    """Raise BundleError unless `condition`."""
    if not condition:
        raise BundleError(status, what)
