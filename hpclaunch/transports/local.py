"""This machine as a site: the same frame and the same answers, without a network."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from hpclaunch.shell import Completed
from hpclaunch.transports.base import Ask, Endpoint, Frame
from hpclaunch.transports.pipes import exchange

__all__ = ["LocalTransport"]


class LocalTransport:
    """Runs commands on this machine through POSIX sh, without a login shell.

    Parameters
    ----------
    prologue : sequence of str
        Lines of POSIX sh that run before every command.

    Examples
    --------
    >>> LocalTransport().run(["printf", "%s", "$HOME"]).stdout
    '$HOME'
    """

    def __init__(self, prologue: Sequence[str] = ()) -> None:
        self._prologue = tuple(prologue)
        self.lost = threading.Event()
        """Never set: this machine does not go away from itself."""

    def connect(self, ask: Ask | None = None) -> None:
        """Do nothing; there is nothing to connect to."""

    def hold(self) -> None:
        """Do nothing; there is no connection to keep."""

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0) -> Completed:
        """Run `argv` here; see `Transport.run`."""
        frame = Frame.around(argv, self._prologue)
        said = exchange(["/bin/sh", "-c", frame.command_line()], frame, stdin, timeout)
        return frame.unwrap(said.stdout, said.stderr)

    def forward(self, host: str, port: int) -> Endpoint:
        """Return `host`:`port` itself."""
        return Endpoint(host=host, port=port)

    def unforward(self, host: str, port: int) -> None:
        """Do nothing."""

    def is_alive(self, timeout: float = 5.0) -> bool:
        """Return True."""
        return True

    def renew(self, patience: float) -> None:
        """Do nothing; there is nothing to renew."""

    def close(self) -> None:
        """Do nothing."""
