"""One selection to be read, and what is to become of the stored values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from hpclaunch.storage.direct import Direct
from hpclaunch.storage.layout import Layout
from hpclaunch.storage.selection import Selection
from hpclaunch.storage.source import Source

__all__ = ["Decoding", "Job", "fill_value"]


class Decoding(Protocol):
    """What becomes of stored values, each by itself.

    Attributes
    ----------
    dtype : numpy.dtype
        Of what comes out.
    direct : Direct or None
        The same for compiled code, where that can do it; to be asked for after `prepare`.
    """

    dtype: np.dtype[Any]

    @property
    def direct(self) -> Direct | None: ...

    def prepare(self, count: int) -> None:
        """Be told how many values will come."""

    def of(self, stored: np.ndarray) -> np.ndarray:
        """What comes out."""

    def into(self, stored: np.ndarray, out: np.ndarray) -> None:
        """Put what comes out where it is wanted; both of the same shape."""


@dataclass(frozen=True, eq=False)
class Job:
    """What is read, and to where.

    Attributes
    ----------
    source : Source
    layout : Layout
        Of the variable.
    selection : Selection
        Of the chunks, or of the whole shape as one chunk.
    out : numpy.ndarray
        Of the selection's full shape, in C order.
    where : str
        The variable, for errors.
    decoding : Decoding or None
        None: the result has the values as they are stored.
    """

    source: Source
    layout: Layout
    selection: Selection
    out: np.ndarray
    where: str
    decoding: Decoding | None = None


def fill_value(layout: Layout, decoding: Decoding | None = None) -> Any:
    """The value of what was never written."""
    stored = np.frombuffer(layout.fill, layout.dtype)[:1] if layout.fill else None
    if stored is None:
        stored = np.zeros(1, layout.dtype)
    return stored[0] if decoding is None else decoding.of(stored)[0]
