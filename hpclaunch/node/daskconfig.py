"""Dask's configuration for a session: what makes ``Client()`` and ``SLURMCluster()`` just work.

It is read by kernels, the holder and the workers from the directory that DASK_CONFIG names.
YAML is a superset of JSON, so no YAML library is needed to write it.

Standard library only, Python 3.9 or newer: this runs on the compute node.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from hpclaunch.node import jobqueue
from hpclaunch.node.container import exports, inside
from hpclaunch.node.layout import LOOPBACK_ANY, Layout
from hpclaunch.node.spec import Session
from hpclaunch.shell import quote

__all__ = [
    "Place",
    "expandable",
    "image_places",
    "interpreter",
    "own_clusters",
    "prologue",
    "scratch_here",
    "settings",
    "users_own",
]

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")


@dataclass(frozen=True)
class Place:
    """Where the session runs, as Dask has to know it.

    Attributes
    ----------
    address : str
        Address of this node that workers can reach.
    python : str
        Interpreter of the environment.
    pythonpath : str
        PYTHONPATH of the job, which brings hpclaunch along.
    node_directory : str
        Private directory on this node, where schedulers serve their pages on UNIX sockets.
    scratch : str or None
        Private directory on this node, where workers and notebooks spill; None for the same.
    """

    address: str
    python: str
    pythonpath: str
    node_directory: str
    scratch: Optional[str] = None

    @property
    def dashboard_socket(self) -> str:
        """Where the session's own scheduler serves its pages."""
        return os.path.join(self.node_directory, "dashboard")


def settings(session: Session, place: Place, scheduler: Optional[str] = None) -> dict[str, Any]:
    """Return the session's configuration.

    Parameters
    ----------
    session : Session
    place : Place
    scheduler : str, optional
        Address of the session's scheduler, once it is known.
    """
    hangups = ["hpclaunch.clusters.hangups"] if session.protocol == "tls://" else []
    found: dict[str, Any] = {
        "distributed": {
            "comm": _encryption(session),
            "scheduler": {"preload": [*hangups, "hpclaunch.clusters.guard"]},
            "worker": {"preload": hangups, "http": {"routes": []}},  # its pages have no login
            "nanny": {"preload": hangups},
            "client": {"preload": hangups},
            # Dask has one link for all clusters; without a cluster of its own, a session's users
            # make theirs.
            "dashboard": {"link": "/dask/status" if session.mode else "/dask-at/{port}/status"},
        },
        "hpclaunch": {
            "dashboard-secret": session.path(Layout.DASK_SECRET),
            "node-directory": place.node_directory,
        },
        "labextension": _side_bar(session),
        # What we preload into every client is not the user's business.
        "logging": {"distributed.preloading": "warning"},
        # Never Dask's own name below /tmp, which others could have made before.
        "temporary-directory": place.scratch or place.node_directory,
    }
    if scheduler is not None:
        found["scheduler-address"] = scheduler
        if session.batch is None:  # the workers of a batch are ranks: nobody holds them
            found["distributed"]["client"]["preload"] = [*hangups, "hpclaunch.clusters.session"]
    if not session.is_local:
        found["jobqueue"] = {
            session.scheduler: {
                **jobqueue.defaults(
                    session,
                    interpreter(session, quote(place.python), place.pythonpath),
                    prologue(session, place.pythonpath),
                ),
                "name": quote(session.worker_job_name),
                "scheduler-options": {"host": place.address, "dashboard_address": LOOPBACK_ANY},
            }
        }
    return found


def own_clusters(
    session: Session, python: str, scheduler_interface: Optional[str] = None
) -> dict[str, Any]:
    """Return the configuration of clusters that a user makes where no session runs.

    It needs nothing of hpclaunch on the site.

    Parameters
    ----------
    session : Session
        Its directory is the one on the site where certificates and this configuration lie.
    python : str
        The interpreter of the workers, as a word of sh.
    scheduler_interface : str, optional
        Where schedulers listen, if not on the interface of `session`.
    """
    word = interpreter(session, python, None)
    jobs = jobqueue.defaults(session, word, prologue(session, None))
    scheduler = {"dashboard_address": LOOPBACK_ANY}
    if scheduler_interface is not None:
        scheduler["interface"] = scheduler_interface
    if session.interface is not None:
        jobs["interface"] = session.interface
    hangups = {"preload": [session.path(Layout.DASK_HANGUPS)]}
    return {
        "distributed": {
            "comm": _encryption(session),
            "scheduler": hangups,
            "worker": {**hangups, "http": {"routes": []}},  # its pages have no login
            "nanny": hangups,
            "client": hangups,
        },
        "jobqueue": {
            session.scheduler: {**jobs, "scheduler-options": scheduler},
        },
        # Dask tells of every preload.
        "logging": {"distributed.preloading": "warning"},
        # Never Dask's own name below /tmp, which others could have made before.
        "temporary-directory": session.path("scratch"),
    }


def prologue(session: Session, pythonpath: Optional[str]) -> list[str]:
    """Lines of sh that a worker job runs before its worker.

    Parameters
    ----------
    session : Session
    pythonpath : str or None
        PYTHONPATH of the worker; None leaves it as the job has it.
    """
    setup = list(session.jobs.setup) if session.jobs else []
    known = ["DASK_CONFIG", "DASK_TEMPORARY_DIRECTORY"]
    known += [] if pythonpath is None else ["PYTHONPATH"]
    return [
        *setup,
        *([] if pythonpath is None else ["export PYTHONPATH=" + quote(pythonpath)]),
        "export DASK_CONFIG=" + quote(session.path(Layout.DASK_CONFIG)),
        *_own_scratch(session),
        *(exports(known, '"$scratch"') if session.container else []),
    ]


def interpreter(session: Session, python: str, pythonpath: Optional[str]) -> str:
    """The words of sh by which a worker job calls the Python of the environment.

    Parameters
    ----------
    session : Session
    python : str
        The interpreter, as a word of sh.
    pythonpath : str or None
        PYTHONPATH of the worker.
    """
    if session.container is None:
        return python
    return inside(session.container, image_places(session, pythonpath)) + " " + python


def image_places(session: Session, pythonpath: Optional[str]) -> list[str]:
    """The directories of the session that an image has to see."""
    ours = pythonpath.split(os.pathsep) if pythonpath else []
    return [session.directory, *ours, *([session.root_dir] if session.root_dir else [])]


def _own_scratch(session: Session) -> list[str]:
    """Lines of sh that give a worker a new private directory to spill to, removed afterwards.

    Dask would use ``dask-scratch-space`` below a directory that may be everybody's, put it on
    ``sys.path`` and read pickles from it: whoever has made it before runs code as the user.
    """
    wanted = session.jobs.local_directory if session.jobs else None
    base = expandable(wanted) if wanted else '"${TMPDIR:-/tmp}"'
    epilogue = session.jobs.epilogue if session.jobs else ()
    return [
        "mkdir -p {0} && scratch=$(mktemp -d {0}/hpclaunch-XXXXXXXX) || exit".format(base),
        "trap {} EXIT".format(quote("\n".join(['rm -rf "$scratch"', *epilogue]))),
        'export DASK_TEMPORARY_DIRECTORY="$scratch"',
    ]


def expandable(text: str) -> str:
    """Return `text` as one word of sh in which ``$NAME`` and ``${NAME}`` are replaced, no more.

    A name that is not set there ends the job with a message, instead of a worker that fills the
    home directory.

    Examples
    --------
    >>> expandable("$TMPDIR/my files")
    '"${TMPDIR:?}"\\'/my files\\''
    """
    word = ""
    end = 0
    for match in _VARIABLE.finditer(text):
        word += quote(text[end : match.start()]) if match.start() > end else ""
        word += '"${{{}:?}}"'.format(match[1] or match[2])
        end = match.end()
    return word + (quote(text[end:]) if text[end:] else "")


def users_own(place: Optional[str]) -> list[tuple[str, bytes]]:
    """Files to put beside ours, so that a DASK_CONFIG the user has set still counts.

    Dask knows one such place, reads its files in order of their names and lets later ones win.

    Parameters
    ----------
    place : str or None
        The value of DASK_CONFIG in the job: a file or a directory.
    """
    if not place or not os.path.exists(place):
        return []
    paths = [place]
    if os.path.isdir(place):
        paths = [os.path.join(place, name) for name in sorted(os.listdir(place))]
    found: list[tuple[str, bytes]] = []
    for path in paths:
        base, extension = os.path.splitext(os.path.basename(path))
        if extension.lower() in (".json", ".yaml", ".yml"):
            with open(path, "rb") as file:
                found.append(("00-{:03d}-{}{}".format(len(found), base, extension), file.read()))
    return found


def _encryption(session: Session) -> dict[str, Any]:
    # On a shared network whoever reaches a plain Dask port runs code as its owner.
    if session.protocol != "tls://":
        return {"default-scheme": "tcp", "require-encryption": False}
    pair = {"key": session.path(Layout.DASK_KEY), "cert": session.path(Layout.DASK_CERT)}
    return {
        "default-scheme": "tls",
        "require-encryption": True,
        "tls": {
            "ca-file": session.path(Layout.CA),
            "scheduler": pair,
            "worker": pair,
            "client": pair,
        },
    }


def _side_bar(session: Session) -> Mapping[str, Any]:
    """dask-labextension: NEW shows the session's cluster, and makes no second one beside it.

    It is not in the list from the start: the extension would ask its own proxy for the dashboard,
    which does not know where ours is.
    """
    if session.mode is None:
        return {"initial": []}
    factory = {"module": "hpclaunch.clusters.side_bar", "class": "SideBarCluster"}
    return {"initial": [], "factory": dict(factory, args=[], kwargs={})}


def scratch_here(session: Session) -> Optional[str]:
    """The site's node-local directory of this node; None where a variable in it is not set."""
    wanted = session.jobs.local_directory if session.jobs else None
    found = os.path.expandvars(wanted) if wanted else ""
    return None if not found or _VARIABLE.search(found) else found
