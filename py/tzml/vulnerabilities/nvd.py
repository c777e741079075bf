# SPDX-License-Identifier: Apache-2.0
"""Feeds of the National Vulnerability Database: which versions of which products a CVE is about.

Each document has CVEs as NVD's API 2.0 has them: {"vulnerabilities": [{"cve": {...}}]}, or without the wrapping, as
in the feeds that are made from it: {"cve_items": [{...}]}, or a single one. https://nvd.nist.gov/developers
A configuration that asks for two products at once (a program on a processor) counts if one of them fits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tzml.vulnerabilities.feed import Finding, damaged
from tzml.vulnerabilities.inventory import Part
from tzml.vulnerabilities.versions import comparable, compare_upstream

_ANY, _NONE = "*", "-"
_METRICS = ("cvssMetricV40", "cvssMetricV31", "cvssMetricV30", "cvssMetricV2")


def is_nvd(document: Any) -> bool:
    """Whether this may be such a document."""
    return isinstance(document, dict) and (
        "vulnerabilities" in document or "cve_items" in document or {"id", "descriptions"} <= document.keys()
    )


def covers(part: Part) -> bool:
    """Whether NVD can be asked about the part."""
    return bool(part.cpes)


def find(path: Path, document: dict[str, Any], parts: Iterable[Part]) -> list[Finding]:
    """Findings for the parts whose products are known. Raises TzmlError."""
    by_product: dict[str, list[Part]] = defaultdict(list)
    for part in parts:
        for product in part.cpes:
            by_product[product].append(part)
    found: dict[tuple[str, Part], Finding] = {}
    for cve in _cves(path, document):
        name = cve.get("id")
        if not isinstance(name, str):
            raise damaged(path, "a CVE", "expected the text `id`")
        if cve.get("vulnStatus") == "Rejected":
            continue
        for match in _matches(path, name, cve):
            fields = _split(str(match.get("criteria", "")))
            if len(fields) < 7:
                raise damaged(path, name, f"{match.get('criteria')!r} is no CPE 2.3 name")
            for part in by_product.get(f"{fields[3]}:{fields[4]}", ()):
                finding = _decide(name, part, match, fields, _severity(cve))
                earlier = found.get((name, part))
                # what is certain counts for more
                if finding and (not earlier or (earlier.unclear and not finding.unclear)):
                    found[name, part] = finding
    return list(found.values())


def _cves(path: Path, document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    wrapped = document.get("vulnerabilities")
    entries = document.get("cve_items", [document]) if wrapped is None else wrapped
    if not isinstance(entries, list):
        raise damaged(path, "the list of CVEs", "expected a list")
    for entry in entries:
        cve = entry.get("cve") if isinstance(entry, dict) and wrapped is not None else entry
        if not isinstance(cve, dict):
            raise damaged(path, "the list of CVEs", "expected objects")
        yield cve


def _matches(path: Path, name: str, cve: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All that a CVE says of vulnerable products."""
    try:
        for configuration in cve.get("configurations", ()):
            for node in configuration["nodes"]:
                for match in node["cpeMatch"]:
                    if match["vulnerable"]:
                        yield match
    except (KeyError, TypeError) as error:
        raise damaged(path, f"{name}, configurations", f"not as NVD's API 2.0 has them ({error})") from error


def _split(cpe: str) -> list[str]:
    """The fields of a CPE 2.3 name; a colon in a field has a backslash before it."""
    fields, escaped = [""], False
    for letter in cpe:
        if letter == ":" and not escaped:
            fields.append("")
        else:
            fields[-1] += letter if letter != "\\" or escaped else ""
        escaped = letter == "\\" and not escaped
    return fields


def _decide(name: str, part: Part, match: dict[str, Any], fields: list[str], severity: str) -> Finding | None:
    """The finding if the part's version is one of those that the match is about."""
    version, update = fields[5], fields[6]
    start_in, start_ex = match.get("versionStartIncluding"), match.get("versionStartExcluding")
    end_in, end_ex = match.get("versionEndIncluding"), match.get("versionEndExcluding")
    if version == _NONE:
        return Finding(name, part, severity, unclear="NVD names no version")
    ours = part.upstream_version
    if not comparable(ours):
        return Finding(name, part, severity, unclear=f"the version {ours} is no number to compare")
    if version != _ANY:
        wanted = version if update in (_ANY, _NONE) else f"{version}{update}"
        return Finding(name, part, severity) if compare_upstream(ours, wanted) == 0 else None
    if start_in and compare_upstream(ours, start_in) < 0:
        return None
    if start_ex and compare_upstream(ours, start_ex) <= 0:
        return None
    if end_in and compare_upstream(ours, end_in) > 0:
        return None
    if end_ex and compare_upstream(ours, end_ex) >= 0:
        return None
    return Finding(name, part, severity, fixed=end_ex or "")


def _severity(cve: dict[str, Any]) -> str:
    """The first score that there is, as text: "critical 9.8"."""
    metrics = cve.get("metrics")
    for kind in _METRICS:
        for metric in (metrics.get(kind) or ()) if isinstance(metrics, dict) else ():
            data = metric.get("cvssData", {})
            word = data.get("baseSeverity") or metric.get("baseSeverity") or ""
            return f"{word.lower()} {data.get('baseScore', '')}".strip()
    return ""
