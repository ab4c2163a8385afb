"""Indexes of files as the groups and variables of one Zarr archive."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpclaunch.errors import StorageError
from hpclaunch.storage.chunkrefs import Refusal, Region, referenced
from hpclaunch.storage.join import Apart, join, same_form
from hpclaunch.storage.layout import FileIndex, Group, Variable
from hpclaunch.storage.manifests import Part
from hpclaunch.storage.remote import Location
from hpclaunch.storage.zarrarrays import Copied

Read = Callable[[str, int, Region], np.ndarray]

__all__ = ["in_a_row", "parts_of"]

SMALL = 1 << 20
"""Bytes of a variable's values that are copied where its chunks cannot stay where they are, and
where the index has them."""


def in_a_row(
    indexes: Sequence[FileIndex], dim: str | None
) -> tuple[tuple[FileIndex, ...], str | None]:
    """Files in their order, and the dimension along which they follow each other.

    Parameters
    ----------
    indexes : sequence of FileIndex
    dim : str, optional
        By default the one whose coordinate differs, in any group.

    Raises
    ------
    StorageError
        If the files do not continue each other.
    """
    if len(indexes) == 1:
        return tuple(indexes), None
    names = [one.identity.path for one in indexes]
    first = indexes[0]
    for one in indexes[1:]:
        if one.groups.keys() != first.groups.keys():
            raise _apart(f"{one.identity.path} has other groups than {first.identity.path}")
    whys = []
    for path, group in first.groups.items():
        if not group.variables:
            continue
        try:
            joined = join([one.groups[path] for one in indexes], dim, names)
        except Apart as why:
            whys.append(str(why))
            continue
        return tuple(indexes[place] for place in joined.order), joined.dim
    raise _apart(whys[0] if whys else "they have no variables")


def parts_of(
    indexes: Sequence[FileIndex], places: Sequence[Location], dim: str | None, copy: int = SMALL
) -> tuple[Part, ...]:
    """All groups of files in a row.

    Parameters
    ----------
    indexes, dim
        As `in_a_row` gives them.
    places : sequence of str or Remote
        Where each of these files is read.
    copy : int
        Bytes of a variable up to which it is copied if the index has its values.

    Raises
    ------
    StorageError
        If something in them cannot be told by Zarr and is too large to be copied.
    """
    return tuple(_Groups(indexes, places, path, dim, copy).part() for path in indexes[0].groups)


def _apart(why: str) -> StorageError:
    return StorageError(
        f"the files do not continue each other: {why}",
        hint="virtualize files of one variable set and grid; --concat-dim names the dimension",
    )


@dataclass(frozen=True, eq=False)
class _Groups:
    """The same group of files in a row."""

    indexes: Sequence[FileIndex]
    places: Sequence[Location]
    path: str
    dim: str | None
    copy: int

    @property
    def groups(self) -> list[Group]:
        return [one.groups[self.path] for one in self.indexes]

    def part(self) -> Part:
        first = self.groups[0]
        self._check()
        read = self._reader()
        found = [self._variable(name, read) for name in first.variables]
        return Part(
            self.path,
            first.attrs,
            tuple(one for one in found if not isinstance(one, Copied)),
            tuple(one for one in found if isinstance(one, Copied)),
            read,
        )

    def _check(self) -> None:
        first, *others = self.groups
        for index, other in zip(self.indexes[1:], others, strict=True):
            try:
                same_form(first, other, self.dim or "", index.identity.path)
            except Apart as why:
                raise _apart(str(why)) from why

    def _reader(self) -> Read:
        from hpclaunch.storage.engine import HpclaunchDataStore

        @functools.lru_cache(maxsize=8)
        def opened(place: int) -> dict[str, Any]:
            index = self.indexes[place]
            group = index.groups[self.path]
            store = HpclaunchDataStore(self.places[place], index.identity, group)
            return dict(store.get_variables())

        def read(name: str, place: int, region: Region) -> np.ndarray:
            return np.asarray(opened(place)[name][region].values)

        return read

    def _variable(self, name: str, read: Read) -> Any:
        """A variable with its places, or with its values."""
        one = self.groups[0].variables[name]
        along = self.dim is not None and self.dim in one.dims
        every = [group.variables[name] for group in (self.groups if along else self.groups[:1])]
        axis = one.dims.index(self.dim) if along and self.dim else 0
        known = [each.values for each in every if each.values is not None]
        nbytes = sum(math.prod(each.shape) * each.dtype.itemsize for each in every)
        if len(known) == len(every) and nbytes <= self.copy:
            return self._copied(one, known, axis)
        found = referenced(every, axis)
        if not isinstance(found, Refusal):
            return found
        if len(known) < len(every):
            if nbytes > SMALL:
                raise self._refused(name, found)
            whole = (slice(None),) * len(one.dims)
            known = [self._read(name, place, whole, read) for place in range(len(every))]
        return self._copied(one, known, axis)

    def _read(self, name: str, place: int, region: Region, read: Read) -> np.ndarray:
        try:
            return read(name, place, region)
        except (OSError, RuntimeError) as error:  # of the HDF5 and NetCDF libraries
            raise self._refused(name, Refusal(place, f"it cannot be read: {error}")) from error

    def _copied(self, one: Variable, values: list[np.ndarray], axis: int) -> Copied:
        whole = np.concatenate(values, axis) if len(values) > 1 else np.asarray(values[0])
        if whole.dtype.names is not None or whole.dtype.kind == "V":
            raise self._refused(one.name, Refusal(0, "its type is compound or opaque"))
        if whole.dtype.kind == "O" and not all(isinstance(each, str) for each in whole.flat):
            raise self._refused(one.name, Refusal(0, "its values are of variable length"))
        return Copied(one.name, one.dims, one.attrs, whole)

    def _refused(self, name: str, why: Refusal) -> StorageError:
        file = self.indexes[why.file].identity.path
        return StorageError(
            f"{file}, variable {self.path.rstrip('/')}/{name}: {why.why}",
            hint=why.hint
            or "`hpclaunch data rechunk` writes a file anew with deflate; then virtualize that",
        )
