"""Private key files: what can be told about one without its passphrase."""

from __future__ import annotations

import base64
import binascii
import struct
from pathlib import Path

__all__ = ["is_locked", "public_blob"]

_MAGIC = b"openssh-key-v1\0"


def is_locked(path: Path) -> bool:
    """Whether the private key at `path` needs a passphrase; False where there is no key.

    The first field of the OpenSSH format is the cipher's name, ``none`` for an open key
    (PROTOCOL.key of OpenSSH); the older PEM forms say ENCRYPTED in a header line.
    """
    try:
        text = path.read_bytes()
    except OSError:
        return False
    fields = _fields(text)
    return b"ENCRYPTED" in text if fields is None else fields[0] != b"none"


def public_blob(path: Path) -> bytes | None:
    """Return the public half of the private key at `path` as it goes over the wire.

    It stands open in the OpenSSH format; for the PEM forms ``path.pub`` is read. `path` may be a
    public key itself, whose other half is in an agent. None where nothing tells.
    """
    try:
        fields = _fields(path.read_bytes())
        if fields is not None:
            return fields[4]
        public = path if path.suffix == ".pub" else path.with_name(path.name + ".pub")
        return base64.b64decode(public.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _fields(text: bytes) -> tuple[bytes, bytes, bytes, int, bytes] | None:
    """The open head of an OpenSSH key: cipher, kdf, its options, number of keys, public key."""
    if b"BEGIN OPENSSH PRIVATE KEY" not in text:
        return None
    body = b"".join(line for line in text.splitlines() if not line.startswith(b"-----"))
    try:
        blob = base64.b64decode(body)
        if not blob.startswith(_MAGIC):
            return None
        at = len(_MAGIC)
        cipher, at = _string(blob, at)
        kdf, at = _string(blob, at)
        options, at = _string(blob, at)
        (count,) = struct.unpack_from(">I", blob, at)
        return cipher, kdf, options, count, _string(blob, at + 4)[0]
    except (binascii.Error, struct.error):
        return None


def _string(blob: bytes, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from(">I", blob, at)
    return blob[at + 4 :][:length], at + 4 + length
