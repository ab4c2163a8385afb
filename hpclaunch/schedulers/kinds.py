"""The batch schedulers by the names they have in a site profile."""

from __future__ import annotations

from hpclaunch.schedulers.base import Scheduler
from hpclaunch.schedulers.slurm import Slurm

__all__ = ["KINDS", "batch_scheduler"]

KINDS = {Slurm.kind: Slurm}


def batch_scheduler(kind: str, options: tuple[str, ...]) -> Scheduler:
    """The scheduler called `kind` in profiles.

    Parameters
    ----------
    kind : str
    options : tuple of str
        What every one of its commands needs.

    Raises
    ------
    ValueError
        If there is none of that name, or the options are not of its kind.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no batch scheduler; there are {', '.join(KINDS)}")
    return KINDS[kind](options)
