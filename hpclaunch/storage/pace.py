"""Whether reads wait for the storage or only copy from the page cache."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Pace", "pace"]

_LEAST = 0.001
"""Seconds that a read has to wait on average for reading ahead to be worth a thread."""


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
        waited = time.perf_counter() - began - (time.thread_time() - computed)
        self.waited += (max(waited, 0.0) - self.waited) / 4

    @property
    def slow(self) -> bool:
        """Whether it is worth reading ahead while others decode."""
        return self.waited > _LEAST


pace = Pace()
"""That of this process."""
