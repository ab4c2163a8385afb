"""How often a lost connection is tried again. Pure, but for the clock.

A network that is down costs nobody anything: while nothing answers at all, the site sees at most a
packet, and a try every few seconds brings the session back as soon as the network is. A host that
answers and turns us away is another matter: sites ban those who come too often.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from hpclaunch.errors import TransportError

__all__ = ["Patience"]

_NOBODY_ANSWERS = re.compile(
    r"Could not resolve|Name or service not known|[Tt]emporary failure in name resolution"
    r"|Connection refused|timed out|No route to host|[Uu]nreachable"
)
_HASTY = 120.0  # seconds of an outage in which an answer is expected within _SHORT
_SHORT = 3.0  # seconds
_LONG = 15.0
_SEEN = ((120.0, 0.5), (900.0, 2.0), (3600.0, 8.0), (float("inf"), 20.0))
"""Until so many seconds into an outage, so many seconds between two tries."""
_TURNED_AWAY = (2.0, 5.0, 15.0, 30.0, 60.0, 120.0)


class Patience:
    """The waiting of one outage.

    Parameters
    ----------
    clock : callable
        Seconds, going forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._next = self._began
        self._refusals = 0

    @property
    def is_over(self) -> bool:
        """Whether it is time for the next try."""
        return self._clock() >= self._next

    @property
    def for_an_answer(self) -> float:
        """Seconds to wait for the host's first word; longer later, for networks that are slow."""
        return _SHORT if self._clock() - self._began < _HASTY else _LONG

    def failed(self, error: TransportError) -> None:
        """A try has failed: decide when the next one is due."""
        now = self._clock()
        if _NOBODY_ANSWERS.search(error.said or ""):
            outage = now - self._began
            pause = next(seconds for until, seconds in _SEEN if outage < until)
        else:
            pause = _TURNED_AWAY[min(self._refusals, len(_TURNED_AWAY) - 1)]
            self._refusals += 1
        self._next = now + pause
