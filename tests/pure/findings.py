"""What a survey of the small SLURM site of `tests.pure.sites` finds."""

from __future__ import annotations

from typing import Any

from hpclaunch.survey.findings import FoundNodes, FoundQueue, Survey
from hpclaunch.units import Memory, Walltime


def survey(**fields: Any) -> Survey:
    """A survey; `fields` change it."""
    told: dict[str, Any] = {
        "host": "login1",
        "user": "alice",
        "home": "/home/alice",
        "taken_on": "2026-11-25",
        "scheduler": "slurm",
        "release": "slurm-wlm 22.05.8",
        "queues": (queue(),),
        "accounts": ("proj1", "proj2"),
        "default_account": "proj1",
        "account_required": False,
    }
    return Survey(**{**told, **fields})


def queue(name: str = "compute", **fields: Any) -> FoundQueue:
    """A queue; `fields` change it."""
    told: dict[str, Any] = {
        "default": True,
        "max_walltime": Walltime.parse("8:00:00"),
        "nodes": (FoundNodes(100, 128, Memory.parse("256 GB")), FoundNodes(4, 64)),
    }
    return FoundQueue(name, **{**told, **fields})
