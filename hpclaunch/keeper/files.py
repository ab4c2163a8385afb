"""Look at the files that jobs write: where the server answers, why a job ends.

Fresh sessions are looked at every 0.2 s for their first 30 s, settled ones in calls of a minute.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from hpclaunch.errors import TransportError
from hpclaunch.keeper.link import Link
from hpclaunch.keeper.register import Batch, Register, Watched
from hpclaunch.keeper.tunnel import Tunnels
from hpclaunch.node.layout import Layout
from hpclaunch.sessions import access
from hpclaunch.sessions.record import Record

__all__ = ["Files"]

_FAST_TICK, _SLOW_TICK = 0.2, 5.0
_FAST_CALL, _SLOW_CALL = 2, 55
_log = logging.getLogger("hpclaunch.keeper.files")


class Files:
    """Reads the words of the jobs of one site."""

    def __init__(
        self,
        register: Register,
        link: Link,
        tunnels: Tunnels,
        conclude: Callable[[Watched], None],
    ) -> None:
        self._register = register
        self._link = link
        self._tunnels = tunnels
        self._conclude = conclude

    def fresh(self) -> bool:
        """Look at fresh sessions, and at those the slow look has not in hand; False if none."""
        batch = self._register.batch(
            lambda watched, record: (
                bool(record.submitting and record.session_dir)
                and (not watched.settled or (watched.is_fresh and not record.serves))
            )
        )
        fresh = any(watched.is_fresh for watched, _ in batch)
        if batch:
            self._read(batch, _FAST_CALL, _FAST_TICK if fresh else 1.0)
        return bool(batch)

    def settled(self) -> bool:
        """Look at settled sessions; False if there are none."""
        batch = self._register.batch(
            lambda watched, record: (
                bool(record.submitting and record.session_dir)
                and (not watched.is_fresh or record.serves)
            )
        )
        for watched, _ in batch:
            watched.settled = True
        try:
            if batch:
                self._read(batch, _SLOW_CALL, _SLOW_TICK)
        finally:
            for watched, _ in batch:
                watched.settled = False
        return bool(batch)

    def _read(self, batch: Batch, limit: int, tick: float) -> None:
        known, words = access.read_words(
            self._link.transport,
            [record for _, record in batch],
            [watched.known for watched, _ in batch],
            limit=limit,
            tick=tick,
        )
        for (watched, _), now_known, said in zip(batch, known, words, strict=True):
            watched.known = now_known
            record = self._register.book.read(watched.name)
            if record.is_over or record.stopping:
                continue
            missing = now_known.endswith("gone") and record.job_id and not watched.is_fresh
            watched.gone = watched.gone + 1 if missing else 0
            if watched.gone == 1:
                watched.known = ""  # look again before that is believed
            removed = watched.gone > 1
            foreign = access.is_foreign(record, said)
            if foreign:
                _log.warning("%s: a rendezvous of another session", record.name)
            if Layout.FAILURE in said or Layout.EXIT in said or removed or foreign:
                self._conclude(watched)
            elif Layout.RENDEZVOUS in said:
                self._meet(watched, record, said[Layout.RENDEZVOUS])

    def _meet(self, watched: Watched, record: Record, rendezvous: dict[str, object]) -> None:
        """The server answers on its node: note where, and open the tunnel. A batch needs none."""
        if record.rendezvous is None:
            timings = {}
            inner = rendezvous.get("timings")
            server = float(inner.get("server", 0.0)) if isinstance(inner, dict) else 0.0
            waited = time.time() - (record.submitting or time.time())
            timings["server"] = server
            timings["queue"] = max(0.0, waited - server - record.timings.get("submit", 0.0))
            changed = self._register.update(
                watched,
                rendezvous=rendezvous,
                ran_at=record.ran_at or time.time() - server,
                timings=timings,
                as_of=time.time(),
            )
            if changed is None:
                return
            record = changed
        if not record.serves:
            return
        if self._tunnels.is_open(watched.name) and record.tunnel:
            return
        began = time.time()
        try:
            port = self._tunnels.open(record, self._register.book)
        except TransportError as error:
            watched.known = ""  # try again soon
            trouble = f"{error}: {error.said}" if error.said else f"{error}"
            self._register.update(watched, trouble=trouble, tunnel=False)
            self._link.doubt()
            time.sleep(0.5)
            return
        timings = {} if "tunnel" in record.timings else {"tunnel": time.time() - began}
        self._register.update(watched, port=port, tunnel=True, trouble=None, timings=timings)
