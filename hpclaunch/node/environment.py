"""The environment variables of Jupyter, its kernels and the cluster.

Standard library only, Python 3.9 or newer: this runs on the compute node.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import Session

__all__ = ["for_children"]

_DROPPED = (
    # Belongs to the login node: the directory does not exist here or is another machine's.
    "XDG_RUNTIME_DIR",
    # Would change who may connect, and where, behind the settings of the session.
    "JUPYTER_TOKEN",
    "JUPYTER_TOKEN_FILE",
    "JUPYTER_PORT",
    "JUPYTER_PORT_RETRIES",
    "JUPYTER_ALLOW_INSECURE_WRITES",
    "JUPYTER_SERVER_ALLOW_UNAUTHENTICATED_ACCESS",
    # Go before every configuration file of Dask.
    "DASK_SCHEDULER_ADDRESS",
)
_LOCKING = "HDF5_USE_FILE_LOCKING"
_DROPPED_PREFIXES = ("DASK_DISTRIBUTED__COMM__", "DASK_DISTRIBUTED__SCHEDULER__PRELOAD")


def for_children(
    session: Session, surroundings: Mapping[str, str], mounts: str = "/proc/self/mounts"
) -> dict[str, str]:
    """Return the environment for Jupyter and the cluster; it holds no secret.

    Where Lustre is mounted on this node without locks, and nobody said otherwise, the HDF5 library
    is told to do without them there (BEST_EFFORT; known since HDF5 1.10.7 and 1.12.1, older ones
    lock as before). Whether it does so by itself was decided when it was built.

    Parameters
    ----------
    session : Session
    surroundings : mapping
        The environment of the job.
    mounts : str
        The mount table, in the form of fstab(5).
    """
    kept = {
        name: value
        for name, value in surroundings.items()
        if name not in _DROPPED and not name.startswith(_DROPPED_PREFIXES)
    }
    kept["JUPYTER_RUNTIME_DIR"] = session.path(Layout.JUPYTER_RUNTIME)
    kept["DASK_CONFIG"] = session.path(Layout.DASK_CONFIG)
    if _LOCKING not in kept and _refuses_locks(mounts):
        kept[_LOCKING] = "BEST_EFFORT"
    return kept


def _refuses_locks(mounts: str) -> bool:
    """Whether Lustre is mounted with neither ``flock`` nor ``localflock`` (mount.lustre(8))."""
    try:
        lines = Path(mounts).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    table = [line.split(" ") for line in lines]
    return any(
        len(words) > 3
        and words[2] == "lustre"
        and not {"flock", "localflock"} & set(words[3].split(","))
        for words in table
    )
