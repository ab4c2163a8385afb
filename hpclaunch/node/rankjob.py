"""The ranks of a job as one thing: what they need, how they are started, why they ended.

Standard library only, Python 3.9 or newer: this runs on the compute node.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import IO, Any, Optional

from hpclaunch.node import processes, ranks
from hpclaunch.node.container import assignments, inside_argv
from hpclaunch.node.daskconfig import image_places
from hpclaunch.node.failure import Failure
from hpclaunch.node.files import read_json, write_private
from hpclaunch.node.job import say
from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import Block, Session

__all__ = ["RankJob", "memory_here"]

_LAST_WORDS = 20  # lines of it that are shown
_LOG_END = 65536  # bytes of the launcher's log in which a rank's death is looked for


class RankJob:
    """All ranks of one session or batch.

    Parameters
    ----------
    session : Session
    block : Block
    log : str
        Name in the session's directory of the file that the launcher writes to.
    """

    def __init__(self, session: Session, block: Block, log: str) -> None:
        self._session = session
        self._block = block
        self._log = log

    def start(
        self, surroundings: Mapping[str, str], umask: int, output: Optional[IO[bytes]] = None
    ) -> subprocess.Popen[bytes]:
        """Start them; returns the launcher.

        Parameters
        ----------
        surroundings : mapping
            The environment for the job's children.
        umask : int
            The user's own.
        output : file, optional
            Where the launcher writes, if that is not our own output.

        Raises
        ------
        Failure
            If the ranks would lack something, while one word can still tell it.
        """
        session, block = self._session, self._block
        granted = memory_here(surroundings)
        if block.memory > granted:
            raise Failure.over_committed(block.memory, granted)
        lack = ranks.missing("mpi4py", "dask_mpi", "distributed")
        if lack is not None:
            raise Failure.no_mpi(lack)
        library = ranks.mpi_library(surroundings)
        hosts_file = session.path(Layout.HOSTS)
        places = ranks.hosts(surroundings, block.nodes)
        argv, text = ranks.command(block, library, surroundings, places, hosts_file)
        write_private(hosts_file, text.encode("utf-8"))
        outer = ranks.surroundings_of(argv, surroundings, hosts_file, len(places) > 1)
        program = [sys.executable, "-u", "-m", "hpclaunch.clusters.mpi", session.directory]
        program = [*_into_image(session, surroundings), *program]
        say("{} ranks with {}: {}".format(block.ranks, library, " ".join(argv)))
        try:
            # From a directory in which no module of the user's hides another.
            return processes.start([*argv, *program], outer, session.directory, output, umask)
        except OSError as error:
            raise Failure.no_launcher("{} cannot be run: {}".format(argv[0], error)) from None

    def why(self, code: int, *, begun: bool) -> Failure:
        """Why the ranks have ended.

        Parameters
        ----------
        code : int
            Return code of the launcher.
        begun : bool
            Whether they had met before.
        """
        told = self.read(Layout.FAILURE)
        if told is not None:  # by a rank, which knows better
            return Failure(told["cause"], told["what"], told["hint"], told["said"])
        end = self._log_end()
        # What is in the job's log is shown anyway.
        said = None if self._log == Layout.LOG else "\n".join(end.splitlines()[-_LAST_WORDS:])
        dead = ranks.death(end, self._block.others)
        if dead is not None:
            who, how, rank = dead
            return Failure.rank_died(who, how, said if rank is None else self._words_of(rank))
        if not begun:
            return Failure.mpi_failed(code, said)
        return Failure.rank_died("a rank", "the launcher's exit code is {}".format(code), said)

    def read(self, name: str) -> Optional[dict[str, Any]]:
        """A JSON file of the session that a rank may have written, None where it is not there."""
        os.listdir(self._session.directory)  # makes NFS ask its server again
        try:
            found: dict[str, Any] = read_json(self._session.path(name))
        except FileNotFoundError:
            return None
        return found

    def _log_end(self) -> str:
        try:
            with open(self._session.path(self._log), "rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - _LOG_END))
                return log.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def _words_of(self, rank: int) -> Optional[str]:
        """The end of a rank's own log; that of the rank that speaks for all is the launcher's."""
        try:
            path = self._session.path(ranks.log_of(rank))
            with open(path, encoding="utf-8", errors="replace") as log:
                told = [line for line in log if " - INFO - " not in line]
                return "".join(told[-10:]) or None
        except FileNotFoundError:
            return None


def _into_image(session: Session, surroundings: Mapping[str, str]) -> list[str]:
    """What a rank begins with where the session runs in an image: launchers run outside of it."""
    if session.container is None:
        return []
    path = surroundings.get("PYTHONPATH", "")
    return [
        "env",
        *assignments({"PYTHONPATH": path}),
        *inside_argv(session.container, image_places(session, path)),
    ]


def memory_here(surroundings: Mapping[str, str]) -> int:
    """Bytes that the job may use on this node: what the scheduler granted, else what there is."""
    told = surroundings.get("SLURM_MEM_PER_NODE", "")
    if told.isdigit() and int(told) > 0:
        return int(told) * 2**20
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
