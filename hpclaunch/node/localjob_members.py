"""Which processes belong to a local job, also those that left its session or lost their parent.

On Linux the supervisor adopts every orphan of the job, so its descendants are the job. Elsewhere
nobody adopts: what left the job's session *and* lost its parent is not found there.

Standard library only, Python 3.9 or newer.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

from hpclaunch.node.processes import descendants

__all__ = ["MARK", "members", "orphans"]

MARK = "HPCLAUNCH_LOCALJOB"
"""The variable that every process of a job inherits: the path of the job's directory."""


def members(session: int) -> list[int]:
    """The job's living processes, asked by its supervisor.

    Parameters
    ----------
    session : int
        The session id of the job, which is the process id of its first process.
    """
    found = set(descendants(os.getpid()))
    if not sys.platform.startswith("linux"):
        found |= _with_descendants(_in_session(session))
    return sorted(pid for pid in found if _lives(pid))


def orphans(path: str, session: int) -> list[int]:
    """The living processes of a job whose supervisor is gone.

    Parameters
    ----------
    path : str
        The job's directory, by which its processes are marked.
    session : int
        The session id of the job; used only where the marks cannot be read.
    """
    if sys.platform.startswith("linux"):
        found = _with_descendants(_marked(path))
    else:
        found = _with_descendants(_in_session(session))
    return sorted(pid for pid in found if pid != os.getpid() and _lives(pid))


def _with_descendants(roots: set[int]) -> set[int]:
    return roots.union(*(descendants(root) for root in roots))


def _marked(path: str) -> set[int]:
    """Processes that began with the job's mark in their environment (Linux)."""
    entry = "{}={}".format(MARK, path).encode("utf-8", "surrogateescape")
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        # Another user's, or it ended while we looked.
        with contextlib.suppress(OSError), open("/proc/{}/environ".format(name), "rb") as file:
            if entry in file.read().split(b"\0"):
                found.add(int(name))
    return found


def _in_session(session: int) -> set[int]:
    listing = subprocess.run(["ps", "-A", "-o", "pid="], stdout=subprocess.PIPE, check=True)
    found = set()
    for word in listing.stdout.split():
        with contextlib.suppress(OSError):  # it ended while we looked
            if os.getsid(int(word)) == session:
                found.add(int(word))
    return found


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
