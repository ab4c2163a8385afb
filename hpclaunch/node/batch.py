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
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Optional

from hpclaunch.node import daskconfig, environment, processes, ranks
from hpclaunch.node.agent import remove_secrets, report, say
from hpclaunch.node.clock import ends_at
from hpclaunch.node.dask import place_of
from hpclaunch.node.failure import Failure
from hpclaunch.node.files import make_private_dir, read_json, write_private, write_private_json
from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import Batch, Session, SpecError, read_session

__all__ = ["BatchAgent", "main", "memory_here"]

_TICK = 0.1  # seconds between two looks while the start is awaited
_LOOK = 0.5  # seconds between two looks afterwards; children and signals wake at once
_MOMENT = 1.0
_WORD = 1.0  # seconds until a file that another node has written is seen here
_FAREWELL = 3.0  # seconds for the ranks to leave once the script has ended
_PATIENCE = 8.0  # seconds for a graceful end; schedulers kill after 30
_LOG_END = 65536  # bytes of the job's log in which a rank's death is looked for


class BatchAgent:
    """One batch job on its first node.

    Parameters
    ----------
    session : Session
    batch : Batch
    bell : Bell
        Wakes the agent.
    umask : int
        The user's own: what the script writes may be meant for a group. Ours is 077.
    """

    def __init__(
        self, session: Session, batch: Batch, bell: processes.Bell, umask: int = -1
    ) -> None:
        self._session = session
        self._batch = batch
        self._bell = bell
        self._umask = umask
        self._started = time.monotonic()
        self._began = datetime.now(timezone.utc)
        self._library = ""
        self._ranks: Optional[subprocess.Popen[bytes]] = None

    def run(self) -> int:
        """Run the script on its ranks; returns the exit code of the process."""
        try:
            self._check()
            self._prepare()
            self._start()
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
        granted = memory_here(os.environ)
        if self._batch.memory > granted:
            raise Failure.over_committed(self._batch.memory, granted)
        lack = ranks.missing("mpi4py", "dask_mpi", "distributed")
        if lack is not None:
            raise Failure.no_mpi(lack)
        lack = (
            ranks.missing("nbclient", "nbconvert", "ipykernel") if self._batch.is_notebook else None
        )
        if lack is not None:
            raise Failure.no_nbclient(lack)
        self._library = ranks.mpi_library(os.environ)

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

    def _start(self) -> None:
        session, batch = self._session, self._batch
        hosts_file = session.path(Layout.HOSTS)
        places = ranks.hosts(os.environ, batch.nodes)
        argv, text = ranks.command(batch, self._library, os.environ, places, hosts_file)
        write_private(hosts_file, text.encode("utf-8"))
        inner = environment.for_children(session, os.environ)
        outer = ranks.surroundings_of(argv, inner, hosts_file, len(places) > 1)
        program = [sys.executable, "-u", "-m", "hpclaunch.clusters.mpi", session.directory]
        say("{} ranks with {}: {}".format(batch.ranks, self._library, " ".join(argv)))
        try:
            # From a directory in which no module of the user's hides another.
            self._ranks = processes.start(
                [*argv, *program], outer, session.directory, umask=self._umask
            )
        except OSError as error:
            raise Failure.no_launcher("{} cannot be run: {}".format(argv[0], error)) from None

    def _await_script(self) -> bool:
        """Wait until the script begins; False if we were asked to end before."""
        deadline = self._started + self._session.start_timeout
        while self._bell.ending is None:
            state = self._read(Layout.DASK_STATE)
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
        assert self._ranks is not None
        while self._bell.ending is None:
            ending = self._read(Layout.ENDING)
            if ending is not None:
                self._say_farewell()
                return int(ending["exit"])
            if self._ranks.poll() is not None:
                ending = self._last_word()
                if ending is not None:
                    return int(ending["exit"])
                self._check_ranks(begun=True)
            self._bell.wait(_LOOK)
        return None

    def _say_farewell(self) -> None:
        """The script has ended; its ranks get a moment to leave."""
        assert self._ranks is not None
        deadline = time.monotonic() + _FAREWELL
        while self._ranks.poll() is None and time.monotonic() < deadline:
            self._bell.wait(_TICK)
            if self._bell.ending is not None:
                return
        if self._ranks.poll() is None:
            say("the ranks did not leave within {:.0f} s; they are ended".format(_FAREWELL))

    def _last_word(self) -> Optional[dict[str, Any]]:
        """What rank 1 has written, maybe on another node and a moment ago."""
        deadline = time.monotonic() + _WORD
        while time.monotonic() < deadline and self._bell.ending is None:
            ending = self._read(Layout.ENDING)
            if ending is not None:
                return ending
            self._bell.wait_for_end(_TICK)
        return None

    def _check_ranks(self, *, begun: bool) -> None:
        """Raise if the ranks have ended by themselves, without the script's word."""
        assert self._ranks is not None
        code = self._ranks.poll()
        # A cancelled job's ranks may be gone a moment before our turn comes.
        if code is None or self._bell.wait_for_end(_MOMENT):
            return
        told = self._read(Layout.FAILURE)
        if told is not None:  # by a rank, which knows better
            raise Failure(told["cause"], told["what"], told["hint"], told["said"])
        dead = ranks.death(self._log_end())
        if dead is not None:
            who, how, rank = dead
            raise Failure.rank_died(who, how, None if rank is None else self._words_of(rank))
        if not begun:
            raise Failure.mpi_failed(code)
        raise Failure.rank_died("a rank", "the launcher's exit code is {}".format(code))

    def _read(self, name: str) -> Optional[dict[str, Any]]:
        """A JSON file of the session, None where it is not there."""
        os.listdir(self._session.directory)  # makes NFS ask its server again
        try:
            found: dict[str, Any] = read_json(self._session.path(name))
        except FileNotFoundError:
            return None
        return found

    def _log_end(self) -> str:
        try:
            with open(self._session.path(Layout.LOG), "rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - _LOG_END))
                return log.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def _words_of(self, rank: int) -> Optional[str]:
        """The end of a rank's own log; the script's is the job's."""
        try:
            path = self._session.path(ranks.log_of(rank))
            with open(path, encoding="utf-8", errors="replace") as log:
                told = [line for line in log if " - INFO - " not in line]
                return "".join(told[-10:]) or None
        except FileNotFoundError:
            return None

    def _leave(self) -> None:
        """End every process and remove every secret."""
        processes.end_all([self._ranks] if self._ranks is not None else [], _PATIENCE)
        processes.kill_descendants()
        remove_secrets(self._session)


def memory_here(surroundings: Mapping[str, str]) -> int:
    """Bytes that the job may use on this node: what the scheduler granted, else what there is."""
    told = surroundings.get("SLURM_MEM_PER_NODE", "")
    if told.isdigit() and int(told) > 0:
        return int(told) * 2**20
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def main(argv: list[str]) -> int:
    """Run a batch job; returns the exit code."""
    umask = os.umask(0o077)
    if len(argv) != 1:
        say("usage: python -m hpclaunch.node.batch SESSION_DIR")
        return 2
    bell = processes.Bell()
    processes.adopt_orphans()
    try:
        session = read_session(argv[0])
        if session.batch is None:
            raise SpecError("{} describes no batch job".format(Layout.SPEC))
    except SpecError as error:
        return report(argv[0], Failure.bad_session(str(error)))
    return BatchAgent(session, session.batch, bell, umask).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
