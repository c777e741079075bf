# SPDX-License-Identifier: Apache-2.0
"""Statements about vulnerabilities (VEX): what somebody found out about them in this product.

Documents are OpenVEX 0.2.0, https://github.com/openvex/spec.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tzml.errors import TzmlError
from tzml.vulnerabilities.feed import Finding

CONTEXT = "https://openvex.dev/ns/v0.2.0"
STATUSES = ("not_affected", "affected", "fixed", "under_investigation")
SETTLED = ("not_affected", "fixed")  # nothing need be done any more
JUSTIFICATIONS = (
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
)


@dataclass(frozen=True)
class Statement:
    """What a document says of one vulnerability.

    Args:
        names: the vulnerability's name and aliases
        products: package URLs; without a version, all of them
        status: one of STATUSES
        reason: justification, impact or action, as text
        since: when it was known
        place: file and number of the statement

    """

    names: frozenset[str]
    products: tuple[str, ...]
    status: str
    reason: str
    since: datetime
    place: str

    def is_about(self, finding: Finding) -> bool:
        """Whether it is about this vulnerability in this part."""
        return finding.cve in self.names and any(_fits(product, finding) for product in self.products)


def _fits(product: str, finding: Finding) -> bool:
    kind, _, rest = product.partition("/")
    path, _, _ = rest.partition("?")
    path, _, version = path.partition("@")
    name = unquote(path.rpartition("/")[2])
    part = finding.part
    if kind != part.purl.partition("/")[0]:
        return False
    known = {(part.name, part.version), (part.source, part.source_version)}
    return any(name == other and unquote(version) in ("", its) for other, its in known)


def read(path: Path) -> list[Statement]:
    """The statements of a document. Raises TzmlError for one that is not complete."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise TzmlError(f"{path} cannot be read: {error.strerror}", "give another file") from error
    except (ValueError, RecursionError) as error:
        raise TzmlError(f"{path} is not JSON: {error}", "repair it") from error
    context = document.get("@context") if isinstance(document, dict) else None
    if context != CONTEXT:
        raise TzmlError(f"{path}: @context is {context!r}, expected {CONTEXT!r}", "give an OpenVEX 0.2.0 document")
    statements = document.get("statements")
    if not isinstance(statements, list):
        raise TzmlError(f"{path}: statements: expected a list", "repair it")
    return [
        _statement(f"{path}, statement {number}", entry, document.get("timestamp"))
        for number, entry in enumerate(statements, 1)
    ]


def _statement(place: str, entry: Any, timestamp: Any) -> Statement:
    def wrong(what: str) -> TzmlError:
        return TzmlError(f"{place}: {what}", "complete it: OpenVEX says what a statement has to have")

    if not isinstance(entry, dict):
        raise wrong("expected an object")
    vulnerability = entry.get("vulnerability")
    name = vulnerability.get("name") if isinstance(vulnerability, dict) else None
    if not isinstance(name, str) or not name:
        raise wrong("vulnerability.name: expected a name such as CVE-2024-1234")
    status = entry.get("status")
    if status not in STATUSES:
        raise wrong(f"status is {status!r}, expected one of {', '.join(STATUSES)}")
    justification, impact = entry.get("justification"), entry.get("impact_statement")
    if justification is not None and justification not in JUSTIFICATIONS:
        raise wrong(f"justification is {justification!r}, expected one of {', '.join(JUSTIFICATIONS)}")
    if status == "not_affected" and not (justification or impact):
        raise wrong("not_affected needs a justification or an impact_statement")
    if status == "affected" and not entry.get("action_statement"):
        raise wrong("affected needs an action_statement")
    products = tuple(_products(entry.get("products")))
    if not products:
        raise wrong("products: expected at least one package URL (pkg:...), as @id or identifiers.purl")
    try:
        since = datetime.fromisoformat(str(entry.get("timestamp") or timestamp))
    except ValueError as error:
        raise wrong(f"timestamp: {error}") from error
    if since.tzinfo is None:
        raise wrong("timestamp: expected a time zone")
    reasons = (justification, impact, entry.get("action_statement"), entry.get("status_notes"))
    return Statement(
        names=frozenset({name, *(vulnerability or {}).get("aliases", ())}),
        products=products,
        status=status,
        reason="; ".join(str(reason) for reason in reasons if reason),
        since=since,
        place=place,
    )


def _products(entries: Any) -> list[str]:
    """The package URLs: of what a product contains, if it says that, and else of the product."""
    found = []
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        if entry.get("subcomponents"):
            found += _products(entry["subcomponents"])
            continue
        for name in (entry.get("@id"), (entry.get("identifiers") or {}).get("purl")):
            if isinstance(name, str) and name.startswith("pkg:"):
                found.append(name)
    return list(dict.fromkeys(found))
