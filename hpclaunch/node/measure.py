"""Measure what a compute node is like, in the job that runs there.

Standard library only, Python 3.9 or newer: this runs on the compute node.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from dataclasses import asdict

from hpclaunch.node import address
from hpclaunch.node.files import write_private_json
from hpclaunch.node.layout import Layout
from hpclaunch.node.sight import Answer, Directory, NodeFacts, Sights
from hpclaunch.node.versions import found_here

__all__ = ["measure", "write_facts"]

_PATIENCE = 20.0  # seconds for the command that asks the scheduler
_WORDS = 10_000  # characters of each stream that are kept


def write_facts(directory: str, nonce: str, sights: Sights) -> None:
    """Measure, and leave it in a session's directory.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    write_private_json(os.path.join(directory, Layout.FACTS), asdict(measure(nonce, sights)))


def measure(nonce: str, sights: Sights) -> NodeFacts:
    """What the node is like that runs this."""
    here = found_here()
    return NodeFacts(
        nonce=nonce,
        host=socket.gethostname(),
        time=time.time(),
        python=here["python"],
        version=here["version"],
        packages=here["packages"],
        interfaces=address.interfaces(),
        directories={key: _directory(path) for key, path in sights.directories.items()},
        scheduler=_ask(sights.ask) if sights.ask else None,
    )


def _directory(written: str) -> Directory:
    path = os.path.expandvars(os.path.expanduser(written))
    exists = os.path.isdir(path)
    above = path
    while not os.path.isdir(above) and above not in ("", "/"):  # it may be made when it is needed
        above = os.path.dirname(above)
    return Directory(path, exists, os.path.isabs(path) and _can_write(above))


def _can_write(directory: str) -> bool:
    """Whether a file can be made there; what permissions say is not always what a server does."""
    try:
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def _ask(argv: tuple[str, ...]) -> Answer:
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(None, "", "no answer within {:.0f} s".format(_PATIENCE))
    except OSError as error:
        return Answer(None, "", str(error))
    words = (one.decode(errors="replace")[:_WORDS] for one in (done.stdout, done.stderr))
    return Answer(done.returncode, *words)
