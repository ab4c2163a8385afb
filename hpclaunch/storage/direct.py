"""Decoding of single values that compiled code does while it decodes chunks."""

from __future__ import annotations

import itertools
from ctypes import addressof
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hpclaunch.storage.compiled import How, compiled

__all__ = ["Direct", "Linear", "faster"]

_IN_FLOAT, _IN_DOUBLE_TO_FLOAT, _IN_DOUBLE = 1, 2, 3


@dataclass(frozen=True)
class Linear:
    """A number is multiplied, something is added, and one number stands for what is missing.

    Attributes
    ----------
    scale, offset : float
    fill : int or None
    steps : int
        Of `enum linear` in values.h: in which precision.
    signed : bool
        Whether the stored numbers are.
    """

    scale: float
    offset: float
    fill: int | None
    steps: int = _IN_DOUBLE
    signed: bool = True


@dataclass(frozen=True, eq=False)
class Direct:
    """What becomes of a stored value.

    Attributes
    ----------
    width : int
        Bytes of a stored value.
    table : numpy.ndarray or None
        What comes out for each number of one or two bytes that can be stored: 4 or 8 bytes each.
    fills : numpy.ndarray
        float32 or float64, as stored: the values that are masked. Without a table.
    masked : numpy.ndarray
        One value of what comes out: what stands for a value that is masked.
    linear : Linear or None
        What gives the values of the table, and faster.
    """

    width: int
    table: np.ndarray | None = None
    fills: np.ndarray = field(default_factory=lambda: np.empty(0))
    masked: np.ndarray = field(default_factory=lambda: np.empty(1))
    linear: Linear | None = None

    def fields(self, stored: int) -> dict[str, Any]:
        """Of `how_t` in values.h, given the address of memory for one chunk as it is stored."""
        found: dict[str, Any] = {"kind": self.width, "masked": self.masked.ctypes.data}
        if self.table is None:
            return found | {"count": self.fills.size, "fills": self.fills.ctypes.data}
        table, item = self.table.ctypes.data, self.table.itemsize
        found |= {"item": item, "table": table, "stored": stored}
        if (one := self.linear) is not None:
            found |= {"linear": one.steps, "is_signed": one.signed}
            found |= {"scale": one.scale, "offset": one.offset}
            found |= {"fills_number": one.fill is not None, "fill": one.fill or 0}
        return found


def faster(direct: Direct, scale: float, offset: float, fill: int | None) -> Direct:
    """The same with a `Linear` instead of looking up, where that gives the same bits throughout.

    Parameters
    ----------
    direct : Direct
        With a table.
    scale, offset, fill
        What probably gave the table.
    """
    code, table = compiled(), direct.table
    if code is None or table is None or table.dtype.kind != "f":
        return direct
    numbers = np.arange(table.size, dtype=f"u{direct.width}")
    found = np.empty_like(table)
    precisions = [_IN_DOUBLE] if table.itemsize == 8 else [_IN_FLOAT, _IN_DOUBLE_TO_FLOAT]
    for steps, signed in itertools.product(precisions, (True, False)):
        bits = None if fill is None else int(np.int64(fill).astype(numbers.dtype))
        masked = np.zeros(1, table.dtype) if bits is None else table[bits : bits + 1].copy()
        one = replace(direct, masked=masked, linear=Linear(scale, offset, fill, steps, signed))
        how = How(size=numbers.nbytes, **one.fields(numbers.ctypes.data))
        code.numbers(addressof(how), found.ctypes.data)
        if found.tobytes() == table.tobytes():
            return one
    return direct
