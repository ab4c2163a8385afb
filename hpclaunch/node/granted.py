"""The nodes that PBS and LSF say a job has.

Standard library only, Python 3.9 or newer: this runs on the compute node.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

__all__ = ["hosts_told"]


def hosts_told(surroundings: Mapping[str, str]) -> Optional[list[str]]:
    """Each node of the job once, in the scheduler's order; None where neither of the two tells.

    Parameters
    ----------
    surroundings : mapping
        The environment of the job.

    Raises
    ------
    OSError
        If the scheduler names a file that cannot be read.
    """
    for name in ("PBS_NODEFILE", "LSB_DJOB_HOSTFILE"):
        path = surroundings.get(name)
        if path:
            with open(path, encoding="utf-8") as file:
                return list(dict.fromkeys(file.read().split()))
    # volclava has no file: "hostA 2 hostB 2 ", names and numbers of slots in turn.
    slots = surroundings.get("LSB_MCPU_HOSTS", "").split()
    return slots[::2] or None
