"""Runs on the target, in its shell's terminal: the other end of tzml_lab.consoles.file_transfer, which starts it.

files.py receive FOLDER LINES   requests are "<number> <CRC-32> <base64>", the answer is "= <number> ok";
                                when "end" has come, the archive is unpacked in FOLDER
files.py send PATH              the first answer is "= lines <how many>", then requests are "<number>", and
                                answers "= <number> <CRC-32> <base64>", until "end"

What is damaged on its way gets no answer, or a damaged one: then it is asked for again. "! <reason>" is the end.
"""

import base64
import io
import sys
import tarfile
import zlib
from pathlib import Path

# bytes of the archive in a line: a terminal takes no line of more than 4095 characters
SIZE = 2100


def request() -> list[str]:
    """The words of the next line; none if it is no text any more."""
    try:
        return input().split()
    except UnicodeDecodeError:
        return []


def receive(folder: str, lines: str) -> None:
    """Take an archive, and unpack it."""
    parts: list[bytes] = []
    while (words := request()) != ["end"]:
        try:
            number, check, data = int(words[0]), int(words[1], 16), base64.b64decode(words[2])
        except (ValueError, IndexError):
            continue
        if zlib.crc32(data) != check or number > len(parts):
            continue
        if number == len(parts):  # otherwise our answer was lost
            parts.append(data)
        print(f"= {number} ok", flush=True)
    if len(parts) != int(lines):
        raise OSError(f"{len(parts)} lines of {lines} came")
    with tarfile.open(fileobj=io.BytesIO(b"".join(parts))) as archive:
        archive.extractall(folder, filter="data")


def send(path: str) -> None:
    """Pack a file or folder, and give it away."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        archive.add(path, arcname=Path(path).name)
    data = packed.getvalue()
    parts = [data[start : start + SIZE] for start in range(0, len(data), SIZE)]
    print(f"= lines {len(parts)}", flush=True)
    while (words := request()) != ["end"]:
        if len(words) == 1 and words[0].isdecimal() and int(words[0]) < len(parts):
            part = parts[int(words[0])]
            print(f"= {words[0]} {zlib.crc32(part):08x} {base64.b64encode(part).decode()}", flush=True)


def main(action: str, *arguments: str) -> None:
    """See above."""
    print("= ready", flush=True)
    try:
        receive(*arguments) if action == "receive" else send(*arguments)
    except OSError as error:
        print(f"! {error}", flush=True)
        sys.exit(1)
    print("= done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
