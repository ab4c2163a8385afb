"""Many files in a row as they are opened, and kept so that the next opening compares nothing.

A row is believed as long as every file of it is what it was: size, modification time and inode.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hpclaunch.storage import sidecar
from hpclaunch.storage.join import Joined
from hpclaunch.storage.layout import FileIndex, Group, Identity, Layout, Variable
from hpclaunch.storage.remote import Location, Remote, each

__all__ = ["Row", "keep", "kept", "row_of"]

_ROOM = 64 << 20
"""Bytes of values that a kept row may have."""

_VALUES = "values"
"""Where they are kept, beside the first file's group; a group's path begins with a slash."""


@dataclass(frozen=True, eq=False)
class Row:
    """Files in a row.

    Attributes
    ----------
    paths : tuple of str or Remote
        As they were asked for, in the order of the row.
    identities : tuple of Identity
        By these paths, not the real ones: what a link leads to may be moved.
    group : Group
        Of the first file.
    joined : Joined
    values : dict
        Of variables that go through the row, those whose values the indexes have.
    """

    paths: tuple[Location, ...]
    identities: tuple[Identity, ...]
    group: Group
    joined: Joined
    values: dict[str, np.ndarray]

    @property
    def token(self) -> str:
        """A word that is another one for other files, and for the same files changed."""
        return _digest((self.identities, self.group.path))[:32]


def row_of(
    paths: Sequence[Location], indexes: Sequence[FileIndex], groups: Sequence[Group], joined: Joined
) -> Row:
    """The row that files make of which the indexes are at hand."""
    first = groups[joined.order[0]]
    values = {}
    for name in joined.along:
        parts = [groups[place].variables[name].values for place in joined.order]
        known = [one for one in parts if one is not None]
        if len(known) == len(parts):
            one = first.variables[name]
            row = np.concatenate(known, one.dims.index(joined.dim))
            values[name] = row.astype(one.dtype, copy=False)  # numpy turns big-endian around
    return Row(
        tuple(paths[place] for place in joined.order),
        tuple(_asked(paths[place], indexes[place].identity) for place in joined.order),
        first,
        joined,
        values,
    )


def _asked(place: Location, identity: Identity) -> Identity:
    return identity if isinstance(place, Remote) else replace(identity, path=place)


def keep(row: Row, asked: Sequence[Location], place: str, dim: str | None) -> None:
    """Keep a row for those who ask for the same files in the same way."""
    if sum(one.nbytes for one in row.values.values()) > _ROOM:
        return
    joined = row.joined
    about = {
        "dim": joined.dim,
        "order": joined.order,
        "lengths": joined.lengths,
        "along": sorted(joined.along),
        "files": [[one.path, one.size, one.mtime_ns, one.inode] for one in row.identities],
    }
    values = {name: _bare(name, one) for name, one in row.values.items()}
    groups = {_VALUES: Group(_VALUES, {}, frozenset(), {}, values), row.group.path: row.group}
    sidecar.keep(FileIndex(_name(asked, place, dim), groups, facts={"row": json.dumps(about)}))


def kept(asked: Sequence[Location], place: str, dim: str | None) -> Row | None:
    """The row that was kept, if all its files are what they were.

    Raises
    ------
    FileNotFoundError, PermissionError
        As the system says of a file.
    """
    now = each(_state, asked)
    found = sidecar.kept(_name(asked, place, dim))
    if found is None:
        return None
    about: dict[str, Any] = json.loads(found.facts["row"])
    order = about["order"]
    identities = tuple(Identity(*one) for one in about["files"])
    states = [now[at] for at in order]
    if [(one.size, one.mtime_ns, one.inode) for one in identities] != states:
        return None
    lengths, along = tuple(about["lengths"]), frozenset(about["along"])
    values = {
        name: one.values
        for name, one in found.groups[_VALUES].variables.items()
        if one.values is not None
    }
    return Row(
        tuple(asked[at] for at in order),
        identities,
        found.groups[place],
        Joined(about["dim"], tuple(order), lengths, along),
        values,
    )


def _state(place: Location) -> tuple[int, int, int]:
    """Size, modification time and inode of a file now."""
    if isinstance(place, Remote):
        one = place.identify()
        return one.size, one.mtime_ns, one.inode
    facts = os.stat(place)  # noqa: PTH116
    return facts.st_size, facts.st_mtime_ns, facts.st_ino


def _name(asked: Sequence[Location], place: str, dim: str | None) -> Identity:
    return Identity(f"files in a row {_digest((tuple(asked), place, dim))}", len(asked), 0, 0)


def _digest(what: Any) -> str:
    return hashlib.sha256(repr(what).encode("utf-8", "surrogateescape")).hexdigest()


def _bare(name: str, values: np.ndarray) -> Variable:
    dims = tuple(f"d{axis}" for axis in range(values.ndim))
    layout = Layout("other", values.shape, values.dtype, reason="kept values")
    return Variable(name, dims, values.dtype, {}, {}, layout, values)
