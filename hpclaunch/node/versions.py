"""Which packages a Python has, by their metadata alone: nothing of them is imported.

The text of this module is also given to an interpreter of a login node, where hpclaunch may not be
yet: it imports the standard library only, and run by itself prints its answer as JSON.

Standard library only, Python 3.9 or newer.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Iterable
from typing import Any, Optional

__all__ = ["PACKAGES", "found_here", "version_of"]

PACKAGES = (
    *("jupyterlab", "jupyter_server", "jupyter-server-proxy"),
    *("dask", "distributed", "dask-jobqueue", "bokeh"),
    *("mpi4py", "dask-mpi", "xarray", "netCDF4", "h5py"),
)
"""What sessions and batch jobs can use, by the names that packages have."""


def version_of(package: str) -> Optional[str]:
    """The version of a package of this Python; None where it has none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def found_here(packages: Iterable[str] = PACKAGES) -> dict[str, Any]:
    """What this Python is: ``{"python", "version", "packages"}``; lacking packages are left out."""
    versions = {name: version_of(name) for name in packages}
    return {
        "python": sys.executable,
        "version": "{}.{}.{}".format(*sys.version_info[:3]),
        "packages": {name: found for name, found in versions.items() if found is not None},
    }


if __name__ == "__main__":
    print(json.dumps(found_here()))
