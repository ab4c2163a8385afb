"""The environment variables of Jupyter, its kernels and the cluster.

Standard library only, Python 3.9 or newer: this runs on the compute node.
"""

from __future__ import annotations

from collections.abc import Mapping

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
_DROPPED_PREFIXES = ("DASK_DISTRIBUTED__COMM__", "DASK_DISTRIBUTED__SCHEDULER__PRELOAD")


def for_children(session: Session, surroundings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for Jupyter and the cluster; it holds no secret.

    Parameters
    ----------
    session : Session
    surroundings : mapping
        The environment of the job.
    """
    kept = {
        name: value
        for name, value in surroundings.items()
        if name not in _DROPPED and not name.startswith(_DROPPED_PREFIXES)
    }
    kept["JUPYTER_RUNTIME_DIR"] = session.path(Layout.JUPYTER_RUNTIME)
    kept["DASK_CONFIG"] = session.path(Layout.DASK_CONFIG)
    return kept
