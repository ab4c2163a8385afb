"""What a check of a site wants to know of a compute node, and what was found: ``facts.json``.

`hpclaunch.node.measure` does it. Standard library only: this is read on the laptop and on the node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

__all__ = ["Answer", "Directory", "NodeFacts", "Sights"]


@dataclass(frozen=True)
class Sights:
    """What shall be looked at.

    Attributes
    ----------
    directories : mapping of str to str
        Key of the profile to a directory, which may begin with ``~/`` and hold variables of the
        job.
    ask : tuple of str
        Argv that asks the scheduler something, by which the node is seen to reach it; empty where
        it need not.
    """

    directories: Mapping[str, str]
    ask: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Sights:
        """Read the fields as JSON has them."""
        directories = {str(key): str(path) for key, path in fields["directories"].items()}
        return cls(directories, tuple(map(str, fields["ask"])))


@dataclass(frozen=True)
class Directory:
    """A directory, as the node sees it.

    Attributes
    ----------
    path : str
        As the job reads it: without ``~`` and variables.
    exists, writable : bool
        Of one that does not exist: whether it could be made.
    """

    path: str
    exists: bool
    writable: bool


@dataclass(frozen=True)
class Answer:
    """What a command said.

    Attributes
    ----------
    exit : int or None
        Its exit status; None where it is not there or gave no answer in time.
    stdout, stderr : str
    """

    exit: Optional[int]
    stdout: str
    stderr: str


@dataclass(frozen=True)
class NodeFacts:
    """What a compute node is like.

    Attributes
    ----------
    nonce : str
        Of the session that measured it.
    host : str
    time : float
        The node's clock, seconds since 1970.
    python, version : str
        The interpreter of the job, and its release.
    packages : mapping of str to str
        Versions by the packages' names.
    interfaces : mapping of str to str
        IPv4 addresses by the names of the interfaces, loopback excepted.
    directories : mapping of str to Directory
        By their keys in the profile.
    scheduler : Answer or None
        What the scheduler's command said; None where it was not asked.
    """

    nonce: str
    host: str
    time: float
    python: str
    version: str
    packages: Mapping[str, str]
    interfaces: Mapping[str, str]
    directories: Mapping[str, Directory]
    scheduler: Optional[Answer] = None

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> NodeFacts:
        """Read what the node has written.

        Raises
        ------
        KeyError, TypeError, ValueError
            If something is missing or wrong.
        """
        asked = fields["scheduler"]
        return cls(
            nonce=str(fields["nonce"]),
            host=str(fields["host"]),
            time=float(fields["time"]),
            python=str(fields["python"]),
            version=str(fields["version"]),
            packages=dict(fields["packages"]),
            interfaces=dict(fields["interfaces"]),
            directories={key: Directory(**one) for key, one in fields["directories"].items()},
            scheduler=None if asked is None else Answer(**asked),
        )
