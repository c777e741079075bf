"""Chromium, which lays out a page as a reader sees it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

# what Debian, Ubuntu, Fedora and the vendor call it
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str:
    """The path of any Chromium. Raises AssertionError if there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found, (
        f"this host has no {', '.join(NAMES[:-1])} or {NAMES[-1]}: run tools/bootstrap, which installs one"
    )
    return found


def browse(page: Path, profile: Path, *options: str, browser: str = "") -> subprocess.CompletedProcess[str]:
    """Load a page without a window, and let it run for five seconds of its own time.

    Args:
        page: the file
        profile: a folder for what the browser keeps
        options: others, such as `--dump-dom`
        browser: the program; any that there is, if empty

    Raises AssertionError, with what the browser said, if it ends with an error or not at all.

    """
    command = [
        browser or find_browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--allow-file-access-from-files", "--enable-logging=stderr", "--virtual-time-budget=5000",
        f"--user-data-dir={profile}", *options, page.resolve().as_uri(),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120, check=False)
    except subprocess.TimeoutExpired as error:
        said = (error.stderr or b"").decode(errors="replace")
        raise AssertionError(f"{command[0]} did not end within {error.timeout:.0f} s:\n{said}") from error
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stderr}"
    return done
