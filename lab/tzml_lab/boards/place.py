"""Reserve and lock a board of a shared lab, and always switch it off and give it back."""

from __future__ import annotations

import getpass
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping

from tzml.errors import TzmlError
from tzml_lab.time_limits import scaled

_CLIENT = (sys.executable, "-m", "labgrid.remote.client")


class Place:
    """A place that this process holds until `give_back()`, or until the process ends for any reason.

    A guard process gives it back. It waits until its input pipe closes, which the kernel does when we end.

    Args:
        name: the place, or a reservation's token after a plus
        token: the reservation, if it was reserved here

    """

    def __init__(self, name: str, token: str = "") -> None:
        self.name = name
        command = [sys.executable, "-m", "tzml_lab.boards.place", name, token]
        self._guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        try:
            _client("-p", name, "acquire")
        except TzmlError:
            self.give_back()
            raise

    def give_back(self) -> None:
        """Switch off and release."""
        assert self._guard.stdin
        self._guard.stdin.close()
        try:
            self._guard.wait(timeout=scaled(90))
        except subprocess.TimeoutExpired:
            self._guard.kill()


def hold(tags: Mapping[str, str], wait: float) -> Place | None:
    """Take the place LG_PLACE, or one with these tags, and set LG_PLACE to its name.

    Returns None if the user already holds the place LG_PLACE: then it is not given back, either.

    Args:
        tags: what the place must have; all of them
        wait: seconds until someone who has it gives it back

    Raises TzmlError.

    """
    name = os.environ.get("LG_PLACE", "")
    if name:
        owner = _owner(name)
        if owner.partition("/")[2] == os.environ.get("LG_USERNAME", getpass.getuser()):
            return None
        if owner:
            raise TzmlError(
                f"the place {name} is {owner}'s", "ask them, or let LG_PLACE unset to get any that fits"
            )
        return Place(name)
    found = [f"{key}={value}" for key, value in tags.items()]
    token = _client("reserve", "--shell", *found).strip().removeprefix("export LG_TOKEN=")
    try:
        _client("wait", token, seconds=wait)
        place = Place(f"+{token}", token)
    except TzmlError as error:
        _quietly("cancel-reservation", token)
        raise TzmlError(
            f"no place with {', '.join(found)}: {error}", "labgrid-client who; labgrid-client places"
        ) from error
    os.environ["LG_PLACE"] = place.name = _name_of(token)
    return place


def _client(*arguments: str, seconds: float = 30) -> str:
    """Run labgrid-client and return its output. Raises TzmlError."""
    try:
        done = subprocess.run(
            [*_CLIENT, *arguments], capture_output=True, text=True, check=False, timeout=scaled(seconds)
        )
    except subprocess.TimeoutExpired as error:
        raise TzmlError(f"labgrid-client {' '.join(arguments)} took more than {error.timeout:.0f} s") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise TzmlError(f"labgrid-client {' '.join(arguments)}: {said[-1] if said else 'no message'}")
    return done.stdout


def _quietly(*arguments: str) -> None:
    try:
        _client(*arguments)
    except TzmlError as error:
        print(f"tzml lab: {error}", file=sys.stderr)


def _owner(name: str) -> str:
    """The host/user that holds the place, or an empty string."""
    found = re.search(r"^\s*acquired: (\S+/\S+)", _client("-p", name, "show"), re.MULTILINE)
    return found[1] if found else ""


def _name_of(token: str) -> str:
    found = re.search(r"^Place '(.+)':", _client("-p", f"+{token}", "show"), re.MULTILINE)
    if not found:
        raise TzmlError(f"the reservation {token} has no place")
    return found[1]


def main() -> None:
    """The guard process: wait for the parent's end, then give the place back."""
    name, token = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.read()
    try:
        _client("-p", name, "power", "off")
    except TzmlError as error:
        print(f"tzml lab: the board may be on still: {error}", file=sys.stderr)
    _quietly("-p", name, "release")
    if token:
        _quietly("cancel-reservation", token)


if __name__ == "__main__":
    main()
