"""The cases of xtest's regression suite, as recorded for each version of optee-test.

`python -m tzml_lab.xtest.cases LOG >lab/data/xtest-regression-VERSION.txt` makes such a list from the
xtest.log that a run with `--xtest full` leaves in its folder.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tzml_lab.folders import DATA
from tzml_lab.xtest.parser import XtestParser

FOLDER = DATA / "data"
_PREFIX = "xtest-regression-"

# xtest's arguments for --xtest: parts of names; none means everything. `part` has cases of every family: core,
# sessions, hashes, ciphers and signatures, the heap, secure storage, mbed TLS. It leaves out cases that take long
# under emulation.
FILTERS = {
    "part": (
        *("regression_100", "regression_102", "regression_103", "regression_2001", "regression_2004"),
        *("regression_4001", "regression_4003", "regression_4007", "regression_411", "regression_5006"),
        *("regression_6001", "regression_6003", "regression_6005", "regression_6010", "regression_81"),
    ),
    "full": (),
}


def recorded_versions() -> list[str]:
    """The versions for which there is a list, oldest first."""
    found = [path.stem.removeprefix(_PREFIX) for path in FOLDER.glob(f"{_PREFIX}*.txt")]
    return sorted(found, key=_order)


def nearest_version(version: str | None) -> str:
    """The newest recorded version that is not above this one; without a version, the newest."""
    known = recorded_versions()
    if not version:
        return known[-1]
    older = [candidate for candidate in known if _order(candidate) <= _order(version)]
    return older[-1] if older else known[0]


def _order(version: str) -> list[int]:
    """Versions compare by their numbers, without Debian's revision."""
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def recorded_cases(version: str) -> list[str]:
    """The cases of that version, in the order in which xtest runs them."""
    return (FOLDER / f"{_PREFIX}{version}.txt").read_text().split()


def matching(cases: list[str], filters: tuple[str, ...]) -> list[str]:
    """The cases that xtest runs with these filters."""
    return [case for case in cases if not filters or any(part in case for part in filters)]


def main() -> None:
    """Print the cases in a log."""
    parser = XtestParser()
    for number, line in enumerate(Path(sys.argv[1]).read_text(errors="replace").splitlines()):
        parser.feed(line, number)
    print("\n".join(parser.cases))


if __name__ == "__main__":
    main()
