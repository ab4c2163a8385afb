"""Decoded chunks that a later read will probably want: one store for the process.

Only chunks of which a read used a part go in. It is bounded in bytes; what was used longest ago
goes first. Two threads that want the same chunk at once decode it once.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from hpclaunch.storage.layout import Identity

__all__ = ["ChunkCache", "Flight", "cache"]

Chunk = tuple[Identity, int]
"""A chunk's name: its file, and where it starts there."""


class Flight:
    """A chunk that some thread is decoding now."""

    def __init__(self) -> None:
        self.landed = threading.Event()
        self.data: np.ndarray | None = None


class ChunkCache:
    """Chunks by name, each in its own shape and never written to."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.held: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self.flying: dict[tuple[int, int], Flight] = {}
        self.bytes = 0
        self.files: dict[Identity, int] = {}

    def file(self, identity: Identity) -> int:
        """A short name for a file in one state."""
        with self.lock:
            return self.files.setdefault(identity, len(self.files))

    def take(
        self, file: int, offsets: Sequence[int], claim: bool = True
    ) -> tuple[list[tuple[int, np.ndarray]], list[int], list[tuple[int, Flight]]]:
        """Ask for chunks of a file.

        Returns
        -------
        ready : list of (position in `offsets`, chunk)
        mine : list of int
            Positions of those that the caller now has to decode and give to `land`; none without
            `claim`.
        others : list of (position, Flight)
            Those that another thread is decoding.
        """
        ready, mine, others = [], [], []
        with self.lock:
            for position, offset in enumerate(offsets):
                key = (file, offset)
                found = self.held.get(key)
                if found is not None:
                    self.held.move_to_end(key)
                    ready.append((position, found))
                elif (flight := self.flying.get(key)) is not None:
                    others.append((position, flight))
                elif claim:
                    self.flying[key] = Flight()
                    mine.append(position)
        return ready, mine, others

    def land(self, file: int, offset: int, data: np.ndarray | None, budget: int) -> None:
        """Give a chunk that was decoded, or None where it could not be."""
        key = (file, offset)
        with self.lock:
            flight = self.flying.pop(key, None)
            if data is not None and data.nbytes <= budget and key not in self.held:
                self.held[key] = data
                self.bytes += data.nbytes
            while self.bytes > budget and self.held:
                self.bytes -= self.held.popitem(last=False)[1].nbytes
        if flight is not None:
            flight.data = data
            flight.landed.set()

    def clear(self) -> None:
        """Forget all that is held."""
        with self.lock:
            self.held.clear()
            self.bytes = 0

    def after_fork(self, *_: Any) -> None:
        """In a child: no thread that was decoding is there."""
        self.lock = threading.Lock()
        self.flying = {}


cache = ChunkCache()
"""That of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=cache.after_fork)
