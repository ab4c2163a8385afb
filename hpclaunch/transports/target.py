"""Where a site's login node is, and how the user gets there."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from hpclaunch.errors import ProfileError

__all__ = ["Target"]

_PLAIN = re.compile(r"[^\s\x00-\x1f\x7f-][^\s\x00-\x1f\x7f]*")


@dataclass(frozen=True)
class Target:
    """One login node, as the user names it.

    Parameters
    ----------
    host : str
        A host name, an address, or an alias of the user's SSH configuration.
    user : str, optional
        The login name; else what the SSH configuration says.
    port : int, optional
        The port of the SSH server; else what the SSH configuration says.
    identity : str, optional
        Path of a private key; only this one and those of the SSH configuration are then offered.
    ssh_config : Path, optional
        Read instead of ``~/.ssh/config`` and the system's file.
    prologue : tuple of str
        Lines of POSIX sh that run before every command on the login node.
    connect_timeout : float
        Seconds until an unanswered attempt to connect is given up.

    Raises
    ------
    ProfileError
        If host, user or port cannot be what they are meant to be.
    """

    host: str
    user: str | None = None
    port: int | None = None
    identity: str | None = None
    ssh_config: Path | None = None
    prologue: tuple[str, ...] = ()
    connect_timeout: float = 20.0

    def __post_init__(self) -> None:
        """Refuse what ssh would read as an option or as two words."""
        for name, value in (("host", self.host), ("user", self.user)):
            if value is not None and not _PLAIN.fullmatch(value):
                raise ProfileError(
                    f"login {name} {value!r} is not a {name} name",
                    hint="it may not be empty, hold blanks or begin with a dash",
                )
        if self.port is not None and not 0 < self.port < 65536:
            raise ProfileError(f"login port {self.port} is not a port number (1 to 65535)")

    @property
    def key(self) -> str:
        """A short name of this way to log in, the same in every process (12 hex digits)."""
        parts = (self.host, self.user, self.port, self.identity, self.ssh_config)
        return hashlib.sha256(repr([str(part) for part in parts]).encode()).hexdigest()[:12]

    def __str__(self) -> str:
        """The name a person would type after ``ssh``."""
        return f"{self.user}@{self.host}" if self.user else self.host
