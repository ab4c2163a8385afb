"""What the user asks of a site for one session or batch job."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import PurePath
from typing import Any, Literal

from hpclaunch.units import Memory, Walltime

__all__ = ["Program", "Request"]


@dataclass(frozen=True)
class Program:
    """The script or notebook of a batch job.

    Attributes
    ----------
    path : str
        Where it lies; on the site it is absolute or begins with ``~/``.
    arguments : tuple of str
        ``sys.argv[1:]`` of the script.
    content : bytes or None
        What is sent along from the laptop; None where it lies on the site.
    """

    path: str
    arguments: tuple[str, ...] = ()
    content: bytes | None = None

    @property
    def name(self) -> str:
        """Its file name."""
        return PurePath(self.path).name


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
    dask: Literal["jobqueue", "mpi", "none"] | None = None
    insecure_dask: bool = False
    workers_per_node: int | None = None
    program: Program | None = None

    def __post_init__(self) -> None:
        least_of = {"nodes": 1, "cores": 1, "gpus": 0, "workers": 0, "workers_per_node": 1}
        for name, least in least_of.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name.replace('_', '-')} must be {least} or more, not {value}")
        for name in ("queue", "account", "environment", "notebook_dir"):
            if getattr(self, name) == "":
                raise ValueError(f"{name.replace('_', '-')} must not be empty")
        if self.dask not in (None, "jobqueue", "mpi", "none"):
            raise ValueError(f"dask must be 'jobqueue', 'mpi' or 'none', not {self.dask!r}")

    def to_dict(self) -> dict[str, Any]:
        """What was asked for, JSON-able and without the program; `from_dict` reads it back."""
        asked = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "program"}
        return {
            name: str(value) if isinstance(value, Memory | Walltime) else value
            for name, value in asked.items()
            if value is not None
        }

    @classmethod
    def from_dict(cls, asked: dict[str, Any], program: Program | None) -> Request:
        """Read `to_dict`, and put the program to it."""
        read: dict[str, Any] = dict(asked)
        if "memory" in read:
            read["memory"] = Memory.parse(read["memory"])
        if "walltime" in read:
            read["walltime"] = Walltime.parse(read["walltime"])
        return cls(**read, program=program)
