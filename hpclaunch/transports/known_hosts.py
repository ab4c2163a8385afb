"""The user's files of known host keys, read and verified as OpenSSH does (``sshd(8)``)."""

from __future__ import annotations

import base64
import enum
import fnmatch
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["HostKey", "KnownHosts", "Verdict", "fingerprint", "remember"]


class Verdict(enum.Enum):
    """What the files say about a key that a host has shown."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    REVOKED = "revoked"
    AUTHORITY = "authority"
    """The host is vouched for by a certificate authority only, and showed a plain key."""


@dataclass(frozen=True)
class HostKey:
    """One line of a file: which hosts, which key, and ``cert-authority`` or ``revoked``."""

    marker: str
    names: tuple[str, ...]
    kind: str
    blob: bytes
    where: str

    def covers(self, name: str) -> bool:
        """Whether `name` (``host`` or ``[host]:port``) is meant by this line."""
        found = False
        for pattern in self.names:
            if pattern.startswith("|1|"):
                found = found or _hashed(pattern, name)
            elif pattern.startswith("!"):
                if _like(pattern[1:], name):
                    return False
            else:
                found = found or _like(pattern, name)
        return found


class KnownHosts:
    """The keys of several files, in their order.

    Parameters
    ----------
    files : sequence of Path
        Files that may be missing.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._keys = [key for path in files for key in _read(path)]

    def kinds(self, name: str) -> list[str]:
        """Return the types of the keys known for `name`, to ask the host for one of these."""
        return [key.kind for key in self._keys if not key.marker and key.covers(name)]

    def judge(self, name: str, kind: str, blob: bytes) -> tuple[Verdict, str]:
        """Judge the key that the host `name` has shown.

        A host of which we know keys, but none of the type it shows, counts as changed: we asked
        for the known types first, so it has lost them.

        Returns
        -------
        Verdict
        str
            The file and line that decided, or an empty string.
        """
        lines = [key for key in self._keys if key.covers(name)]
        for key in lines:
            if key.marker == "@revoked" and key.blob == blob:
                return Verdict.REVOKED, key.where
        plain = [key for key in lines if not key.marker]
        for key in plain:
            if (key.kind, key.blob) == (kind, blob):
                return Verdict.KNOWN, key.where
        if plain:
            return Verdict.CHANGED, ", ".join(key.where for key in plain)
        authorities = [key for key in lines if key.marker == "@cert-authority"]
        if authorities:
            return Verdict.AUTHORITY, authorities[0].where
        return Verdict.UNKNOWN, ""


def fingerprint(blob: bytes) -> str:
    """Return the fingerprint of a public key as OpenSSH prints it.

    Examples
    --------
    >>> fingerprint(b"")
    'SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU'
    """
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def remember(path: Path, name: str, kind: str, blob: bytes, *, hashed: bool) -> None:
    """Append a key to `path`, which becomes the user's alone (0600) if it is new.

    Parameters
    ----------
    hashed : bool
        Whether to hide the name, as ``HashKnownHosts`` asks.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shown = _hash(secrets.token_bytes(20), name) if hashed else name
    line = f"{shown} {kind} {base64.b64encode(blob).decode()}\n"
    whole = not path.is_file() or path.read_bytes()[-1:] in (b"", b"\n")
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "w") as stream:
        stream.write(line if whole else "\n" + line)


def _read(path: Path) -> Iterator[HostKey]:
    try:
        lines = path.read_text(errors="replace").split("\n")
    except (FileNotFoundError, NotADirectoryError):
        return
    for number, line in enumerate(lines, 1):
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#"):
            continue
        try:
            blob = base64.b64decode(words[2], validate=True)
        except ValueError:
            continue  # as ssh does: a damaged line vouches for nobody
        yield HostKey(marker, tuple(words[0].split(",")), words[1], blob, f"{path}:{number}")


def _like(pattern: str, name: str) -> bool:
    # Only * and ? are wild in these files; fnmatch would also read [host] as a set.
    return fnmatch.fnmatchcase(name, pattern.lower().replace("[", "[[]"))


def _hash(salt: bytes, name: str) -> str:
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def _hashed(pattern: str, name: str) -> bool:
    try:
        salt = base64.b64decode(pattern.split("|")[2])
    except (IndexError, ValueError):
        return False
    return _hash(salt, name) == pattern
