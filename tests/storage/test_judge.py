"""The judge itself: every difference that matters is seen, and a wrong engine does not pass."""

from __future__ import annotations

from collections.abc import Callable

import cftime
import numpy as np
import pytest
import xarray as xr

from tests.storage.animals import ANIMALS
from tests.storage.same import array_differences, differences
from tests.storage.zoo import NAMES, Zoo

pytestmark = pytest.mark.pure


def _dataset() -> xr.Dataset:
    """Something of everything."""
    values = np.arange(6, dtype="f4").reshape(2, 3)
    values[0, 0] = np.nan
    dataset = xr.Dataset(
        {
            "a": (("y", "x"), values, {"units": "m", "n": np.int16(3)}, {"zlib": True}),
            "b": (("x",), np.array(["a", "b", "c"], object)),
            "c": (("x",), [cftime.DatetimeNoLeap(2001, 1, day) for day in (1, 2, 3)]),
            "d": (("x",), np.array([0.0, 1.0, 2.0])),
        },
        {"x": [1, 2, 3]},
        {"title": "one", "list": np.array([1, 2], "i4")},
    )
    dataset.encoding = {"unlimited_dims": {"y"}}
    return dataset


def _set(name: str, key: str, value: object) -> Callable[[xr.Dataset], None]:
    return lambda one: one[name].attrs.__setitem__(key, value)


def _poke(name: str, at: int, value: object) -> Callable[[xr.Dataset], None]:
    return lambda one: one[name].values.reshape(-1).__setitem__(at, value)


OTHER_NAN = np.array([0x7FC00001], "u4").view("f4")[0]

CHANGES: dict[str, Callable[[xr.Dataset], object]] = {
    "a_value": _poke("a", 4, 9),
    "the_payload_of_a_nan": _poke("a", 0, OTHER_NAN),
    "the_sign_of_zero": _poke("d", 0, -0.0),
    "a_string": _poke("b", 1, "B"),
    "the_type_of_a_string": _poke("b", 1, b"b"),
    "a_date": _poke("c", 1, cftime.DatetimeNoLeap(2001, 1, 9)),
    "a_calendar": _poke("c", 1, cftime.DatetimeAllLeap(2001, 1, 2)),
    "a_dtype": lambda one: one.__setitem__("d", one["d"].astype("f4")),
    "a_byte_order": lambda one: one.__setitem__("d", one["d"].astype(">f8")),
    "an_attribute": _set("a", "units", "km"),
    "the_type_of_an_attribute": _set("a", "n", np.int32(3)),
    "a_number_for_an_array": _set("a", "n", np.array([3], "i2")),
    "a_python_number": _set("a", "n", 3),
    "an_attribute_more": _set("b", "new", 1),
    "an_attribute_less": lambda one: one["a"].attrs.pop("n"),
    "the_order_of_attributes": lambda one: one["a"].attrs.__setitem__(
        "units", one["a"].attrs.pop("units")
    ),
    "an_attribute_of_the_file": lambda one: one.attrs.__setitem__("title", "two"),
    "the_dtype_of_an_array_attribute": lambda one: one.attrs.__setitem__(
        "list", np.array([1, 2], "i8")
    ),
    "an_encoding": lambda one: one["a"].encoding.__setitem__("zlib", False),
    "unlimited_dimensions": lambda one: one.encoding.__setitem__("unlimited_dims", set()),
    "a_variable_less": lambda one: one.__delitem__("d"),
    "the_order_of_variables": lambda one: one.__setitem__("b", one._variables.pop("b")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(change: str) -> None:
    changed = _dataset()
    CHANGES[change](changed)
    assert differences(changed, _dataset()) != []


def test_coordinates_and_dimensions_are_looked_at() -> None:
    wanted = _dataset()
    assert differences(wanted.set_coords("d"), wanted) != []
    assert differences(wanted.rename(y="z"), wanted) != []
    assert differences(wanted.transpose("x", "y"), wanted) != []
    assert differences(wanted.drop_indexes("x"), wanted) != []
    assert differences(wanted.isel(x=slice(2)), wanted) != []


def test_the_same_is_the_same() -> None:
    assert differences(_dataset(), _dataset()) == []
    assert differences(_dataset().copy(deep=True), _dataset()) == []


def test_ragged_rows_and_records_are_compared_inside() -> None:
    rows = np.empty(2, object)
    rows[:] = [np.arange(2), np.arange(3)]
    other = np.empty(2, object)
    other[:] = [np.arange(2), np.array([0, 1, 9])]
    assert array_differences(rows, rows.copy()) == []
    assert array_differences(other, rows) != []
    records = np.zeros(2, [("a", "i4"), ("b", "f8")])
    wrong = records.copy()
    wrong["b"][1] = 1
    assert array_differences(records, records.copy()) == []
    assert array_differences(wrong, records) != []


def test_animals_are_the_same_every_time(
    zoo: Zoo, tmp_path_factory: pytest.TempPathFactory
) -> None:
    again = Zoo(tmp_path_factory.mktemp("twins"))
    for name in ("kinds_contiguous", "missing_chunks", "packed"):
        one, other = (xr.load_dataset(each.path(name), engine="netcdf4") for each in (zoo, again))
        for each in (one, other):
            each.encoding.pop("source")
            for variable in each.variables.values():
                variable.encoding.pop("source")
        assert differences(one, other) == []


def test_the_zoo_is_large() -> None:
    assert len(ANIMALS) > 100 and len(NAMES) > 100
