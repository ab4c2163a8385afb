"""Shell words: the one function that quotes, and what a command said.

Every string that reaches a shell, in a rendered script or in a command line, passes `quote`.
Commands are argv lists everywhere else.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Completed", "join", "printable", "quote", "site_word"]

# The reserved words of POSIX sh (Shell Command Language, 2.4) and of bash that `shlex.quote`
# leaves as they are.
_KEYWORDS = frozenset(
    {
        *("case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function"),
        *("if", "in", "select", "then", "time", "until", "while"),
    }
)
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=", re.ASCII)


def quote(text: str) -> str:
    """Return `text` as one word of POSIX sh that means exactly `text`.

    Parameters
    ----------
    text : str
        Anything but NUL, which no argv can carry.

    Returns
    -------
    str
        The word. It is one argument of a command, so a command that could mistake a leading
        dash for an option must still be given ``--`` or a ``--name=value`` spelling.

    Raises
    ------
    ValueError
        If `text` holds a NUL character.

    Examples
    --------
    >>> quote("$(reboot) it's")
    '\\'$(reboot) it\\'"\\'"\\'s\\''
    """
    if "\0" in text:
        raise ValueError(f"a shell word cannot hold a NUL character: {text!r}")
    return shlex.quote(text)


def site_word(path: str) -> str:
    """Return `path` as one word of sh, in which a leading ``~/`` is the home there.

    Examples
    --------
    >>> site_word("~/my env/bin/python")
    '"$HOME"/\'my env/bin/python\''
    """
    return '"$HOME"/' + quote(path[2:]) if path.startswith("~/") else quote(path)


def printable(text: str, keep: str = "") -> str:
    """Return `text` as one line that any terminal and any file may show, whoever wrote it.

    Parameters
    ----------
    text : str
    keep : str
        Characters that stay, though they are not printable.
    """
    return "".join(
        char if char.isprintable() or char in keep else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def join(words: Iterable[str]) -> str:
    """Return argv `words` as one line of POSIX sh that runs exactly this command.

    Examples
    --------
    >>> join(["then", "a b"])
    "'then' 'a b'"
    """
    quoted = [quote(word) for word in words]
    if quoted and (quoted[0] in _KEYWORDS or _ASSIGNMENT.match(quoted[0])):
        quoted[0] = f"'{quoted[0]}'"  # else the shell would not take it for a command
    return " ".join(quoted)


@dataclass(frozen=True)
class Completed:
    """A command that has run: what it was and what it said.

    Attributes
    ----------
    argv : tuple of str
        What ran.
    exit : int
        Its exit status.
    stdout, stderr : str
        What it printed, without the chatter of login shells around it.
    """

    argv: tuple[str, ...]
    exit: int
    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        """What the command told a person: stderr, else stdout."""
        return self.stderr.strip() or self.stdout.strip()

    @classmethod
    def of(cls, argv: Sequence[str], exit: int, stdout: str = "", stderr: str = "") -> Completed:
        """Build one from an argv list."""
        return cls(tuple(argv), exit, stdout, stderr)
