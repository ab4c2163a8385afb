"""What is read equals what numpy says, for any layout and any key; and damage is told."""

from __future__ import annotations

import itertools
import os

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpclaunch.storage.reader import Options, read
from tests.storage.layouts import counting, layout_of

pytestmark = pytest.mark.pure

DTYPES = ["<f4", ">f4", "<i2", ">i8", "u1", "S1", "S3", "<c16", "<f8", ">u2"]
WHERE = "variable /v"
NUMBER = itertools.count()


@st.composite
def files(draw):
    """A shape, a dtype and what h5py is told about the dataset."""
    shape = tuple(draw(st.lists(st.integers(1, 30), max_size=4)))
    while np.prod(shape) > 20_000:
        shape = shape[1:]
    how = {}
    if shape and draw(st.integers(0, 4)):
        how["chunks"] = tuple(draw(st.integers(1, n)) for n in shape)
        if draw(st.booleans()):
            how["compression"] = draw(st.sampled_from([0, 1, 6]))
        how["shuffle"] = draw(st.booleans())
        how["fletcher32"] = draw(st.booleans())
    holes = bool(shape) and draw(st.integers(0, 3)) == 0
    return shape, np.dtype(draw(st.sampled_from(DTYPES))), how, holes


def indices(n):
    """Anything that a dimension of `n` can be asked for."""
    bound = st.one_of(st.none(), st.integers(-n - 2, n + 2))
    step = st.sampled_from([None, 1, 2, 3, 7, -1, -2, -5])
    return st.one_of(
        st.just(slice(None)),
        st.integers(-n, n - 1),
        st.builds(slice, bound, bound, step),
        st.lists(st.integers(-n, n - 1), max_size=2 * n).map(lambda some: np.array(some, int)),
        st.lists(st.integers(0, n - 1), unique=True).map(lambda some: np.array(sorted(some), int)),
    )


options = st.builds(
    Options,
    request=st.sampled_from([1, 300, 4000, 8 << 20]),
    gap=st.sampled_from([0, 50, 5000, 1 << 20]),
    align=st.sampled_from([0, 100, 4096]),
    threads=st.sampled_from([0, 1, 4]),
    cache=st.sampled_from([0, 20_000, 1 << 26]),
)


def outer(data, key):
    """Index each dimension by itself."""
    axis = 0
    for one in key:
        if isinstance(one, slice):
            data = data[(slice(None),) * axis + (one,)]
            axis += 1
        else:
            data = np.take(data, one, axis=axis)
            axis += np.ndim(one)
    return data


def values(shape, dtype):
    numbers = np.random.default_rng(3).integers(0, 120, shape)
    return np.asarray(numbers.astype("S3") if dtype.kind == "S" else numbers, dtype)


def make(folder, shape, dtype, how, holes=False):
    """Write a file of one dataset; return its path and the values."""
    path = str(folder / f"{next(NUMBER)}.h5")
    data = values(shape, dtype)
    with h5py.File(path, "w") as file:
        if holes:
            fill = np.array(7).astype(dtype)[()]
            one = file.create_dataset("v", shape, dtype, fillvalue=fill, **how)
            one[: shape[0] // 3] = data[: shape[0] // 3]
            data[shape[0] // 3 :] = fill
        else:
            file.create_dataset("v", data=data, **how)
    return path, data


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(file=files(), how=options, draw=st.data())
def test_any_key_of_any_layout_gives_what_numpy_gives(tmp_path, file, how, draw):
    path, data = make(tmp_path, *file)
    layout = layout_of(path)
    for _ in range(4):
        key = draw.draw(st.tuples(*map(indices, data.shape)))
        found = read(counting(path), layout, key, where=WHERE, options=how)
        expected = np.asarray(outer(data, key), data.dtype)
        assert found.dtype == expected.dtype and found.shape == expected.shape
        assert found.tobytes() == expected.tobytes()
        assert (found.flags.c_contiguous and found.flags.writeable and found.base is None) or (
            found.base.nbytes == found.nbytes
        )
    os.remove(path)
