"""xarray's own decoding of stored values, done where the values are still in the cache.

xarray decodes after reading: it masks and scales a whole block, one pass through memory for each
step. Those of its steps that look at one value at a time may as well be done chunk by chunk, by the
threads that decode. It is xarray's functions that are called, so the values are its own: for types
of one or two bytes once for everything that can be stored, which then is looked up.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from xarray.coding import common, variables
from xarray.core import indexing

from hpclaunch.storage.direct import Direct, faster
from hpclaunch.storage.joined import JoinedArray
from hpclaunch.storage.lazy import LazyArray

__all__ = ["Elementwise", "decode_early"]

Step = Callable[[np.ndarray], Any]

_AT_ONCE = 1 << 16
"""Values that go through all steps together: what stays in the processor's second cache."""

_MANY = 1 << 17
"""Values of a read from which on a table is worth making."""

_LAZY: Any = getattr(common, "_ElementwiseFunctionArray", None)

_MASK: Any = getattr(variables, "_apply_mask", None)

_FLOAT, _DOUBLE = np.dtype(np.float32).str, np.dtype(np.float64).str

_KNOWN = tuple(
    function
    for function in (
        _MASK,
        getattr(variables, "_scale_offset_decoding", None),
        np.asarray,  # _Unsigned
    )
    if function is not None
)
"""xarray's functions that look at one value at a time."""


def decode_early(variables: Iterable[Any]) -> None:
    """Have the arrays of variables that were just decoded do such steps themselves.

    What they give, and when, stays the same. An array with a step that is not known here is left
    as it is.
    """
    for variable in variables:
        data = variable._data
        steps: list[Step] = []
        while type(data) is _LAZY and isinstance(data.func, functools.partial):
            if data.func.func not in _KNOWN:
                break
            steps.append(data.func)
            data = data.array
        if not steps or type(data) is not indexing.LazilyIndexedArray:
            continue
        stored = data.array
        if isinstance(stored, LazyArray | JoinedArray) and data.shape == stored.shape:
            decoding = Elementwise(steps[::-1], stored.dtype, variable._data.dtype)
            variable._data = indexing.LazilyIndexedArray(stored.decoded(decoding))


def _keywords(step: Any) -> dict[str, Any]:
    """How a step of xarray's is called."""
    return step.keywords if isinstance(step, functools.partial) else {}


class Elementwise:
    """Steps of decoding, each of which looks at one value at a time.

    Parameters
    ----------
    steps : sequence of callable
        Each takes an array and returns one of its shape.
    stored, dtype : numpy.dtype
        Of what goes in and of what comes out.
    """

    def __init__(self, steps: Sequence[Step], stored: np.dtype[Any], dtype: np.dtype[Any]) -> None:
        self.steps = tuple(steps)
        self.stored = stored
        self.dtype = dtype
        self._table: np.ndarray | None = None
        self._by_table: Direct | None = None  # made with the table
        self._by_mask: tuple[Direct | None] | None = None  # made when it is first wanted

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_table": None, "_by_table": None, "_by_mask": None}

    @property
    def direct(self) -> Direct | None:
        """What compiled code can do: a table, or masking alone."""
        if self._table is not None:
            return self._by_table
        if self._by_mask is None:
            self._by_mask = (self._masking(),)
        return self._by_mask[0]

    def _looked_up(self, table: np.ndarray) -> Direct | None:
        """The table, or what gives its values faster."""
        if table.itemsize not in (4, 8) or not table.dtype.isnative:
            return None
        words = {key: one for step in self.steps for key, one in _keywords(step).items()}
        fills = [one for one in words.get("encoded_fill_values", ()) if one == one]
        direct = Direct(self.stored.itemsize, np.ascontiguousarray(table))
        if len(fills) > 1 or not self.stored.isnative:
            return direct
        try:
            scale, offset = (words.get(key) for key in ("scale_factor", "add_offset"))
            factors = (
                1.0 if scale is None else float(scale),
                0.0 if offset is None else float(offset),
            )
            return faster(direct, *factors, int(fills[0]) if fills else None)
        except (TypeError, ValueError, OverflowError):
            return direct

    def _masking(self) -> Direct | None:
        """Where all that happens is that some values become another one, of the same type."""
        step: Any = self.steps[0]
        words = _keywords(step)
        plain = self.stored == self.dtype and self.dtype.str in (_FLOAT, _DOUBLE)
        if len(self.steps) > 1 or not plain or getattr(step, "func", None) is not _MASK:
            return None
        try:
            fills = np.array(list(words["encoded_fill_values"]), self.dtype)
            masked = np.array([words["decoded_fill_value"]], self.dtype)
        except (KeyError, TypeError, ValueError):
            return None
        tried = np.concatenate([fills, -fills, masked, [0.0, -0.0, 1.0, np.inf, -np.inf]])
        with np.errstate(all="ignore"):
            tried = np.concatenate([tried, np.nextafter(tried, 0)]).astype(self.dtype)
        expected, found = np.asarray(self.of(tried)), tried.copy()
        for fill in fills:
            found[tried == fill] = masked[0]
        same = expected.dtype == self.dtype and expected.tobytes() == found.tobytes()
        return Direct(self.dtype.itemsize, None, fills, masked) if same else None

    def of(self, stored: np.ndarray) -> Any:
        """Decoded values."""
        for step in self.steps:
            stored = step(stored)
        return stored

    def prepare(self, count: int) -> None:
        """Make the table if so many values will be decoded that it is worth it."""
        small = self.stored.kind in "iu" and self.stored.itemsize <= 2
        if not small or count < _MANY or self._table is not None:
            return
        numbers = np.arange(1 << 8 * self.stored.itemsize, dtype=self._number)
        try:
            with np.errstate(all="raise"):
                table = self.of(numbers.view(self.stored))
        except FloatingPointError:
            return  # whether to warn depends on the values that are there
        if table.dtype == self.dtype:
            self._by_table = self._looked_up(table)
            self._table = table

    @property
    def _number(self) -> np.dtype[Any]:
        return np.dtype(f"u{self.stored.itemsize}")

    def into(self, stored: np.ndarray, out: np.ndarray) -> None:
        """Decode values to where they are wanted.

        Parameters
        ----------
        stored, out : numpy.ndarray
            Of the same shape.
        """
        if stored.size <= _AT_ONCE or stored.ndim == 0:
            self._few(stored, out)
            return
        if stored.ndim > 1 and stored.flags.c_contiguous and out.flags.c_contiguous:
            stored, out = stored.reshape(-1), out.reshape(-1)
        step = max(1, _AT_ONCE * len(stored) // stored.size)
        for start in range(0, len(stored), step):
            part = slice(start, start + step)
            inner, to = stored[part], out[part]
            if len(inner) == 1:
                self.into(inner[0], to[0])
            else:
                self._few(inner, to)

    def _few(self, stored: np.ndarray, out: np.ndarray) -> None:
        if self._table is None:
            out[...] = self.of(stored)
        else:
            # No number is beyond the table; "wrap" is the mode that needs no second buffer.
            np.take(self._table, stored.view(self._number), out=out, mode="wrap")
