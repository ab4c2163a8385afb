"""Watch the sessions of one site until they are over: five loops and the conclusion.

Two loops look at the files that the jobs write (`files`), one asks the scheduler (`queue`), one
feels whether the servers that answered still do (`pulse`), one does what sessions order
(`orders`).
Whatever is learned goes into the records.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from hpclaunch.errors import HpclaunchError, TransportError
from hpclaunch.keeper.files import Files
from hpclaunch.keeper.link import Link
from hpclaunch.keeper.orders import Orders
from hpclaunch.keeper.pulse import Pulse
from hpclaunch.keeper.queue import Queue
from hpclaunch.keeper.register import Register, Watched
from hpclaunch.keeper.tunnel import Tunnels
from hpclaunch.sessions import access
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.explain import conclude
from hpclaunch.sessions.record import Record

__all__ = ["Watch"]

_LAST_WORDS = 3.0  # seconds that the scheduler gets to say why a job ended
_log = logging.getLogger("hpclaunch.keeper.watch")


class Watch:
    """Watches every adopted session until it is over.

    Parameters
    ----------
    book : Book
    link : Link
    tunnels : Tunnels
    """

    def __init__(self, book: Book, link: Link, tunnels: Tunnels) -> None:
        self._link = link
        self._tunnels = tunnels
        self._register = Register(book, tunnels)
        self._closed = False
        self._files = Files(self._register, link, tunnels, self._conclude)
        self._orders = Orders(self._register, link)
        self._queue = Queue(self._register, link, self._orders, self._conclude_if_gone)
        self._pulse = Pulse(self._register, link)
        self.adopt = self._register.adopt
        self.release = self._register.release
        self.names = self._register.names
        self._threads = [
            threading.Thread(target=self._loop, args=(step,), daemon=True, name=step.__qualname__)
            for step in (
                self._files.fresh,
                self._files.settled,
                self._queue.ask,
                self._orders.serve,
                self._pulse.feel,
            )
        ]

    def start(self) -> None:
        """Begin to watch."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop watching; the sessions live on."""
        with self._register.changed:
            self._closed = True
            self._register.changed.notify_all()

    def link_down(self, why: str) -> None:
        """Tell every record that the site cannot be reached."""
        for watched in self._register.all():
            self._register.update(
                watched, trouble=why, tunnel=False, outage={"why": why, "began": time.time()}
            )

    def link_up(self) -> None:
        """The connection is there (again): look at everything anew."""
        with self._register.changed:
            for watched in self._register.all():
                watched.known, watched.settled = "", False
                watched.look_closely()
                with contextlib.suppress(HpclaunchError):
                    # Where a server answers, its tunnel must too before all is well again.
                    if not self._register.book.read(watched.name).serves:
                        self._register.update(watched, trouble=None)
            self._register.changed.notify_all()

    def _loop(self, step: Callable[[], bool]) -> None:
        """Run `step` for ever; it returns whether there was anything to do."""
        while not self._closed:
            worked = False
            if self._link.up.is_set():
                try:
                    worked = step()
                except TransportError as error:
                    _log.info("%s: %s", step.__name__, error)
                    self._link.doubt()
                    time.sleep(0.5)
                except HpclaunchError as error:
                    _log.warning("%s: %s", step.__name__, "\n".join(error.lines()))
                    time.sleep(2.0)
                except Exception:
                    _log.exception("%s", step.__name__)
                    time.sleep(5.0)
            if not worked:
                with self._register.changed:
                    self._register.changed.wait(0.25)

    def _conclude_if_gone(self, watched: Watched) -> None:
        """The scheduler said that a job is over; it is asked again before that is believed."""
        self._conclude(watched, unless_alive=True)

    def _conclude(self, watched: Watched, *, unless_alive: bool = False) -> None:
        """A session is over: find out why, tidy up, write it down."""
        with self._register.changed:
            if watched.concluding:
                return
            watched.concluding = True
        try:
            record = self._register.book.read(watched.name)
            runner = self._link.transport
            evidence = access.collect_evidence(runner, record)
            deadline = time.monotonic() + _LAST_WORDS
            while (
                evidence.failure is None
                and evidence.job is not None
                and not evidence.job.state.is_final
                and time.monotonic() < deadline
            ):
                time.sleep(0.3)
                evidence = access.collect_evidence(runner, record)
            if unless_alive and evidence.shows_life:
                _log.warning("%s: its job lives, though it was said to be gone", record.name)
                watched.absent = 0
                return
            outcome = conclude(record, evidence)
            self._tunnels.close(record.name)
            left = self._tidy(record)
            if left is not None:
                outcome["untidy"] = left
            job = access.job_facts(evidence.job) if evidence.job else record.job
            self._register.update(
                watched, outcome=outcome, tunnel=False, job=job, as_of=time.time()
            )
            self._register.book.forget_secrets(record.name, record.nonce)
            self._register.release(record.name, record.nonce)
        finally:
            watched.concluding = False

    def _tidy(self, record: Record) -> str | None:
        """Cancel what may run and remove the secrets; says what may be left, where it is so."""
        left = None
        for step in (
            lambda: access.cancel_everything(self._link.transport, record),
            lambda: access.clean(self._link.transport, record, everything=False),
        ):
            try:
                step()
            except TransportError:
                raise
            except HpclaunchError as error:
                _log.warning("%s: %s", record.name, "\n".join(error.lines()))
                left = left or error.what
        return left
