"""What both SSH transports may ask of a site at once, and how long they wait for it."""

from __future__ import annotations

from hpclaunch.errors import CommandTimeout, UnreachableError
from hpclaunch.transports.base import Frame
from hpclaunch.transports.target import Target

__all__ = ["SESSIONS", "SILENCE", "busy", "silent", "timed_out"]

SESSIONS = 6
"""Commands at once: sshd allows 10 sessions by default (MaxSessions), and others may want some."""
SILENCE = 20.0
"""Seconds without an answer after which a connection is not used any more: a login node that is
only slow starts a shell in less."""


def busy(target: Target, frame: Frame, timeout: float) -> CommandTimeout:
    """The error for a command that never had its turn."""
    return CommandTimeout(
        f"{target} is busy: none of {SESSIONS} commands ended within {timeout:g} s; "
        "nothing was run",
        command=frame.argv,
    )


def timed_out(frame: Frame, timeout: float) -> CommandTimeout:
    """The error for a command that gave no answer."""
    return CommandTimeout(
        f"no answer within {timeout:g} s",
        command=frame.argv,
        hint="the login node may be overloaded; the command may still be running there",
    )


def silent(target: Target) -> UnreachableError:
    """The error for a connection that is there and gives no answer."""
    return UnreachableError(
        f"{target} does not answer through the connection we have",
        hint="the network may be down; the connection may come back with it",
    )
