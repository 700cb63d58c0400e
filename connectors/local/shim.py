"""Become another program that never outlives the process that started it.

Run as a script, by path and with `-I -S`, so it imports nothing of ours:

    shim.py PARENT_PID DEATH_SIGNAL UID GID -- program argument...

The order matters. Changing the user clears the parent-death signal (prctl(2)), so the user comes first; the parent may
die before prctl is reached, so the parent is compared afterwards.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
EXIT_ORPHANED = 125


def main(argv: list[str]) -> None:
    """Drop to UID:GID where asked (-1 keeps the caller's), tie this process to its parent, and exec the program."""
    parent, death_signal, uid, gid = (int(text) for text in argv[1:5])
    program = argv[6:]
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(EXIT_ORPHANED)
    os.execv(program[0], program)


if __name__ == "__main__":
    main(sys.argv)
