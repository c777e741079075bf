"""The files that CI services read: well-formed, around scripts that people can run, and safe with boards."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

BIN = Path(sys.executable).parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
GITLAB = ROOT / ".gitlab-ci.yml"


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_github_can_read_the_workflows() -> None:
    assert {path.stem for path in WORKFLOWS} == {"push", "merge", "nightly", "yocto"}
    done = run(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    assert done.returncode == 0, done.stdout


def test_gitlab_can_read_its_file() -> None:
    schema = ("--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci")
    done = run(BIN / "check-jsonschema", *schema, GITLAB)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", [*WORKFLOWS, GITLAB], ids=lambda path: path.name)
def test_jobs_run_scripts_that_exist(path: Path) -> None:
    called = set(re.findall(r"\bci/[a-z-]+\.sh\b", path.read_text()))
    assert called
    for script in called:
        assert (ROOT / script).stat().st_mode & 0o111, script


def test_nothing_of_an_event_is_pasted_into_a_shell() -> None:
    for path in WORKFLOWS:
        for job in jobs(path).values():
            for step in job["steps"]:
                assert "github.event" not in step.get("run", ""), path


def test_our_own_runners_are_out_of_reach_for_forks() -> None:
    """Whoever can open a pull request must not run code in the lab, or on another machine of ours."""
    guarded = 0
    for path in WORKFLOWS:
        triggers = yaml.safe_load(path.read_text())[True]  # YAML 1.1 reads `on` as true
        for job in jobs(path).values():
            if "self-hosted" in job["runs-on"]:
                guarded += 1
                assert set(triggers) == {"schedule", "workflow_dispatch"}
                [label] = {"tzml-lab", "tzml-yocto"} & set(job["runs-on"])
                wanted = f"vars.{label.upper().replace('-', '_')} == 'yes'"
                for condition in (wanted, "!github.event.repository.fork", "refs/heads/main"):
                    assert condition in job["if"]
    assert guarded == 2
    boards = yaml.safe_load(GITLAB.read_text())["boards"]
    [rule] = boards["rules"]
    for condition in ('"schedule"', '$TZML_LAB == "yes"', '$CI_COMMIT_REF_PROTECTED == "true"'):
        assert condition in rule["if"]


def test_boards_are_given_back_however_a_job_ends() -> None:
    [boards] = [job for path in WORKFLOWS for job in jobs(path).values() if "tzml-lab" in job["runs-on"]]
    release = [step for step in boards["steps"] if "ci/release-places.sh" in step.get("run", "")]
    assert [step["if"] for step in release] == ["always()"]
    assert any("ci/board.sh" in step.get("run", "") for step in boards["steps"])
    gitlab = yaml.safe_load(GITLAB.read_text())["boards"]
    assert any("ci/release-places.sh" in line for line in gitlab["after_script"])


def jobs(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())["jobs"]
    return found
