"""The first code of a batch job on its first node: starts the ranks, tells how they fare.

``PYTHON -m hpclaunch.node.batch SESSION_DIR`` runs inside the batch job, on the interpreter of the
user's environment. Standard library only, Python 3.9 or newer.

Its exit code is the script's own, which rank 1 has written to ``ending.json`` before MPI was left:
what launchers make of exit codes is not asked. Without that word ``failure.json`` says why.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from datetime import datetime, timezone
from typing import Any, Optional

from hpclaunch.node import daskconfig, environment, processes, ranks
from hpclaunch.node.clock import ends_at
from hpclaunch.node.dask import place_of
from hpclaunch.node.failure import Failure
from hpclaunch.node.files import make_private_dir, write_private, write_private_json
from hpclaunch.node.job import begin, remove_secrets, report, say
from hpclaunch.node.layout import Layout
from hpclaunch.node.rankjob import RankJob
from hpclaunch.node.spec import Batch, Block, Session, SpecError

__all__ = ["BatchAgent", "main"]

_TICK = 0.1  # seconds between two looks while the start is awaited
_LOOK = 0.5  # seconds between two looks afterwards; children and signals wake at once
_MOMENT = 1.0
_WORD = 1.0  # seconds until a file that another node has written is seen here
_FAREWELL = 3.0  # seconds for the ranks to leave once the script has ended
_PATIENCE = 8.0  # seconds for a graceful end; schedulers kill after 30


class BatchAgent:
    """One batch job on its first node.

    Parameters
    ----------
    session : Session
    batch : Batch
    block : Block
    bell : Bell
        Wakes the agent.
    umask : int
        The user's own: what the script writes may be meant for a group. Ours is 077.
    """

    def __init__(
        self,
        session: Session,
        batch: Batch,
        block: Block,
        bell: processes.Bell,
        umask: int = -1,
    ) -> None:
        self._session = session
        self._batch = batch
        self._bell = bell
        self._umask = umask
        self._started = time.monotonic()
        self._began = datetime.now(timezone.utc)
        self._ranks = RankJob(session, block, Layout.LOG)
        self._launcher: Optional[subprocess.Popen[bytes]] = None

    def run(self) -> int:
        """Run the script on its ranks; returns the exit code of the process."""
        try:
            self._check()
            self._prepare()
            surroundings = environment.for_children(self._session, os.environ)
            self._launcher = self._ranks.start(surroundings, self._umask)
            code = self._await_end() if self._await_script() else None
            if code is not None:
                return code
            assert self._bell.ending is not None
            say("ending: received {}".format(self._bell.ending.name))
            return 128 + self._bell.ending
        except Failure as failure:
            return report(self._session.directory, failure)
        except OSError as error:
            return report(self._session.directory, Failure.filesystem(error))
        finally:
            self._leave()

    def _check(self) -> None:
        """Look for all that the ranks will need, while one word can still tell it."""
        script, place = self._batch.program, self._session.work_dir
        if not os.path.isfile(script):
            raise Failure.no_script("there is no file {} on the node".format(script))
        if not os.path.isdir(place):
            raise Failure.no_script("there is no directory {} on the node".format(place))
        lack = (
            ranks.missing("nbclient", "nbconvert", "ipykernel") if self._batch.is_notebook else None
        )
        if lack is not None:
            raise Failure.no_nbclient(lack)

    def _prepare(self) -> None:
        """Put Dask's configuration in place, and the script on record."""
        session = self._session
        for name in (Layout.DASK_CONFIG, Layout.WORKERS, Layout.PROGRAM):
            make_private_dir(session.path(name))
        for name, content in daskconfig.users_own(os.environ.get("DASK_CONFIG")):
            write_private(os.path.join(session.path(Layout.DASK_CONFIG), name), content)
        write_private(session.path(Layout.DASK_SECRET), os.urandom(32).hex().encode("ascii"))
        # Every rank spills to a place of its own; this one is for what else reads the file.
        place = place_of(session, os.environ, session.path(Layout.WORKERS), None)
        write_private_json(session.path(Layout.DASK_FILE), daskconfig.settings(session, place))
        copy = session.path(os.path.join(Layout.PROGRAM, os.path.basename(self._batch.program)))
        if copy != self._batch.program:
            shutil.copyfile(self._batch.program, copy)

    def _await_script(self) -> bool:
        """Wait until the script begins; False if we were asked to end before."""
        deadline = self._started + self._session.start_timeout
        while self._bell.ending is None:
            state = self._ranks.read(Layout.DASK_STATE)
            if state is not None:
                self._announce(state)
                return True
            self._check_ranks(begun=False)
            if time.monotonic() > deadline:
                raise Failure.mpi_hangs(self._session.start_timeout)
            self._bell.wait(_TICK)
        return False

    def _announce(self, state: dict[str, Any]) -> None:
        session = self._session
        end = ends_at(session, self._began, os.environ)
        took = round(time.monotonic() - self._started, 3)
        rendezvous: dict[str, Any] = {
            "version": 1,
            "nonce": session.nonce,
            "hostname": socket.gethostname(),
            "addresses": [],
            "port": None,
            "pid": os.getpid(),
            "ends_at": None if end is None else end.isoformat(),
            "dask": {key: state[key] for key in ("mode", "scheduler", "workers", "problem")},
            "timings": {"server": took, "ready": took},
        }
        write_private_json(session.path(Layout.RENDEZVOUS), rendezvous)

    def _await_end(self) -> Optional[int]:
        """Wait for the script's own last word: its exit code. None if we were asked to end."""
        assert self._launcher is not None
        while self._bell.ending is None:
            ending = self._ranks.read(Layout.ENDING)
            if ending is not None:
                self._say_farewell()
                return int(ending["exit"])
            if self._launcher.poll() is not None:
                ending = self._last_word()
                if ending is not None:
                    return int(ending["exit"])
                self._check_ranks(begun=True)
            self._bell.wait(_LOOK)
        return None

    def _say_farewell(self) -> None:
        """The script has ended; its ranks get a moment to leave."""
        assert self._launcher is not None
        deadline = time.monotonic() + _FAREWELL
        while self._launcher.poll() is None and time.monotonic() < deadline:
            self._bell.wait(_TICK)
            if self._bell.ending is not None:
                return
        if self._launcher.poll() is None:
            say("the ranks did not leave within {:.0f} s; they are ended".format(_FAREWELL))

    def _last_word(self) -> Optional[dict[str, Any]]:
        """What rank 1 has written, maybe on another node and a moment ago."""
        deadline = time.monotonic() + _WORD
        while time.monotonic() < deadline and self._bell.ending is None:
            ending = self._ranks.read(Layout.ENDING)
            if ending is not None:
                return ending
            self._bell.wait_for_end(_TICK)
        return None

    def _check_ranks(self, *, begun: bool) -> None:
        """Raise if the ranks have ended by themselves, without the script's word."""
        assert self._launcher is not None
        code = self._launcher.poll()
        # A cancelled job's ranks may be gone a moment before our turn comes.
        if code is None or self._bell.wait_for_end(_MOMENT):
            return
        raise self._ranks.why(code, begun=begun)

    def _leave(self) -> None:
        """End every process and remove every secret."""
        processes.end_all([self._launcher] if self._launcher is not None else [], _PATIENCE)
        processes.kill_descendants()
        remove_secrets(self._session)


def main(argv: list[str]) -> int:
    """Run a batch job; returns the exit code."""

    def run(session: Session, bell: processes.Bell, umask: int) -> int:
        if session.batch is None or session.block is None:
            raise SpecError("{} describes no batch job".format(Layout.SPEC))
        return BatchAgent(session, session.batch, session.block, bell, umask).run()

    return begin(argv, "hpclaunch.node.batch", run)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
