"""Dask's part of a session, as the agent sees it: configuration, holder process, state.

Standard library only, Python 3.9 or newer: this runs on the compute node.
"""

from __future__ import annotations

import importlib.metadata
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any, Optional

from hpclaunch.node import address, daskconfig, processes
from hpclaunch.node.failure import Failure
from hpclaunch.node.files import (
    make_private_dir,
    read_json,
    remove,
    write_private,
    write_private_json,
)
from hpclaunch.node.layout import Layout
from hpclaunch.node.rankjob import RankJob
from hpclaunch.node.spec import Session

__all__ = ["CONTROL", "DASHBOARD_HEADER", "PAGES", "Dask", "place_of"]

DASHBOARD_HEADER = "X-Hpclaunch-Dashboard"
"""The request header that carries the session's dashboard secret."""

PAGES = "pages"
"""Among Jupyter's settings: what `hpclaunch.node.labpages` needs to know."""

CONTROL = "control"
"""Name of the holder's socket in the private directory of its node."""

_LAST_WORDS = 20  # lines of the holder's log that go into a failure
_ROOM = 64  # bytes of a directory's path that leave room for a socket's (unix(7): 108 in all)


class Dask:
    """Dask of one session; a session without workers has its configuration all the same.

    Attributes
    ----------
    holder : subprocess.Popen or None
        The process that holds the cluster; where the workers are ranks, what has started them.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.holder: Optional[subprocess.Popen[bytes]] = None
        self._state: Optional[dict[str, Any]] = None
        self._node_dir: Optional[str] = None
        self._scratch: Optional[str] = None
        self._lack: Optional[str] = None
        self._ranks: Optional[RankJob] = None
        if session.mode == "mpi" and session.block is not None:
            self._ranks = RankJob(session, session.block, Layout.HOLDER_LOG)

    def prepare(self, surroundings: Mapping[str, str]) -> dict[str, Any]:
        """Write Dask's configuration, so that every kernel and worker speaks TLS.

        Parameters
        ----------
        surroundings : mapping
            The environment of the job.

        Returns
        -------
        dict
            Settings to add to Jupyter's: the way to the dashboard, behind Jupyter's login.
        """
        session = self._session
        make_private_dir(session.path(Layout.DASK_CONFIG))
        make_private_dir(session.path(Layout.WORKERS))
        for name, content in daskconfig.users_own(surroundings.get("DASK_CONFIG")):
            write_private(os.path.join(session.path(Layout.DASK_CONFIG), name), content)
        secret = secrets.token_hex(32)
        write_private(session.path(Layout.DASK_SECRET), secret.encode("ascii"))
        self._node_dir = _node_local_dir()
        base = daskconfig.scratch_here(session)
        if base is not None:
            os.makedirs(base, exist_ok=True)
            self._scratch = tempfile.mkdtemp(prefix="hpclaunch-", dir=base)
        place = place_of(session, surroundings, self._node_dir, self._scratch)
        write_private_json(session.path(Layout.DASK_FILE), daskconfig.settings(session, place))
        self._lack = _proxy_lack()
        if self._lack is not None:
            return {}
        state = session.path(Layout.DASK_STATE)
        pages = {PAGES: {"directory": self._node_dir, "secret": secret, "state": state}}
        if session.mode is None:
            return pages
        return {**pages, **_proxy_entry(place.dashboard_socket, secret)}

    @property
    def dashboard_lack(self) -> Optional[str]:
        """Why Jupyter cannot show a dashboard, in words; None if it can."""
        return self._lack

    def start(self, surroundings: Mapping[str, str], umask: int) -> None:
        """Start the holder with the user's `umask`, if the session has a cluster.

        Raises
        ------
        Failure
            If the workers are ranks, and those would lack something.
        """
        if self._session.mode is None:
            return
        with open(self._session.path(Layout.HOLDER_LOG), "wb") as log:
            if self._ranks is not None:
                self.holder = self._ranks.start(surroundings, umask, log)
                return
            self.holder = processes.start(
                [sys.executable, "-m", "hpclaunch.clusters.holder", self._session.directory],
                surroundings,
                self._session.directory,
                log,
                umask,
            )

    def check(self) -> bool:
        """Whether Dask is ready, or not asked for.

        Raises
        ------
        Failure
            If the holder has ended.
        """
        if self.holder is None or self._state is not None:
            return True
        code = self.holder.poll()
        if code is not None and self._ranks is not None:
            raise self._ranks.why(code, begun=False)
        if code is not None:
            raise Failure.dask_died(code, self.last_words())
        try:
            self._state = read_json(self._session.path(Layout.DASK_STATE))
        except FileNotFoundError:
            return False
        return True

    def hangs(self, seconds: float) -> Failure:
        """Why Dask was not ready within `seconds`."""
        if self._ranks is not None:
            return Failure.mpi_hangs(seconds, self.last_words())
        return Failure.dask_hangs(seconds, self.last_words())

    def note_death(self) -> Optional[int]:
        """The exit code of a holder that ended after it was ready, told once."""
        if self.holder is None or self._state is None or self._state["state"] == "dead":
            return None
        code = self.holder.poll()
        if code is None:
            return None
        self._state = dict(self._state, state="dead")
        try:
            known = read_json(self._session.path(Layout.DASK_STATE))
            problem = self.last_words()
            if self._ranks is not None:
                problem = self._ranks.why(code, begun=True).what
            self._state = dict(known, state="dead", problem=problem)
            write_private_json(self._session.path(Layout.DASK_STATE), self._state)
        except OSError as error:  # a full disk ends the cluster, not the notebooks
            print("hpclaunch agent: {}".format(error), file=sys.stderr, flush=True)
        return code

    def rendezvous(self) -> Optional[dict[str, Any]]:
        """What the laptop is told of the cluster; None if there is none."""
        if self._state is None:
            return None
        told: dict[str, Any] = {key: self._state[key] for key in ("mode", "scheduler", "workers")}
        told["dashboard"] = self._lack is None
        told["problem"] = self._state.get("problem")
        return told

    def last_words(self) -> str:
        """The end of the holder's log."""
        with open(self._session.path(Layout.HOLDER_LOG), encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-_LAST_WORDS:])

    def clean(self) -> None:
        """Remove what lies on this node outside the session directory."""
        for directory in (self._node_dir, self._scratch):
            if directory is not None:
                remove(directory)


def place_of(
    session: Session,
    surroundings: Mapping[str, str],
    node_directory: str,
    scratch: Optional[str],
) -> daskconfig.Place:
    """Where this session runs, as seen by the process that asks.

    Raises
    ------
    Failure
        If other nodes cannot reach this one.
    """
    here = [address.LOOPBACK] if session.is_local else address.for_nodes(session.interface)
    if not here:
        raise Failure.no_address()
    return daskconfig.Place(
        address=here[0],
        python=sys.executable,
        pythonpath=surroundings.get("PYTHONPATH", ""),
        node_directory=node_directory,
        scratch=scratch,
    )


def _node_local_dir() -> str:
    """A new directory of this node, mode 0700, whose path leaves room for a socket's name."""
    roomy = [base for base in (tempfile.gettempdir(), "/tmp") if len(os.fsencode(base)) < _ROOM]
    return tempfile.mkdtemp(prefix="hpclaunch-", dir=roomy[0])


def _proxy_lack() -> Optional[str]:
    """What keeps the dashboard from being shown through Jupyter, in words.

    Older releases of jupyter-server-proxy know no UNIX sockets, or no websockets over them.
    """
    for package, least in (("jupyter-server-proxy", (4, 1)), ("tornado", (6, 3))):
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "{} has no {}".format(sys.prefix, package)
        if tuple(int(part) for part in version.split(".")[:2]) < least:
            return "{} {} is older than {}.{}".format(package, version, *least)
    return None


def _proxy_entry(socket_path: str, secret: str) -> dict[str, Any]:
    """Jupyter's settings that put the dashboard under ``/dask/``, behind Jupyter's login.

    A UNIX socket in a private directory of this node: its name is known before the scheduler is
    up, so Jupyter need not wait for it, and nobody else can take it in between as they could a
    port. The scheduler asks for the secret there too, as on its TCP port.
    """
    entry = {
        "unix_socket": socket_path,
        "request_headers_override": {DASHBOARD_HEADER: secret},
        "launcher_entry": {"enabled": False},
    }
    return {"ServerProxy": {"servers": {"dask": entry}}}
