"""Whether this machine can be a make-believe site."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from hpclaunch.errors import HpclaunchError

__all__ = ["check_machine"]


def check_machine() -> None:
    """Return where a make-believe site can be, with sessions on it.

    Raises
    ------
    HpclaunchError
        On systems other than Linux, without JupyterLab or Dask in the Python that runs this, and
        where the machine has no address for sessions to listen on.
    """
    if not sys.platform.startswith("linux"):
        raise HpclaunchError(
            "the make-believe site needs Linux: its jobs are processes as Linux has them",
            hint="run it in WSL on Windows, or in a container or on a Linux machine elsewhere",
        )
    missing = [name for name in ("jupyterlab", "distributed") if find_spec(name) is None]
    if missing:
        raise HpclaunchError(
            f"the Python that runs hpclaunch ({sys.executable}) has no {' and no '.join(missing)}",
            hint="it is the environment of the make-believe site: pip install 'hpclaunch[site]'",
        )
    from hpclaunch.node import address

    if not address.for_login():
        raise HpclaunchError(
            "this machine has no network address but loopback, and sessions listen on one",
            hint="connect it to a network; in a container, give it one",
        )
