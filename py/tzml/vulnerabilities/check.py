# SPDX-License-Identifier: Apache-2.0
"""Compare an image with feeds, and what is found with the statements about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tzml.errors import TzmlError
from tzml.image import VEX, load_image
from tzml.vulnerabilities import debian_tracker, nvd, vex
from tzml.vulnerabilities.feed import Finding, documents
from tzml.vulnerabilities.inventory import Part, parts_of
from tzml.vulnerabilities.vex import SETTLED, Statement


@dataclass
class VulnerabilityReport:
    """What was found in an image.

    Args:
        parts: what it is made of
        uncovered: those of which no feed that was given would know anything
        findings: each vulnerability, with the newest statement about it
        unused: statements about nothing that was found

    """

    parts: list[Part]
    uncovered: list[Part] = field(default_factory=list)
    findings: list[tuple[Finding, Statement | None]] = field(default_factory=list)
    unused: list[Statement] = field(default_factory=list)

    @property
    def open(self) -> list[tuple[Finding, Statement | None]]:
        """Findings that no statement settles."""
        return [(found, said) for found, said in self.findings if not said or said.status not in SETTLED]


def check(folder: Path, feeds: Sequence[Path], vex_files: Sequence[Path]) -> VulnerabilityReport:
    """Compare the image in a deploy folder with feeds. Raises TzmlError."""
    report = VulnerabilityReport(parts_of(folder))
    image = load_image(folder)
    own = vex.read(image.path(VEX)) if image.has(VEX) else []
    given = [statement for path in vex_files for statement in vex.read(path)]
    by_debian: list[Finding] = []
    by_number: list[Finding] = []
    tracked: set[Part] = set()
    numbered: set[Part] = set()
    for feed in feeds:
        for path, document in documents(feed):
            if nvd.is_nvd(document):
                numbered |= {part for part in report.parts if nvd.covers(part)}
                by_number += nvd.find(path, document, report.parts)
            elif debian_tracker.is_tracker(document):
                tracked |= {part for part in report.parts if debian_tracker.covers(part)}
                by_debian += debian_tracker.find(path, document, report.parts)
            else:
                raise TzmlError(
                    f"{path} is neither the file of Debian's security tracker nor one of NVD's",
                    "docs/image.md says which feeds this reads",
                )
    # Debian mends what upstream's numbers still call vulnerable: of its packages, it knows better
    found = by_debian + [finding for finding in by_number if finding.part not in tracked]
    report.uncovered = [part for part in report.parts if part not in tracked | numbered]
    report.findings = [(finding, _newest(given, finding) or _newest(own, finding)) for finding in _decided(found)]
    report.unused = [said for said in given if not any(said.is_about(finding) for finding, _ in report.findings)]
    return report


def _decided(found: list[Finding]) -> list[Finding]:
    """One finding for each vulnerability of a part: if several feeds know it, one that is sure."""
    chosen: dict[tuple[str, str, str], Finding] = {}
    for finding in sorted(found, key=lambda finding: bool(finding.unclear)):
        chosen.setdefault((finding.part.name, finding.part.version, finding.cve), finding)
    return [chosen[key] for key in sorted(chosen)]


def _newest(statements: list[Statement], finding: Finding) -> Statement | None:
    """The newest statement about it; of two of the same time, the one that was given later."""
    about = [statement for statement in statements if statement.is_about(finding)]
    return max(reversed(about), key=lambda statement: statement.since, default=None)
