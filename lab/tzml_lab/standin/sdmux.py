"""linux-automation's `usbsdmux`, the program itself, on a USB-SD-Mux whose chip is a file.

usage: sdmux.py FILE dut|host|off|get, as labgrid's USBSDMuxDriver calls it

usbsdmux sends SCSI commands that carry I2C messages to a GPIO expander, whose pins switch the card (registers
and pins: NXP's PCA9536 data sheet; SCSI commands: Microchip's "I2C over USB", 50002283A). Here the ioctl that
would send them writes the expander's registers to FILE. This is the only part of the way that is not real.
"""

from __future__ import annotations

import ctypes
import fcntl
from pathlib import Path
from typing import Any

_SG_IO = 0x2285  # <scsi/sg.h>
_OPCODE, _WRITE, _WRITE_READ = 0xCF, 0x23, 0x22
_ADDRESS = 0x41
_CHECK_CONDITION = 2

# The expander's registers. After power-on all pins are inputs, and resistors give the card to the board.
_INPUT, _OUTPUT, _DIRECTION = 0, 1, 3
POWER_ON = bytes([0, 0xFF, 0, 0xFF])
_NO_POWER, _TO_BOARD = 0x02, 0x04


def mode(registers: bytes) -> str:
    """Where the card is: "dut", "host" or "off"."""
    if registers[_DIRECTION] & _TO_BOARD:
        return "dut"
    if registers[_OUTPUT] & _NO_POWER:
        return "off"
    return "dut" if registers[_OUTPUT] & _TO_BOARD else "host"


def transfer(path: Path, command: bytes, data: bytes) -> bytes | None:
    """Execute an I2C message. Returns the byte that was read, or None if no chip answers.

    Args:
        path: the file with the registers
        command: the SCSI command
        data: what goes to the device with it

    """
    registers = bytearray(path.read_bytes())
    if command[0] != _OPCODE or command[2] >> 1 != _ADDRESS:
        return None
    if command[1] == _WRITE:
        register, value = data[0], data[1]
        registers[register] = value
        path.write_bytes(registers)
        return b""
    if command[1] != _WRITE_READ:
        return None
    registers[_INPUT] = registers[_OUTPUT]  # reading a pin gives the level it is driven to
    return bytes([registers[command[7]]])


def ioctl(file: Any, request: int, header: Any) -> int:
    """Replaces fcntl.ioctl for SG_IO. `header` is usbsdmux's sg_io_hdr_t."""
    if request != _SG_IO:
        raise OSError(f"ioctl {request:#x} on a stand-in")
    command = ctypes.string_at(header.cmdp, header.cmd_len)
    answer = transfer(Path(file.name), command, ctypes.string_at(header.dxferp, 2))
    if answer is None:
        header.status = _CHECK_CONDITION
    else:
        ctypes.memmove(header.dxferp, answer, len(answer))
    return 0


def main() -> None:
    """Run usbsdmux."""
    from usbsdmux import __main__ as program
    from usbsdmux.usbsdmux import UsbSdMuxClassic

    fcntl.ioctl = ioctl  # type: ignore[assignment]
    program.autoselect_driver = UsbSdMuxClassic  # otherwise it looks up the model in /sys
    program.main()


if __name__ == "__main__":
    main()
