#!/usr/bin/env python3
"""A machine that boots in no time. The stand-in board calls it like QEMU, and it prints what the real image prints.

It is for tests of everything around the machine. Its "disk" must begin as the test's image does; it writes at the
end.
"""

from __future__ import annotations

import re
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

BOOT = """NOTICE:  Booting Trusted Firmware
NOTICE:  BL1: v2.12.1(release):
NOTICE:  BL2: v2.12.1(release):
NOTICE:  BL31: v2.12.1(release):
U-Boot 2025.01-3 (Jan 01 2025)
Starting kernel ...
"""
SECURE = "I/TC: OP-TEE version: 4.10.0 (gcc version 12.2.0) #1\n"
PROMPT = "root@tzml:~# "
MARK = b"\nmark: "


class Machine:
    """Serial port 0 is Linux's, and port 1 is OP-TEE's."""

    def __init__(self, arguments: list[str]) -> None:
        text = " ".join(arguments)
        self.ports = []
        for path in re.findall(r"path=(\S+)", text):
            port = socket.socket(socket.AF_UNIX)
            port.connect(path)
            self.ports.append(port)
        disk = re.search(r"-drive (?!if=pflash)\S*file=(\S+)", text)  # flash has the firmware and a key
        self.slow = " slow " in text
        self.disk = Path(disk[1]) if disk else None

    def say(self, text: str, port: int = 0) -> None:
        self.ports[port].sendall(text.replace("\n", "\r\n").encode())

    def lines(self) -> Iterator[str]:
        """The lines that the user types. They are echoed, as on a terminal."""
        line = bytearray()
        while byte := self.ports[0].recv(1):
            self.ports[0].sendall(byte.replace(b"\n", b"\r\n"))
            if byte == b"\n":
                yield line.decode("utf-8", "replace").replace("\x03", "")
                line.clear()
            else:
                line += byte

    def run(self) -> None:
        self.say(BOOT)
        self.say(SECURE, port=1)
        if self.slow:
            time.sleep(60)
        if not self.disk or not self.disk.read_bytes().startswith(b"rootfs"):
            self.say("initramfs: /dev/vda did not appear within 30 s\n")
            for _ in self.lines():
                pass
            return
        self.say("\nWelcome to Debian GNU/Linux 13 (trixie)!\n\ntzml login: ")
        lines = self.lines()
        while next(lines) != "root":
            self.say("tzml login: ")
        self.say(PROMPT)
        for line in lines:
            self.shell(line)
            self.say(PROMPT)

    def shell(self, line: str) -> None:
        """As much of a shell as labgrid's ShellDriver and the tests need."""
        if found := re.fullmatch(r"MARKER='(\w+)''(\w+)' run (.*)", line):
            marker = found[1] + found[2]
            (command,) = shlex.split(found[3])
            output, status = self.command(command)
            self.say(f"{marker}{output}{marker} {status}\n")
        elif line.startswith("echo "):
            with suppress(ValueError):  # a quote that got lost
                self.say(" ".join(shlex.split(line)[1:]) + "\n")

    def command(self, command: str) -> tuple[str, int]:
        assert self.disk
        content, _, mark = self.disk.read_bytes().partition(MARK)
        if found := re.fullmatch(r"echo (\w+) >/etc/tzml-flashed; sync", command):
            self.disk.write_bytes(content + MARK + found[1].encode())
        elif command.startswith("cat /etc/tzml-flashed"):
            return (mark.decode() + "\n", 0) if mark else ("", 1)
        elif command == "uname -r":
            return "6.12.0-arm64\n", 0
        elif command == "panic":
            self.say(
                "E/TC:0 0 Panic at core/kernel/thread.c:123 <thread_x>\nE/TC:0 0 TEE load address @ 0xe100000\n", 1
            )
            for _ in self.lines():
                pass
        elif command == "hang":
            for _ in self.lines():
                pass
        elif command == "slow":
            next(self.lines())  # until Ctrl-C and what comes after it
        elif command == "cat lines":
            return "".join(f"{n:04} the quick brown fox jumps over the lazy dog\n" for n in range(100)), 0
        return "", 0


if __name__ == "__main__":
    with suppress(ConnectionError, StopIteration):
        Machine(sys.argv[1:]).run()
