"""Where engine netcdf4 gives what lay in memory by chance, the values are those of the format."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from tests.storage.opening import ours
from tests.storage.zoo import UNDEFINED, Zoo

pytestmark = pytest.mark.pure


@pytest.mark.parametrize("variable", ["both", "half"])
@pytest.mark.parametrize("name", UNDEFINED)
def test_what_was_never_written_is_filled(zoo: Zoo, name: str, variable: str) -> None:
    path = zoo.path(name)
    with h5py.File(path) as file:
        written = file[variable][...]
    wanted = np.full((12, 4, 3), -1, "i2")
    wanted[tuple(map(slice, written.shape))] = written
    found = ours(path, decode_cf=False)[variable].values
    assert found.shape == wanted.shape
    inside = tuple(map(slice, written.shape))
    assert np.array_equal(found[inside], wanted[inside])
    assert np.array_equal(found, wanted)
    for key in ((8,), (slice(5, 9), -1), (slice(None, None, -2), [3, 0, 1]), (slice(0, 7), 2, 1)):
        lazy = ours(path, decode_cf=False)[variable]
        chosen = lazy[key[0]][:, key[1]] if len(key) > 1 and len(key) < 3 else lazy[key]
        plain = wanted[key[0]][:, key[1]] if len(key) > 1 and len(key) < 3 else wanted[key]
        assert np.array_equal(chosen.values, plain), key
