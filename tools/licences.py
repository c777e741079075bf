# SPDX-License-Identifier: Apache-2.0
"""SPDX licence expressions from what Debian, Buildroot and OE-core write about licences."""

from __future__ import annotations

import re

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

# Debian's short names (copyright-format 1.0) that differ from SPDX's in more than a number
_NAMES = {
    "apache-2": "Apache-2.0",
    "artistic": "Artistic-1.0-Perl",
    "expat": "MIT",
    "gpl": "GPL-1.0-or-later",
    "lgpl": "LGPL-2.0-or-later",
    "perl": "Artistic-1.0-Perl OR GPL-1.0-or-later",
}
_GNU = re.compile(
    r"(?P<name>A?GPL|LGPL|GFDL)-v?(?P<number>\d(?:\.\d)?)(?P<later>\+|-or-later)?(?:-only)?", re.IGNORECASE
)
# A comment of Buildroot's after a licence: (programs)
_COMMENT = re.compile(r"(?<=[\w.+])\s*\([^)]*\)")
_OPERATORS = re.compile(r"\s*(,\s*and\b|,\s*or\b|,|&|\||\band\b|\bor\b|[()])\s*", re.IGNORECASE)
_AND, _OR = " AND ", " OR "


def expression(text: str) -> tuple[str, dict[str, str]]:
    """An SPDX expression, and its references to licences that are not in SPDX's list, with their names.

    >>> expression("GPL-2+ or Expat")
    ('GPL-2.0-or-later OR MIT', {})

    """
    references: dict[str, str] = {}
    found = []
    for piece in _OPERATORS.split(_COMMENT.sub("", text.strip())):
        word = piece.lower().strip(" ,")
        if not piece.strip():
            continue
        if piece in "()":
            found.append(piece)
        elif word in ("or", "|"):
            found.append(_OR)
        elif word in ("and", "&", ""):
            found.append(_AND)
        else:
            found.append(_one(piece, references))
    try:
        return str(canonicalize_license_expression("".join(found))), references
    except InvalidLicenseExpression:  # not a sentence of this kind at all
        references.clear()
        return _reference(text, references), references


def both(texts: list[str]) -> tuple[str, dict[str, str]]:
    """The expression of something that is under all of these licences; of none, nothing is asserted."""
    references: dict[str, str] = {}
    parts = []
    for text in sorted(set(texts)):
        part, more = expression(text)
        references |= more
        parts.append(f"({part})" if _OR in part and len(set(texts)) > 1 else part)
    return _AND.join(dict.fromkeys(parts)) or "NOASSERTION", references


def _one(name: str, references: dict[str, str]) -> str:
    """The identifier of one licence."""
    gnu = _GNU.fullmatch(name)
    if gnu:
        number = gnu["number"] if "." in gnu["number"] else f"{gnu['number']}.0"
        identifier = f"{gnu['name'].upper()}-{number}-{'or-later' if gnu['later'] else 'only'}"
    else:
        identifier = _NAMES.get(name.lower(), name)
    try:
        found = str(canonicalize_license_expression(identifier))
    except InvalidLicenseExpression:
        return _reference(name, references)
    return f"({found})" if _OR in found else found


def _reference(name: str, references: dict[str, str]) -> str:
    identifier = "LicenseRef-" + (re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-") or "unnamed")
    references[identifier] = name
    return identifier
