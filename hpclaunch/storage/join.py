"""Many files as one: whether and how their indices fit together along one dimension. Pure.

What xarray finds out by opening every file and comparing what it read is found out here of the
indices, in which the coordinates are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpclaunch.storage.layout import Group, Variable

__all__ = ["Apart", "Joined", "join", "same_form"]

_DECODED_BY = (
    *("scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned", "dtype"),
    *("units", "calendar", "valid_range", "valid_min", "valid_max", "_Encoding"),
)
"""Attributes that change what stored numbers mean (CF conventions, sections 2.5, 4.4 and 8.1)."""


class Apart(Exception):
    """Why files are no simple row; xarray's own combining has to say what becomes of them."""


@dataclass(frozen=True, eq=False)
class Joined:
    """Files in a row along one dimension.

    Attributes
    ----------
    dim : str
    order : tuple of int
        The files' places in what was given, in the order of the coordinate.
    lengths : tuple of int
        Steps of `dim` in each file, in that order.
    along : frozenset of str
        The variables that have `dim`; all others are those of the first file.
    """

    dim: str
    order: tuple[int, ...]
    lengths: tuple[int, ...]
    along: frozenset[str]


def join(
    groups: Sequence[Group], dim: str | None = None, names: Sequence[str] | None = None
) -> Joined:
    """Put files in a row.

    Parameters
    ----------
    groups : sequence of Group
        The same group of every file.
    dim : str, optional
        The dimension; by default the one whose coordinate differs. Where it is named files stay in
        the order in which they were given, else they are put in the order of the coordinate.
    names : sequence of str, optional
        What messages call the files; by default they are numbered.

    Raises
    ------
    Apart
        If variables, dimensions, dtypes or the meaning of numbers differ, or coordinates overlap.
    """
    first = groups[0]
    named = dim is not None
    if dim is None:
        dim = _dimension_of_the_row(groups)
    elif dim not in first.dims:
        raise Apart(f"there is no dimension {dim}")
    for number, group in enumerate(groups[1:], 1):
        same_form(first, group, dim, names[number] if names else f"file {number}")
    along = frozenset(name for name, one in first.variables.items() if dim in one.dims)
    if not along:
        raise Apart(f"no variable has dimension {dim}")
    order = list(range(len(groups)))
    if not named:
        order = _in_order(groups, dim)
    return Joined(
        dim,
        tuple(order),
        tuple(groups[place].dims[dim] for place in order),
        along,
    )


def _dimension_of_the_row(groups: Sequence[Group]) -> str:
    """The one dimension whose coordinate is not the same everywhere."""
    first = groups[0]
    different = []
    for name in first.dims:
        known = first.variables.get(name)
        if known is None or known.dims != (name,):
            if any(group.dims.get(name) != first.dims[name] for group in groups):
                raise Apart(f"dimension {name} has no coordinate and its lengths differ")
            continue
        if not all(_equal(known, group.variables.get(name)) for group in groups[1:]):
            different.append(name)
    if len(different) != 1:
        what = f"the coordinates {', '.join(different)} differ" if different else "no one differs"
        raise Apart(f"one coordinate must differ from file to file, and {what}")
    return different[0]


def same_form(first: Group, other: Group, dim: str, file: str) -> None:
    """Raise `Apart` unless a file has the variables of the first, with the same meaning."""
    if list(first.variables) != list(other.variables):
        raise Apart(f"{file} has other variables than the first")
    for name, known in first.variables.items():
        one = other.variables[name]
        if one.dims != known.dims or one.dtype != known.dtype:
            raise Apart(f"variable {name} of {file} has other dimensions or another dtype")
        lengths = [
            (a, b)
            for axis, a, b in zip(one.dims, one.layout.shape, known.layout.shape, strict=True)
            if axis != dim and a != b
        ]
        if lengths:
            raise Apart(f"variable {name} of {file} has another shape")
        _same_meaning(known, one, file)
        if dim in known.dims:
            continue
        if known.values is None and known.dims == (name,):
            raise Apart(f"the index does not have the values of coordinate {name}")
        if known.values is not None and not _equal(known, one):
            raise Apart(f"variable {name} of {file} has other values than that of the first")


def _same_meaning(known: Variable, one: Variable, file: str) -> None:
    for attribute in _DECODED_BY:
        if not _same(known.attrs.get(attribute), one.attrs.get(attribute)):
            raise Apart(f"{known.name}:{attribute} of {file} differs from that of the first")


def _in_order(groups: Sequence[Group], dim: str) -> list[int]:
    """The files in the order of their coordinate, which must run one way over all of them."""
    coordinates = []
    for group in groups:
        values = group.variables[dim].values
        if values is None or not values.size:
            raise Apart(f"the index does not have the values of coordinate {dim}")
        coordinates.append(values)
    falling = bool(coordinates[0][0] > coordinates[0][-1])
    order = sorted(range(len(groups)), key=lambda place: coordinates[place][0], reverse=falling)
    row = np.concatenate([coordinates[place] for place in order])
    steps = row[:-1] > row[1:] if falling else row[:-1] < row[1:]
    if not steps.all():
        raise Apart(f"coordinate {dim} does not run one way over all files")
    return order


def _equal(known: Variable, other: Variable | None) -> bool:
    """Whether two variables have the same values, as far as the indices tell."""
    if other is None or known.values is None or other.values is None:
        return False
    return known.values.dtype == other.values.dtype and np.array_equal(
        known.values, other.values, equal_nan=known.values.dtype.kind in "fc"
    )


def _same(known: Any, other: Any) -> bool:
    """Whether two attributes are the same, NaN included."""
    if known is None or other is None:
        return known is other
    if isinstance(known, str) or isinstance(other, str):
        return bool(known == other) if isinstance(known, str) and isinstance(other, str) else False
    a, b = np.asarray(known), np.asarray(other)
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
