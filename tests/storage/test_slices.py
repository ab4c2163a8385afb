"""Random selections of every file of the zoo equal those of the whole values in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.storage.opening import groups, ours, reference, theirs
from tests.storage.same import value_differences
from tests.storage.zoo import NAMES, Zoo

pytestmark = pytest.mark.pure

FEW = settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
MANY = settings(FEW, max_examples=200)


@st.composite
def one_indexer(draw: st.DrawFn, size: int) -> Any:
    """An int, a slice with any step, an array of integers or of booleans, for one dimension."""
    kinds = ["slice", "back", "mask", "empty"]
    if size:
        kinds += ["int", "array", "sorted"]
    at = st.integers(-size, size - 1) if size else st.nothing()
    match draw(st.sampled_from(kinds)):
        case "int":
            return draw(at)
        case "array":
            return np.array(draw(st.lists(at, max_size=6)), int)
        case "sorted":
            return np.array(sorted(draw(st.sets(st.integers(0, size - 1), max_size=6))), int)
        case "mask":
            return np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), bool)
        case "empty":
            return slice(size, None)
        case "back":
            edge = st.none() | st.integers(-size - 2, size + 2)
            return slice(draw(edge), draw(edge), draw(st.integers(-4, -1)))
        case _:
            edge = st.none() | st.integers(-size - 2, size + 2)
            return slice(draw(edge), draw(edge), draw(st.none() | st.integers(1, 5)))


@st.composite
def indexers(draw: st.DrawFn, sizes: dict[str, int]) -> dict[str, Any]:
    """Indexers for some of the dimensions, one by one or pointwise."""
    chosen = draw(st.lists(st.sampled_from(sorted(sizes)), unique=True)) if sizes else []
    if chosen and all(sizes[one] for one in chosen) and draw(st.booleans()):
        points = draw(st.integers(0, 5))
        return {
            one: xr.DataArray(
                np.array(
                    draw(
                        st.lists(
                            st.integers(-sizes[one], sizes[one] - 1),
                            min_size=points,
                            max_size=points,
                        )
                    ),
                    int,
                ),
                dims="points",
            )
            for one in chosen
        }
    return {one: draw(one_indexer(sizes[one])) for one in chosen}


def _masks_of_large_dimensions_are_few(sizes: dict[str, int]) -> dict[str, int]:
    return {one: size for one, size in sizes.items() if size <= 4000}


def hold(zoo: Zoo, name: str, data: st.DataObject) -> None:
    """Draw a group, a variable and one or two selections in turn; compare."""
    path = zoo.path(name)
    group = data.draw(st.sampled_from(groups(path)))
    way = data.draw(st.sampled_from(["decoded", "raw"]))
    wanted = reference(path, group, way)
    if isinstance(wanted, Exception) or not wanted.variables:
        return
    how = {"decode_cf": False, "create_default_indexes": False} if way == "raw" else {}
    variable = data.draw(st.sampled_from(sorted(map(str, wanted.variables))))
    with ours(path, group, **how) as opened:
        found = xr.DataArray(opened.variables[variable])
        right = xr.DataArray(wanted.variables[variable].to_base_variable())
        selections = []
        for _ in range(data.draw(st.integers(1, 2))):
            sizes = _masks_of_large_dimensions_are_few(dict(right.sizes))
            chosen = data.draw(indexers(sizes))
            if len(set(right.dims)) < right.ndim:  # xarray takes no arrays for a repeated dimension
                chosen = {dim: one for dim, one in chosen.items() if isinstance(one, slice | int)}
            selections.append(chosen)
            found, right = found.isel(chosen), right.isel(chosen)
            if "points" in right.dims:
                break
        assert found.dims == right.dims
        told = value_differences(found, right)
        assert told == [] or told == _theirs(path, group, how, variable, right, selections)


def _theirs(
    path: Path,
    group: str,
    how: dict[str, Any],
    variable: str,
    right: xr.DataArray,
    selections: list[dict[str, Any]],
) -> list[str]:
    """How engine netcdf4 itself departs from its values in memory, for the same selections.

    No elements of dates cannot be decoded by xarray, none of ragged rows are one for netCDF4.
    """
    with theirs(path, group, **how) as opened:
        found = xr.DataArray(opened.variables[variable])
        for chosen in selections:
            found = found.isel(chosen)
        return value_differences(found, right)


@pytest.mark.parametrize("name", NAMES)
@FEW
@given(data=st.data())
def test_selections(zoo: Zoo, name: str, data: st.DataObject) -> None:
    hold(zoo, name, data)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
@MANY
@given(data=st.data())
def test_very_many_selections(zoo: Zoo, name: str, data: st.DataObject) -> None:
    hold(zoo, name, data)
