"""The first code on the node: starts Jupyter and Dask, says where they are, ends with them.

``PYTHON -m hpclaunch.node.agent SESSION_DIR`` runs inside the batch job, on the interpreter of the
user's environment. Standard library only, Python 3.9 or newer.

What it leaves in the session directory: ``rendezvous.json`` once Jupyter (and the Dask scheduler)
answer, or ``failure.json`` with the reason why they do not. It carries no trust: the laptop proves
both ends with the certificates and the token it made itself.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Any, Optional

from hpclaunch.node import address, environment, idle, jupyter, processes
from hpclaunch.node.clock import ends_at
from hpclaunch.node.dask import Dask
from hpclaunch.node.failure import Failure
from hpclaunch.node.files import make_private_dir, write_private_json
from hpclaunch.node.job import begin, remove_secrets, report, say
from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import Session

__all__ = ["Agent", "main"]

_TICK = 0.05  # seconds between two looks while a start is awaited
_MOMENT = 1.0
_IDLE = 30.0  # seconds between two looks afterwards; children and signals wake at once
_PATIENCE = 8.0  # seconds for a graceful end; schedulers kill after 30


class Agent:
    """One session on its node.

    Parameters
    ----------
    session : Session
    bell : Bell
        Wakes the agent.
    started : float
        ``time.monotonic()`` at the agent's first line.
    umask : int
        The user's own: what notebooks write may be meant for a group. Ours is 077.
    """

    def __init__(
        self, session: Session, bell: processes.Bell, started: float, umask: int = -1
    ) -> None:
        self._session = session
        self._bell = bell
        self._started = started
        self._umask = umask
        self._began = datetime.now(timezone.utc)
        self._jupyter: Optional[subprocess.Popen[bytes]] = None
        self._dask = Dask(session)
        self._answered: Optional[float] = None
        self._unlocked: Optional[jupyter.NotLocked] = None
        self._over = threading.Event()
        self._idleness: Optional[idle.Idleness] = None

    def run(self) -> int:
        """Start, announce, watch; returns the exit code of the process."""
        try:
            self._start()
            if self._await_ready():
                self._announce()
                self._supervise()
        except Failure as failure:
            return report(self._session.directory, failure)
        except OSError as error:
            return report(self._session.directory, Failure.filesystem(error))
        finally:
            self._leave()
        return 0

    # Starting

    def _start(self) -> None:
        session = self._session
        if session.sights is not None:
            from hpclaunch.node.measure import write_facts  # other sessions start without it

            write_facts(session.directory, session.nonce, session.sights)
        lack = jupyter.missing()
        if lack is not None:
            raise Failure.no_jupyterlab(lack)
        make_private_dir(session.path(Layout.JUPYTER_RUNTIME))
        proxies = self._dask.prepare(os.environ)
        if self._dask.dashboard_lack is not None:
            say("no Dask dashboard: {}".format(self._dask.dashboard_lack))
        with open(session.path(Layout.TOKEN), encoding="ascii") as file:
            token = file.read().strip()
        if not token:
            raise Failure.bad_session("the token file is empty")
        self._port, self._port_holder = jupyter.reserve_port(jupyter.listen_host(session))
        settings = jupyter.settings(session, self._port, token)
        write_private_json(session.path(Layout.JUPYTER_CONFIG), {**settings, **proxies})
        surroundings = environment.for_children(session, os.environ)
        self._jupyter = processes.start(
            jupyter.command(session), surroundings, session.directory, umask=self._umask
        )
        self._dask.start(surroundings, self._umask)
        use = idle.Use(session, self._port, token)
        self._idleness = idle.Idleness(session.idle_limit, use.idle_for, self._bell)
        probe = jupyter.Probe(session, self._port, token)
        threading.Thread(target=self._ask_until_it_serves, args=(probe,), daemon=True).start()

    def _ask_until_it_serves(self, probe: jupyter.Probe) -> None:
        """In a thread of its own: an answer may hang for seconds, a signal must not."""
        while not self._over.wait(_TICK):
            try:
                if not probe.serves():
                    continue
                self._answered = time.monotonic()
            except jupyter.NotLocked as unlocked:
                self._unlocked = unlocked
            self._bell.ring()
            return

    def _await_ready(self) -> bool:
        """Wait until everything answers; False if we were asked to end before."""
        deadline = self._started + self._session.start_timeout
        while self._bell.ending is None:
            self._check_jupyter()
            if self._unlocked is not None:
                raise Failure.not_locked(str(self._unlocked))
            try:
                dask_is_ready = self._dask.check()
            except Failure:
                if self._bell.wait_for_end(_MOMENT):  # the whole job is cancelled
                    return False
                raise
            if self._answered is not None and dask_is_ready:
                return True
            if time.monotonic() > deadline:
                if self._answered is None:
                    raise Failure.jupyter_hangs(self._session.start_timeout)
                raise self._dask.hangs(self._session.start_timeout)
            self._bell.wait(_TICK)
        return False

    def _check_jupyter(self) -> None:
        """Raise if Jupyter has ended by itself."""
        assert self._jupyter is not None
        code = self._jupyter.poll()
        if code is None:
            return
        # scancel signals every process of the job, and our turn may come a moment later.
        if code == -signal.SIGTERM and self._bell.wait_for_end(_MOMENT):
            return
        if self._bell.ending is None:
            raise Failure.jupyter_died(code)

    def _announce(self) -> None:
        assert self._answered is not None
        if self._port_holder is not None:
            self._port_holder.close()  # Jupyter has the port now
        session = self._session
        if session.is_local:
            addresses = [address.LOOPBACK]
        else:
            addresses = address.for_login(session.interface)
            if not addresses:
                raise Failure.no_address()
        end = ends_at(session, self._began, os.environ)
        rendezvous: dict[str, Any] = {
            "version": 1,
            "nonce": session.nonce,
            "hostname": socket.gethostname(),
            "addresses": addresses,
            "port": self._port,
            "pid": os.getpid(),
            "ends_at": None if end is None else end.isoformat(),
            "dask": self._dask.rendezvous(),
            "timings": {
                "server": round(self._answered - self._started, 3),
                "ready": round(time.monotonic() - self._started, 3),
            },
        }
        write_private_json(session.path(Layout.RENDEZVOUS), rendezvous)
        say("Jupyter answers on port {}".format(self._port))

    # Watching and leaving

    def _supervise(self) -> None:
        """Return when we are asked to end or Jupyter was; raise when Jupyter died."""
        assert self._jupyter is not None and self._idleness is not None
        self._idleness.start()
        while self._bell.ending is None:
            if self._idleness.abandoned_for is not None:
                self._abandon(self._idleness.abandoned_for)
                return
            processes.reap(self._children())
            code = self._jupyter.poll()
            if code == 0:
                say("Jupyter was asked to stop and did")
                return
            self._check_jupyter()
            code = self._dask.note_death()
            if code is not None:
                say("the Dask cluster's process ended with {}; notebooks go on".format(code))
            self._bell.wait(_IDLE)
        say("ending: received {}".format(self._bell.ending.name))

    def _abandon(self, seconds: float) -> None:
        """Leave word why the session ends though nobody asked for it."""
        what = "ended: idle for {}".format(timedelta(seconds=int(seconds)))
        say("{}; no browser, no busy kernel, no terminal's program, no Dask task".format(what))
        word = {"nonce": self._session.nonce, "cause": "idle", "what": what, "seconds": seconds}
        write_private_json(self._session.path(Layout.ENDING), word)

    def _children(self) -> list[subprocess.Popen[bytes]]:
        return [child for child in (self._jupyter, self._dask.holder) if child is not None]

    def _leave(self) -> None:
        """End every process and remove every secret."""
        self._over.set()
        if self._idleness is not None:
            self._idleness.close()
        processes.end_all(self._children(), _PATIENCE)
        processes.kill_descendants()
        self._dask.clean()
        remove_secrets(self._session)


def main(argv: list[str]) -> int:
    """Run a session; returns the exit code."""
    started = time.monotonic()

    def run(session: Session, bell: processes.Bell, umask: int) -> int:
        return Agent(session, bell, started, umask).run()

    return begin(argv, "hpclaunch.node.agent", run)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
