"""hpclaunch: from a laptop to JupyterLab and Dask on a supercomputer, in one command.

The public Python API is flat: what is named in ``__all__`` is imported on first use, so that
``import hpclaunch`` costs nothing on a compute node, where most of it is not needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpclaunch.errors import HpclaunchError
    from hpclaunch.plan import Plan, make_plan
    from hpclaunch.request import Request
    from hpclaunch.sites.catalog import LoadedSite, known_sites
    from hpclaunch.sites.catalog import load as load_site
    from hpclaunch.sites.model import Site
    from hpclaunch.units import Memory, Walltime

__all__ = [
    "HpclaunchError",
    "LoadedSite",
    "Memory",
    "Plan",
    "Request",
    "Site",
    "Walltime",
    "__version__",
    "known_sites",
    "load_site",
    "make_plan",
]

_HOMES = {
    "HpclaunchError": ("hpclaunch.errors", "HpclaunchError"),
    "LoadedSite": ("hpclaunch.sites.catalog", "LoadedSite"),
    "Memory": ("hpclaunch.units", "Memory"),
    "Plan": ("hpclaunch.plan", "Plan"),
    "Request": ("hpclaunch.request", "Request"),
    "Site": ("hpclaunch.sites.model", "Site"),
    "Walltime": ("hpclaunch.units", "Walltime"),
    "known_sites": ("hpclaunch.sites.catalog", "known_sites"),
    "load_site": ("hpclaunch.sites.catalog", "load"),
    "make_plan": ("hpclaunch.plan", "make_plan"),
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    import importlib

    if name == "__version__":
        from importlib.metadata import version

        return version("hpclaunch")
    if name in _HOMES:
        module, attribute = _HOMES[name]
        return getattr(importlib.import_module(module), attribute)
    raise AttributeError(f"module 'hpclaunch' has no attribute {name!r}")
