"""Record which of the symbols that buildroot-external uses Buildroot has, for test_buildroot.py.

python3 tests/build/record_buildroot_symbols.py BUILDROOT >tests/build/buildroot-symbols.txt
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_EXTERNAL = Path(__file__).parents[2] / "buildroot-external"


def used() -> set[str]:
    """The symbols in configurations, Config.in and *.mk, without those that they define."""
    texts = [path.read_text() for path in _EXTERNAL.rglob("*") if path.suffix in {".config", ".in", ".mk"}]
    texts += [path.read_text() for path in (_EXTERNAL / "configs").iterdir()]
    own = {"BR2_EXTERNAL_TZML_PATH"} | {
        name for text in texts for name in re.findall(r"^config (BR2_\w+)", text, re.MULTILINE)
    }
    return {name for text in texts for name in re.findall(r"\bBR2_[A-Z0-9][A-Za-z0-9_]*\b", text)} - own


def main() -> None:
    """Print them; fail if Buildroot lacks one."""
    buildroot = Path(sys.argv[1])
    makefile = (buildroot / "Makefile").read_text()
    version = re.search(r"^export BR2_VERSION := (\S+)", makefile, re.MULTILINE)
    known = set(re.findall(r"\bBR2_\w+", makefile))
    files = {
        *buildroot.rglob("Config.in*"),
        *(path for path in (buildroot / "toolchain").rglob("*") if path.is_file()),
    }
    for path in files:
        text = path.read_text(errors="replace")
        known |= set(re.findall(r"^\s*(?:menu)?config (BR2_\w+)", text, re.MULTILINE))
    missing = used() - known
    if missing:
        sys.exit(f"{buildroot} does not have {', '.join(sorted(missing))}")
    print(f"# Of Buildroot {version[1] if version else '?'}, made by record_buildroot_symbols.py")
    print("\n".join(sorted(used())))


if __name__ == "__main__":
    main()
