"""What feeds say of an image's parts is found, and nothing else; statements settle it."""

from __future__ import annotations

import gzip
import json
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from tzml.errors import TzmlError
from tzml.vulnerabilities.check import VulnerabilityReport, check
from tzml.vulnerabilities.vex import CONTEXT

DEBIAN = {"name": "optee-os", "version": "4.10.0-2", "release": "sid"}
COMPONENTS = [
    {"name": "optee-os", "version": "4.10.0-2", "origin": "Debian sid optee-os_4.10.0-2.dsc", "sources": [DEBIAN]},
    {"name": "debian", "version": "trixie", "origin": "Debian trixie", "sources": []},
    {"name": "zlib", "version": "1.3.1", "origin": "Buildroot", "cpes": ["zlib:zlib"]},
    {"name": "patched", "version": "0b5e5e1c9dd83e0b1d0a", "origin": "Buildroot", "cpes": ["a:patched"]},
    {"name": "tzml-ta", "version": "0.1", "origin": "this repository"},
]
BASH = {"name": "bash", "version": "5.2.37-2", "release": "trixie"}
PACKAGE = {"name": "bash", "version": "5.2.37-2+b10", "origin": "Debian:13.8/stable", "sources": [BASH]}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The deploy folder of an image with two packages of Debian and two that Buildroot made."""
    folder = tmp_path / "qemu"
    folder.mkdir()
    (folder / "packages.json").write_text(json.dumps({"packages": [PACKAGE]}))
    listed = {"role": "package-list", "path": "packages.json", "size": 1, "sha256": "0" * 64}
    about = {
        "format": 1, "machine": "qemu", "feed": "debian", "image": "tzml-image", "kernel_release": "6",
        "emulator": None, "kernel_arguments": "",
        "login": {"user": "root", "login_prompt": "login: ", "prompt": "# "},
        "secure_memory": {"tzdram_size": 2, "ta_size": 1, "protected": True},
        "files": [listed], "components": COMPONENTS,
    }  # fmt: skip
    (folder / "image.json").write_text(json.dumps(about))
    return folder


def tracker(**releases: dict[str, Any]) -> dict[str, Any]:
    """Debian's feed: of bash, a CVE for each keyword, and something about both releases."""
    cves = {f"CVE-2026-{name[1:]}": {"releases": {"trixie": entry}} for name, entry in releases.items()}
    never = {"releases": {release: {"status": "resolved", "fixed_version": "0"} for release in ("trixie", "sid")}}
    return {"bash": cves, "optee-os": {"CVE-2000-0001": never}}


def nvd(cpe: str, **limits: str) -> dict[str, Any]:
    """NVD's feed with one CVE."""
    match = {"vulnerable": True, "criteria": cpe, "matchCriteriaId": "x", **limits}
    metrics = {"cvssMetricV31": [{"cvssData": {"baseScore": 9.8, "baseSeverity": "CRITICAL"}}]}
    cve = {"id": "CVE-2026-1", "descriptions": [], "metrics": metrics, "vulnStatus": "Analyzed"}
    return {"vulnerabilities": [{"cve": cve | {"configurations": [{"nodes": [{"cpeMatch": [match]}]}]}}]}


@pytest.fixture
def feed(tmp_path: Path) -> Callable[[Any], Path]:
    """Write a document, and return its path."""

    def write(document: Any) -> Path:
        path = tmp_path / f"feed-{len(list(tmp_path.iterdir()))}.json"
        path.write_text(json.dumps(document))
        return path

    return write


def found(report: VulnerabilityReport) -> list[tuple[str, str, str]]:
    return [(finding.cve, finding.part.name, finding.fixed) for finding, _ in report.findings]


ZLIB = "cpe:2.3:a:zlib:zlib:*:*:*:*:*:*:*:*"


# -- Debian's tracker -----------------------------------------------------------------------------------


def test_a_package_older_than_the_fix_is_affected(image: Path, feed: Callable[[Any], Path]) -> None:
    document = tracker(
        _1={"status": "resolved", "fixed_version": "5.2.37-2+deb13u1", "urgency": "high"},
        _2={"status": "resolved", "fixed_version": "5.2.37-2"},
        _3={"status": "open", "urgency": "low"},
        _4={"status": "undetermined"},
        _5={"status": "resolved", "fixed_version": "0"},
    )
    report = check(image, [feed(document)], [])
    assert found(report) == [
        ("CVE-2026-1", "bash", "5.2.37-2+deb13u1"),
        ("CVE-2026-3", "bash", ""),
        ("CVE-2026-4", "bash", ""),
    ]
    assert [finding.unclear for finding, _ in report.findings] == ["", "", "Debian has not determined it"]


def test_a_feed_that_knows_nothing_of_a_release_is_refused(image: Path, feed: Callable[[Any], Path]) -> None:
    document = {"bash": {"CVE-2026-1": {"releases": {"trixie": {"status": "open"}}}}}
    with pytest.raises(TzmlError, match="says nothing about Debian sid"):
        check(image, [feed(document)], [])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"status": "resolved"}, "bash, CVE-2026-1, trixie: resolved, but without fixed_version"),
        ({"status": "mended"}, "the status 'mended' is unknown"),
        (7, "the status None is unknown"),
    ],
)
def test_what_the_tracker_never_says_is_no_all_clear(
    image: Path, feed: Callable[[Any], Path], entry: Any, message: str
) -> None:
    with pytest.raises(TzmlError, match=message):
        check(image, [feed(tracker(_1=entry))], [])


def test_an_image_that_does_not_name_its_sources_is_refused(image: Path, feed: Callable[[Any], Path]) -> None:
    (image / "packages.json").write_text(json.dumps({"packages": [{**PACKAGE, "sources": None} | {"sources": []}]}))
    check(image, [feed(tracker())], [])
    without = {name: value for name, value in PACKAGE.items() if name != "sources"}
    (image / "packages.json").write_text(json.dumps({"packages": [without]}))
    with pytest.raises(TzmlError, match="does not say of which source package of Debian bash is"):
        check(image, [feed(tracker())], [])


def test_a_signed_kernel_is_the_kernel_that_was_signed(image: Path, feed: Callable[[Any], Path]) -> None:
    source = {"name": "linux-signed-arm64", "version": "6.12.118+1", "release": "trixie"}
    kernel = PACKAGE | {"name": "linux-image-arm64", "version": "6.12.118-1", "sources": [source]}
    (image / "packages.json").write_text(json.dumps({"packages": [kernel]}))
    document = tracker()
    for name, fixed in (("1", "6.12.118-1"), ("2", "6.12.119-1")):
        entry = {"releases": {"trixie": {"status": "resolved", "fixed_version": fixed}}}
        document.setdefault("linux", {})[f"CVE-2026-{name}"] = entry
    assert found(check(image, [feed(document)], [])) == [("CVE-2026-2", "linux-image-arm64", "6.12.119-1")]


# -- NVD ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cpe", "limits", "affected"),
    [
        (ZLIB, {}, True),
        (ZLIB, {"versionEndExcluding": "1.3.2"}, True),
        (ZLIB, {"versionEndExcluding": "1.3.1"}, False),
        (ZLIB, {"versionEndIncluding": "1.3.1"}, True),
        (ZLIB, {"versionEndIncluding": "1.3"}, False),
        (ZLIB, {"versionStartIncluding": "1.3.1"}, True),
        (ZLIB, {"versionStartExcluding": "1.3.1"}, False),
        (ZLIB, {"versionStartIncluding": "1.4"}, False),
        (ZLIB.replace("*", "1.3.1", 1), {}, True),
        (ZLIB.replace("*", "1.2", 1), {}, False),
        (ZLIB.replace("*:*", "1.3.1:rc1", 1), {}, False),
        (ZLIB.replace("zlib:zlib", "other:zlib"), {}, False),
    ],
)
def test_versions_are_those_of_the_match(
    image: Path, feed: Callable[[Any], Path], cpe: str, limits: dict[str, str], affected: bool
) -> None:
    report = check(image, [feed(nvd(cpe, **limits))], [])
    assert [name for _, name, _ in found(report)] == ["zlib"] * affected
    if affected:
        assert report.findings[0][0].severity == "critical 9.8"


def test_what_has_no_number_is_not_passed_over(image: Path, feed: Callable[[Any], Path]) -> None:
    cpe = ZLIB.replace("zlib:zlib", "a:patched")
    [(finding, _)] = check(image, [feed(nvd(cpe, versionEndExcluding="9"))], []).findings
    assert finding.part.name == "patched"
    assert "no number to compare" in finding.unclear


def test_rejected_cves_and_products_that_are_only_a_platform_do_not_count(
    image: Path, feed: Callable[[Any], Path]
) -> None:
    document = nvd(ZLIB)
    document["vulnerabilities"][0]["cve"]["vulnStatus"] = "Rejected"
    assert check(image, [feed(document)], []).findings == []
    document = nvd(ZLIB)
    document["vulnerabilities"][0]["cve"]["configurations"][0]["nodes"][0]["cpeMatch"][0]["vulnerable"] = False
    assert check(image, [feed(document)], []).findings == []


def test_feeds_made_from_nvds_are_read_too(image: Path, tmp_path: Path) -> None:
    cve = nvd(ZLIB)["vulnerabilities"][0]["cve"]
    folder = tmp_path / "feeds"
    (folder / "CVE-2026").mkdir(parents=True)
    (folder / "CVE-2026" / "CVE-2026-1.json").write_text(json.dumps(cve))
    (folder / "2025.json.xz").write_bytes(
        lzma.compress(json.dumps({"cve_items": [cve | {"id": "CVE-2025-7"}]}).encode())
    )
    (folder / "2024.json.gz").write_bytes(
        gzip.compress(json.dumps({"vulnerabilities": [{"cve": cve | {"id": "CVE-2024-7"}}]}).encode())
    )
    report = check(image, [folder], [])
    assert [cve for cve, _, _ in found(report)] == ["CVE-2024-7", "CVE-2025-7", "CVE-2026-1"]


def test_of_its_own_packages_debian_knows_better(image: Path, feed: Callable[[Any], Path]) -> None:
    cpe = ZLIB.replace("zlib:zlib", "linaro:op-tee")
    alone = check(image, [feed(nvd(cpe))], [])
    assert found(alone) == [("CVE-2026-1", "optee-os", "")]
    assert found(check(image, [feed(nvd(cpe)), feed(tracker())], [])) == []


def test_what_no_feed_knows_is_said(image: Path, feed: Callable[[Any], Path]) -> None:
    report = check(image, [feed(tracker())], [])
    assert {part.name for part in report.parts} == {"bash", "optee-os", "patched", "zlib"}
    assert [part.name for part in report.uncovered] == ["patched", "zlib"]
    assert check(image, [feed(tracker()), feed(nvd(ZLIB, versionEndExcluding="1"))], []).uncovered == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a whole JSON file"),
        ("{}", "neither the file of Debian's security tracker nor one of NVD's"),
        ("[]", "neither the file of Debian's security tracker nor one of NVD's"),
        (json.dumps({"vulnerabilities": [7]}), "the list of CVEs: expected objects"),
        (json.dumps({"vulnerabilities": 7}), "the list of CVEs: expected a list"),
        (json.dumps({"cve_items": [{"id": "CVE-1", "configurations": [{}]}]}), "CVE-1, configurations: not as NVD"),
        (json.dumps(nvd("cpe:/a:zlib")), "is no CPE 2.3 name"),
    ],
)
def test_a_damaged_feed_is_refused(image: Path, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "feed.json"
    path.write_text(text)
    with pytest.raises(TzmlError, match=message):
        check(image, [path], [])


# -- Statements -----------------------------------------------------------------------------------------


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {
        "@context": CONTEXT, "@id": "urn:x", "author": "us", "timestamp": "2026-01-01T00:00:00Z", "version": 1,
        "statements": list(statements),
    }  # fmt: skip


def statement(status: str = "not_affected", product: str = "pkg:generic/zlib", **more: Any) -> dict[str, Any]:
    if status == "not_affected":
        more.setdefault("justification", "vulnerable_code_not_present")
    if status == "affected":
        more.setdefault("action_statement", "do not use it")
    return {"vulnerability": {"name": "CVE-2026-1"}, "products": [{"@id": product}], "status": status, **more}


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (statement(), 0),
        (statement("fixed"), 0),
        (statement("affected"), 1),
        (statement("under_investigation"), 1),
        (statement(product="pkg:generic/zlib@1.3.1"), 0),
        (statement(product="pkg:generic/zlib@1.3"), 1),
        (statement(product="pkg:deb/debian/zlib"), 1),
        (statement(product="pkg:generic/bash"), 1),
        (statement(vulnerability={"name": "GHSA-1", "aliases": ["CVE-2026-1"]}), 0),
        (statement(vulnerability={"name": "CVE-2026-2"}), 1),
        (statement(products=[{"@id": "urn:image", "subcomponents": [{"@id": "pkg:generic/zlib"}]}]), 0),
    ],
)
def test_a_statement_settles_what_it_is_about(
    image: Path, feed: Callable[[Any], Path], said: dict[str, Any], left: int
) -> None:
    report = check(image, [feed(nvd(ZLIB))], [feed(document(said))])
    assert len(report.findings) == 1
    assert len(report.open) == left


def test_the_newest_statement_counts(image: Path, feed: Callable[[Any], Path]) -> None:
    older = statement(timestamp="2026-02-01T00:00:00Z")
    newer = statement("affected", timestamp="2026-03-01T00:00:00Z")
    for said in ([older, newer], [newer, older]):
        [(_, newest)] = check(image, [feed(nvd(ZLIB))], [feed(document(*said))]).open
        assert newest
        assert newest.status == "affected"
    # of two from the same time, the one that comes later
    assert check(image, [feed(nvd(ZLIB))], [feed(document(statement("affected"), statement()))]).open == []


def test_a_statement_about_nothing_is_told(image: Path, feed: Callable[[Any], Path]) -> None:
    report = check(image, [feed(nvd(ZLIB))], [feed(document(statement(vulnerability={"name": "CVE-1999-1"})))])
    assert [unused.names for unused in report.unused] == [{"CVE-1999-1"}]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (statement(status="harmless"), "status is 'harmless', expected one of"),
        (statement(justification=None), "not_affected needs a justification"),
        (statement(justification="I think so"), "justification is 'I think so', expected one of"),
        (statement("affected", action_statement=""), "affected needs an action_statement"),
        (statement(products=[]), "products: expected at least one package URL"),
        (statement(vulnerability={}), "vulnerability.name: expected a name"),
        (statement(timestamp="yesterday"), "timestamp: Invalid isoformat"),
        (statement(timestamp="2026-01-01"), "timestamp: expected a time zone"),
    ],
)
def test_an_incomplete_statement_is_refused(
    image: Path, feed: Callable[[Any], Path], said: dict[str, Any], message: str
) -> None:
    with pytest.raises(TzmlError, match=f"statement 1: {message}"):
        check(image, [feed(nvd(ZLIB))], [feed(document(said))])


def test_an_images_own_statements_count(image: Path, feed: Callable[[Any], Path]) -> None:
    about = json.loads((image / "image.json").read_text())
    (image / "vex.json").write_text(json.dumps(document(statement(), statement(product="pkg:generic/none"))))
    about["files"].append({"role": "vex", "path": "vex.json", "size": 1, "sha256": "0" * 64})
    (image / "image.json").write_text(json.dumps(about))
    report = check(image, [feed(nvd(ZLIB))], [])
    assert (len(report.findings), report.open, report.unused) == (1, [], [])
    assert len(check(image, [feed(nvd(ZLIB))], [feed(document(statement("affected")))]).open) == 1


def test_another_kind_of_document_is_refused(image: Path, feed: Callable[[Any], Path]) -> None:
    with pytest.raises(TzmlError, match="@context is None"):
        check(image, [feed(nvd(ZLIB))], [feed({"document": {"category": "csaf_vex"}})])


# -- The command ----------------------------------------------------------------------------------------


def cves(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "tools/cves", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def test_the_command_says_what_is_left(image: Path, feed: Callable[[Any], Path], tmp_path: Path) -> None:
    debian = feed(tracker(_3={"status": "open", "urgency": "low"}))
    numbers = feed(nvd(ZLIB, versionEndExcluding="1.3.2"))
    done = cves(image, "--feed", debian, "--feed", numbers, "-o", tmp_path / "report.json")
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines() == [
        "CVE-2026-3       bash 5.2.37-2+b10  low  not fixed",
        "CVE-2026-1       zlib 1.3.1  critical 9.8  fixed in 1.3.2",
        "4 parts, 2 vulnerabilities known, 0 settled by statements, 2 open (most: bash 1, zlib 1)",
    ]
    report = json.loads((tmp_path / "report.json").read_text())
    assert [entry["part"] for entry in report["findings"]] == [
        "pkg:deb/debian/bash@5.2.37-2%2Bb10?arch=arm64",
        "pkg:generic/zlib@1.3.1",
    ]
    said = feed(
        document(statement(), statement(vulnerability={"name": "CVE-2026-3"}, product="pkg:deb/debian/bash"))
    )
    done = cves(image, "--feed", debian, "--feed", numbers, "--vex", said)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "4 parts, 2 vulnerabilities known, 2 settled by statements, 0 open\n"


def test_a_check_that_was_not_made_is_no_success(image: Path, tmp_path: Path) -> None:
    done = cves(image, "--feed", tmp_path / "missing.json")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert cves(image).returncode == 2
