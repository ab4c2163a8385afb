"""What the user asks of a site for one session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hpclaunch.units import Memory, Walltime

__all__ = ["Request"]


@dataclass(frozen=True)
class Request:
    """What the user asked for; None means: as the profile says.

    Raises
    ------
    ValueError
        If a number is too small, or a text is empty.
    """

    queue: str | None = None
    account: str | None = None
    walltime: Walltime | None = None
    nodes: int | None = None
    cores: int | None = None
    memory: Memory | None = None
    gpus: int | None = None
    environment: str | None = None
    notebook_dir: str | None = None
    workers: int | None = None
    dask: Literal["jobqueue", "none"] | None = None
    insecure_dask: bool = False

    def __post_init__(self) -> None:
        for name, least in (("nodes", 1), ("cores", 1), ("gpus", 0), ("workers", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be {least} or more, not {value}")
        for name in ("queue", "account", "environment", "notebook_dir"):
            if getattr(self, name) == "":
                raise ValueError(f"{name.replace('_', '-')} must not be empty")
        if self.dask not in (None, "jobqueue", "none"):
            raise ValueError(f"dask must be 'jobqueue' or 'none', not {self.dask!r}")
