"""Run a program on a kernel that has no locks, as it has none for some file systems.

    python without_locks.py HOW PROGRAM ARGUMENT...

HOW is `refused`, if the call `flock` is to fail; `ignored`, if it is to succeed without an effect;
or `posix`, if those locks of the call `fcntl` are to fail that SQLite uses.
"""

import ctypes
import errno
import fcntl
import os
import platform
import struct
import sys

FLOCK = {"x86_64": 73, "aarch64": 32}
FCNTL = {"x86_64": 72, "aarch64": 25}
"""Machine -> the number of the system call."""
SET_NO_NEW_PRIVILEGES, SET_FILTER, FILTER = 38, 22, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER, SECOND_ARGUMENT = 0, 24
"""Where the kernel puts what is loaded."""
REPLACE, ALLOW = 0x00050000, 0x7FFF0000


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def steps(how: str) -> list[tuple[int, int, int, int]]:
    """Return the filter of system calls: operation, what to skip if equal and if not, and value."""
    machine = platform.machine()
    if how == "posix":
        return [
            (LOAD, 0, 0, NUMBER),
            (JUMP_IF_EQUAL, 0, 3, FCNTL[machine]),
            (LOAD, 0, 0, SECOND_ARGUMENT),
            (JUMP_IF_EQUAL, 0, 1, fcntl.F_SETLK),
            (RETURN, 0, 0, REPLACE | errno.ENOLCK),
            (RETURN, 0, 0, ALLOW),
        ]
    number = {"refused": errno.ENOSYS, "ignored": 0}[how]
    return [
        (LOAD, 0, 0, NUMBER),
        (JUMP_IF_EQUAL, 0, 1, FLOCK[machine]),
        (RETURN, 0, 0, REPLACE | number),
        (RETURN, 0, 0, ALLOW),
    ]


def main(how: str, *command: str) -> None:
    """Change the calls for this process and its children, and become the program."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps(how)))
    program = _Program(len(steps(how)), ctypes.cast(code, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(
        SET_FILTER, FILTER, ctypes.byref(program), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "the kernel has no filters of system calls")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
