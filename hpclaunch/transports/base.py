"""The way to a site: what a transport does, and the hearing of what a framed command says.

A transport knows no scheduler. It runs argv lists on the login node, moves small files and
forwards ports; that is all. Three exist: `openssh`, `ssh` (paramiko) and `local`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hpclaunch.frame import Frame
from hpclaunch.shell import Completed

__all__ = ["Ask", "Endpoint", "Frame", "Heard", "Transport"]

Ask = Callable[[str, bool], str]
"""Ask the person: ``ask(prompt, echo) -> answer``. Raises `LoginNeededError` where none is here."""


@dataclass(frozen=True)
class Endpoint:
    """A local address that leads to one port on the site.

    Attributes
    ----------
    path : str or None
        A UNIX socket in a 0700 directory, or
    host, port : str, int
        a TCP address.
    """

    path: str | None = None
    host: str = "127.0.0.1"
    port: int = 0


class Transport(Protocol):
    """The way to one site's login node.

    All methods may be called from several threads at once. All but `is_alive` and `close`
    raise `TransportError` when the way is broken; a command's non-zero exit never raises.

    Attributes
    ----------
    lost : threading.Event
        Set when a held connection has ended by itself, or a call found it gone; cleared by
        `connect`. Never set by `close`.
    """

    lost: threading.Event

    def connect(self, ask: Ask | None = None) -> None:
        """Make the one authenticated connection, or do nothing where it is alive.

        After a loss the forwards that were open are opened again at the same endpoints, and a
        connection that was held is held again.

        Raises
        ------
        UnreachableError, HostKeyError, LoginRefusedError
            As their names say; the site's own words are kept.
        LoginNeededError
            If a secret is needed and `ask` is None.
        """

    def hold(self) -> None:
        """Keep the connection for as long as this process lives, and watch it; idempotent.

        For the process that uses the connection for long. Without it an unused connection may
        end by itself after a minute, and `lost` is only set by a call that fails.
        """

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0) -> Completed:
        """Run `argv` on the login node through POSIX sh and return what it said.

        Parameters
        ----------
        argv : sequence of str
            The command, not interpreted by any shell.
        stdin : bytes
            Given to the command; secrets travel here.
        timeout : float
            Seconds until `CommandTimeout`.
        """

    def forward(self, host: str, port: int) -> Endpoint:
        """Open a way to `host`:`port` as seen from the login node; idempotent."""

    def unforward(self, host: str, port: int) -> None:
        """Close what `forward` opened; connections through it may break."""

    def is_alive(self, timeout: float = 5.0) -> bool:
        """Whether the connection answers, within `timeout` seconds and without asking anything."""

    def renew(self, patience: float) -> None:
        """Have a connection that answers, where the one we have is silent or gone.

        A second connection is made beside it, without asking anybody; the forwards are opened
        again through it at the same endpoints. The old one is only let go when the new one
        stands, and kept when it answers first.

        Parameters
        ----------
        patience : float
            Seconds for the host to answer at all.

        Raises
        ------
        TransportError
            As `connect` without `ask`; the old connection is then as it was.
        """

    def close(self) -> None:
        """End the connection and every forward; idempotent."""


@dataclass
class Heard:
    """One stream of a framed command, as heard so far.

    Attributes
    ----------
    words : bytearray
        All of it, noise and marks included.
    done : bool
        Whether the stream or the frame in it has ended. A process that the command left in the
        background may hold the stream open for long; what matters is over at the end mark.
    """

    frame: Frame
    words: bytearray = field(default_factory=bytearray)
    done: bool = False

    def take(self, chunk: bytes) -> None:
        """Add the next piece; an empty one is the end of the stream."""
        self.words += chunk
        tail = bytes(self.words[-len(chunk) - 64 :])  # a mark may be cut in two pieces
        self.done = self.done or not chunk or self.frame.ended(tail)
