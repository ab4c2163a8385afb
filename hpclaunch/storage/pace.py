"""Whether reads wait for the storage or only copy from the page cache."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Pace", "pace"]

_LEAST = 0.001
"""Seconds that a read has to wait on average for reading ahead to be worth a thread."""

_NONE = 0.0001
"""Seconds that a read which only copies may seem to wait, as another thread ran meanwhile."""


class Pace:
    """How long reads waited lately: a mean in which the last one weighs a quarter.

    A read's waiting is the time that passed less the time the thread computed. Threads write it
    without a lock; a figure that is lost does no harm.
    """

    def __init__(self) -> None:
        self.waited = 0.0

    def measure(self, read: Callable[[], None]) -> None:
        """Read, and note how long that waited."""
        began, computed = time.perf_counter(), time.thread_time()
        read()
        self.note(time.perf_counter() - began - (time.thread_time() - computed))

    def note(self, waited: float) -> None:
        """A read waited so many seconds."""
        self.waited += (max(waited, 0.0) - self.waited) / 4

    @property
    def copies(self) -> bool:
        """Whether reads do not wait, so that many small ones cost no more than a large one."""
        return self.waited < _NONE

    @property
    def slow(self) -> bool:
        """Whether it is worth reading ahead while others decode."""
        return self.waited > _LEAST


pace = Pace()
"""That of this process."""
