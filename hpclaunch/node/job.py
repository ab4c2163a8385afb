"""What every job of ours does on its node: read what it shall do, say how it goes, tidy up.

Standard library only, Python 3.9 or newer: this runs on the compute node.
"""

from __future__ import annotations

import os
import sys
from typing import Callable

from hpclaunch.node import outside, processes
from hpclaunch.node.failure import Failure
from hpclaunch.node.files import remove, write_private_json
from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import Session, SpecError, read_session

__all__ = ["begin", "remove_secrets", "report", "say"]


def begin(argv: list[str], module: str, run: Callable[[Session, processes.Bell, int], int]) -> int:
    """Run a job; returns the exit code.

    Parameters
    ----------
    argv : list of str
        The session's directory.
    module : str
        Who is called, for the usage line.
    run : callable
        Gets the session, the bell that wakes it, and the user's own umask: what notebooks and
        scripts write may be meant for a group, while ours is 077. A `SpecError` is told.
    """
    umask = os.umask(0o077)
    if len(argv) != 1:
        say("usage: python -m {} SESSION_DIR".format(module))
        return 2
    bell = processes.Bell()
    processes.adopt_orphans()
    try:
        session = read_session(argv[0])
        if session.container is not None:
            outside.go_outside(_outside(session), os.environ)
        return run(session, bell, umask)
    except SpecError as error:
        return report(argv[0], Failure.bad_session(str(error)))


def _outside(session: Session) -> list[str]:
    """The commands that an image does not have, and the session needs."""
    launcher = (session.block and session.block.launcher) or ()
    by_ssh = session.jobs is not None and session.jobs.submit == "ssh"
    return outside.commands_of(session.scheduler, launcher, by_ssh)


def say(text: str) -> None:
    """Write one line to the job's log."""
    print("hpclaunch agent: " + text, file=sys.stderr, flush=True)


def report(directory: str, failure: Failure) -> int:
    """Tell the laptop why the session ends; returns the exit code of the job."""
    say("{}: {}".format(failure.cause, failure.what))
    try:
        write_private_json(os.path.join(directory, Layout.FAILURE), failure.to_dict())
    except OSError as error:
        say("this could not be written to {}: {}".format(Layout.FAILURE, error))
    return failure.exit_code


def remove_secrets(session: Session) -> None:
    """Remove every secret of a session that ends."""
    for name in Layout.SECRETS:
        try:
            remove(session.path(name))
        except OSError as error:
            say("a secret of this session is left behind: {}".format(error))
