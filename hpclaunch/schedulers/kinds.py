"""The batch schedulers by the names they have in a site profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hpclaunch.schedulers.base import Scheduler
from hpclaunch.schedulers.lsf import Lsf
from hpclaunch.schedulers.pbs import Pbs
from hpclaunch.schedulers.slurm import Slurm

__all__ = ["KINDS", "batch_scheduler"]

KINDS: dict[str, Callable[..., Scheduler]] = {Slurm.kind: Slurm, Pbs.kind: Pbs, Lsf.kind: Lsf}


def batch_scheduler(
    kind: str, options: tuple[str, ...], quirks: Mapping[str, Any] | None = None
) -> Scheduler:
    """The scheduler called `kind` in profiles.

    Parameters
    ----------
    kind : str
    options : tuple of str
        What every one of its commands needs.
    quirks : mapping, optional
        What is special about it at the site, by the names of its attributes; JSON-able.

    Raises
    ------
    ValueError
        If there is none of that name, or options or quirks are not of its kind.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no batch scheduler; there are {', '.join(KINDS)}")
    special = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in (quirks or {}).items()
    }
    try:
        return KINDS[kind](options, **special)
    except TypeError as error:
        raise ValueError(f"{kind} has no such quirk: {error}") from None
