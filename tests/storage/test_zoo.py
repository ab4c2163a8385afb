"""The engine tells of every file of the zoo what engine ``netcdf4`` tells, bit for bit."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Container
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from tests.storage.animals import ANIMALS
from tests.storage.opening import ENGINE, WAYS, groups, ours, reference, theirs
from tests.storage.same import differences, outcome
from tests.storage.zoo import CLASSIC, FRAGILE, IRIS, NAMES, Zoo

pytestmark = pytest.mark.pure

LARGEST = 600_000
"""Files of more bytes are large; some tests take them in larger pieces."""

TREES = (
    *("attributes", "deep_and_wide", "links", "names", "nested_groups", "nothing_at_all", "scales"),
    *("phony_dimensions", "scales_in_groups", "shadowed_dimensions", "unlimited", "virtual"),
)
"""Files with groups, and some without."""


def _of(*modules: str) -> set[str]:
    """The animals of some modules."""
    return {
        name
        for name in NAMES
        if name in ANIMALS and ANIMALS[name].__module__.rpartition(".")[2] in modules
    }


def _first(telling: set[str], without: Container[str] = ()) -> list[object]:
    """All files, of which only some are taken where time is short."""
    return [
        pytest.param(name, marks=() if name in telling else pytest.mark.long)
        for name in NAMES
        if name not in without
    ]


def _thorough() -> list[object]:
    """Every file in every way; where a way cannot matter much, only among the long tests."""
    telling = {*_of("conventions"), *TREES, "characters", "strings", "ranks", "enumerations"}
    return [
        pytest.param(
            *(name, way),
            id=f"{name}-{way}",
            marks=[] if way in ("decoded", "raw") or name in telling else [pytest.mark.long],
        )
        for name in NAMES
        for way in WAYS
    ]


def same_outcome(found: object, wanted: object) -> list[str]:
    """How two outcomes differ: datasets in everything, exceptions in their class."""
    if isinstance(wanted, Exception) or isinstance(found, Exception):
        if type(found) is type(wanted):
            return []
        return [f"{found!r:.300}, not {wanted!r:.300}"]
    assert isinstance(found, xr.Dataset) and isinstance(wanted, xr.Dataset)
    return differences(found, wanted)


@pytest.mark.parametrize(("name", "way"), _thorough())
def test_a_file_opened_and_read_whole(zoo: Zoo, name: str, way: str) -> None:
    path = zoo.path(name)
    for group in groups(path):
        found = outcome(lambda group=group: ours(path, group, **WAYS[way]))
        wanted = outcome(lambda group=group: theirs(path, group, **WAYS[way]))
        assert same_outcome(found, wanted) == [], f"group {group}"


@pytest.mark.parametrize("name", CLASSIC)
def test_a_classic_file_goes_to_its_own_engine(zoo: Zoo, name: str) -> None:
    path = zoo.path(name)
    for how in ({}, {"decode_cf": False}):
        found, wanted = ours(path, **how), theirs(path, **how)
        assert differences(found, wanted, encoding=False) == []


@pytest.mark.parametrize("name", TREES)
def test_all_groups_as_a_tree(zoo: Zoo, name: str) -> None:
    path = zoo.path(name)
    found = outcome(lambda: xr.open_datatree(path, engine=ENGINE))
    wanted = outcome(lambda: xr.open_datatree(path, engine="netcdf4"))
    if isinstance(wanted, Exception):
        assert type(found) is type(wanted), found
        return
    assert isinstance(found, xr.DataTree), found
    assert [one.path for one in found.subtree] == [one.path for one in wanted.subtree]
    for one in wanted.subtree:
        assert differences(found[one.path].to_dataset(), one.to_dataset()) == [], one.path


def test_a_tree_from_an_inner_group(zoo: Zoo) -> None:
    path = zoo.path("nested_groups")
    found, wanted = (xr.open_datatree(path, engine=one, group="a") for one in (ENGINE, "netcdf4"))
    assert [one.path for one in found.subtree] == [one.path for one in wanted.subtree]
    for one in wanted.subtree:
        assert differences(found[one.path].to_dataset(), one.to_dataset()) == []


@pytest.mark.parametrize("group", ["a", "/a", "a/inner", "/a/inner/", "", "/", None])
def test_a_group_by_every_spelling(zoo: Zoo, group: str | None) -> None:
    path = zoo.path("nested_groups")
    found = xr.open_dataset(path, engine=ENGINE, group=group)
    wanted = xr.open_dataset(path, engine="netcdf4", group=group)
    assert differences(found, wanted) == []


@pytest.mark.parametrize("group", ["b/none", "none", "x"])
def test_a_group_that_is_not_there(zoo: Zoo, group: str) -> None:
    path = zoo.path("nested_groups")
    found = outcome(lambda: ours(path, group))
    assert isinstance(found, OSError) and type(found) is type(
        outcome(lambda: theirs(path, group))
    ), found


@pytest.mark.parametrize("name", ["model_output", "calendars", "characters", "links"])
def test_variables_left_out(zoo: Zoo, name: str) -> None:
    path = zoo.path(name)
    every = list(theirs(path).variables)
    for dropped in (every[0], every[::2], ["no such variable"], every):
        found, wanted = (one(path, drop_variables=dropped) for one in (ours, theirs))
        assert differences(found, wanted) == []


@pytest.mark.parametrize("name", _first({*IRIS, *_of("conventions", "kinds")}, without=FRAGILE))
def test_nothing_is_read_when_a_file_is_opened(zoo: Zoo, name: str) -> None:
    """What lies in memory with engine netcdf4 may do so here, and what is small, nothing else."""
    path = zoo.path(name)
    for group in groups(path):
        wanted = outcome(lambda group=group: theirs(path, group))
        if isinstance(wanted, Exception):
            continue
        found = ours(path, group)
        loaded = {name for name, one in found.variables.items() if one._in_memory}
        right = {name for name, one in wanted.variables.items() if one._in_memory}
        assert {one for one in loaded - right if wanted[one].nbytes > 4096} == set()


@pytest.mark.parametrize("name", _first({*IRIS, *_of("chunks")}, without=FRAGILE))
def test_in_chunks_of_the_file(zoo: Zoo, name: str) -> None:
    path = zoo.path(name)
    for group in groups(path):
        wanted = outcome(lambda group=group: theirs(path, group, chunks={}))
        if isinstance(wanted, Exception):
            continue
        found = ours(path, group, chunks={})
        assert {key: one.chunks for key, one in found.variables.items()} == {
            key: one.chunks for key, one in wanted.variables.items()
        }
        if path.stat().st_size < LARGEST and not name.startswith("many_chunks"):
            assert differences(found, wanted) == []


@pytest.mark.parametrize("name", _first(_of("chunks", "kinds", "plain")))
def test_in_misaligned_chunks_after_a_pickle(zoo: Zoo, name: str) -> None:
    path = zoo.path(name)
    for group in groups(path):
        wanted = reference(path, group, "raw")
        if isinstance(wanted, Exception):
            continue
        chunks = {dim: max(2, size // 3 + 1) for dim, size in wanted.sizes.items()}
        found = ours(path, group, decode_cf=False).drop_vars(_unreadable(path, group, wanted))
        again = pickle.loads(pickle.dumps(found.chunk(chunks)))
        assert differences(again.compute(scheduler="threads"), wanted) == []


def _unreadable(path: Path, group: str, wanted: xr.Dataset) -> list[str]:
    return [one for one in theirs(path, group, decode_cf=False).variables if one not in wanted]


@pytest.mark.parametrize("name", _first(_of("chunks", "texts") | set(TREES)))
def test_after_pickle_and_copy(zoo: Zoo, name: str) -> None:
    path = zoo.path(name)
    for group in groups(path):
        wanted = outcome(lambda group=group: theirs(path, group))
        if isinstance(wanted, Exception):
            continue
        found = ours(path, group)
        data = pickle.dumps(found)
        for again in (copy.copy(found), copy.deepcopy(ours(path, group)), pickle.loads(data)):
            assert _values(differences(again, wanted)) == []
        found.close()
        assert _values(differences(pickle.loads(data), wanted)) == []


def _values(told: list[str]) -> list[str]:
    """Without declared dtypes: ragged rows declare another one once they are in memory.

    The file is not opened once more for that, since the netCDF library may crash of opening a file
    with types of its own while it closes it.
    """
    return [one for one in told if ": declared dtype" not in one]


def _written() -> list[object]:
    telling = _of("conventions", "texts", "chunks") | {"attributes", "scales", "names"}
    return [
        pytest.param(
            *(name, how),
            id=f"{name}-{how}",
            marks=() if how == "decoded" and name in telling else pytest.mark.long,
        )
        for name in NAMES
        for how in ("decoded", "raw")
    ]


@pytest.mark.parametrize(("name", "how"), _written())
def test_what_was_opened_can_be_written(zoo: Zoo, name: str, how: str, tmp_path: Path) -> None:
    """With its encodings: the file written equals the one that engine netcdf4 makes of it."""
    path = zoo.path(name)
    for group in groups(path):
        made, targets = [], (tmp_path / "ours.nc", tmp_path / "theirs.nc")
        for opened, target in zip((ours, theirs), targets, strict=True):
            target.unlink(missing_ok=True)
            made.append(_made(opened, path, group, how, target))
        assert type(made[0]) is type(made[1]), f"{made[0]!r}, not {made[1]!r}"
        if made[1] is None:
            found, wanted = (theirs(one, decode_cf=False) for one in targets)
            assert _without_source(differences(found, wanted)) == []


def _made(opened: Any, path: Path, group: str, how: str, target: Path) -> Any:
    return outcome(lambda: _write(opened(path, group, **WAYS[how]), target))


def _write(dataset: xr.Dataset, target: Path) -> None:
    dataset.to_netcdf(target, engine="netcdf4")


def _without_source(told: list[str]) -> list[str]:
    return [one for one in told if "encoding: 'source'" not in one]
