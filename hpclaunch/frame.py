"""The frame around one remote command: what is banner, what is the command's own word."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from hpclaunch.errors import TransportError
from hpclaunch.shell import Completed, join, quote

__all__ = ["Frame"]


@dataclass(frozen=True)
class Frame:
    """The frame around one remote command, so that banners and rc files cannot be mistaken for it.

    Both streams carry ``begin`` and ``end`` marks with a nonce; the exit status stands behind
    the end mark. The command text itself travels on stdin, ahead of the command's own stdin, so
    that the login shell (bash, csh, fish, anything) only ever sees one fixed, plain line.
    """

    argv: tuple[str, ...]
    nonce: str
    prologue: tuple[str, ...] = ()

    @classmethod
    def around(cls, argv: Sequence[str], prologue: Sequence[str] = ()) -> Frame:
        """Frame `argv` with a fresh nonce; `prologue` lines of sh run before it.

        Raises
        ------
        ValueError
            If `argv` names no command, or one that ``exec`` would read as an option.
        """
        if not argv or argv[0] == "" or argv[0].startswith("-"):
            raise ValueError(f"not a command: {list(argv)!r}")
        return cls(tuple(argv), secrets.token_hex(8), tuple(prologue))

    def script(self) -> str:
        """The POSIX sh text that runs the command between the marks."""
        begin, end = quote(f"\n<hpclaunch {self.nonce}>\n"), quote(f"\n</hpclaunch {self.nonce} ")
        # The prologue may not eat the command's stdin; braces keep it in this very shell.
        prologue = ["{", *self.prologue, "} </dev/null"] if self.prologue else []
        return "\n".join(
            [
                *prologue,
                f"printf %s {begin}",
                f"printf %s {begin} >&2",
                f"( exec {join(self.argv)} )",
                "rc=$?",
                f"printf '%s%s>\\n' {end} \"$rc\" >&2",
                f"printf '%s%s>\\n' {end} \"$rc\"",
                "exit 0",
                "",
            ]
        )

    def command_line(self) -> str:
        """The line for the login shell: read the script from stdin, then run it.

        ``dd bs=1`` takes exactly the script and leaves the rest of stdin to the command.
        """
        size = len(self._script_bytes())
        return f"exec /bin/sh -c 'eval \"$(dd bs=1 count={size} 2>/dev/null)\"'"

    def stdin(self, payload: bytes) -> bytes:
        """What to write: the script, then the command's own stdin."""
        return self._script_bytes() + payload

    def ended(self, stream: bytes) -> bool:
        """Whether the end mark stands in this part of a stream; nothing of worth comes after it."""
        return re.search(rb"\n</hpclaunch %s \d+>" % self.nonce.encode(), stream) is not None

    def began(self, stdout: bytes) -> bool:
        """Whether the command, or its prologue at least, may have run."""
        return f"<hpclaunch {self.nonce}>".encode() in stdout

    def unwrap(self, stdout: bytes, stderr: bytes) -> Completed:
        """Cut the command's own words out of both streams.

        Raises
        ------
        TransportError
            If the frame is not whole: the connection broke or the login shell never ran it.
        """
        out, status = self._inside(stdout)
        err, _ = self._inside(stderr)
        if out is None or status is None:
            raise TransportError(
                "the site's login shell did not run our command to its end",
                command=self.argv,
                said=(stderr.strip() or stdout).decode(errors="replace")[-2000:],
                hint="try the command by hand over ssh; a login script may end the shell early",
            )
        return Completed(self.argv, status, out, "" if err is None else err)

    def _script_bytes(self) -> bytes:
        # File names that are not UTF-8 travel as Python spells them.
        return self.script().encode(errors="surrogateescape")

    def _inside(self, stream: bytes) -> tuple[str | None, int | None]:
        text = stream.decode(errors="replace")
        _, begun, rest = text.partition(f"\n<hpclaunch {self.nonce}>\n")
        body, ended, tail = rest.rpartition(f"\n</hpclaunch {self.nonce} ")
        if not (begun and ended):
            return None, None
        status = tail.partition(">")[0]
        return body, int(status) if status.isdigit() else None
