"""The keys a host may be offered, in the order that costs the person least."""

from __future__ import annotations

import io
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from paramiko.agent import AgentKey, AgentSSH
from paramiko.pkey import PublicBlob

from hpclaunch.transports.base import Ask
from hpclaunch.transports.keys import is_locked, public_blob
from hpclaunch.transports.ssh_config import Settings

__all__ = ["Keyring"]

_TRIALS = 3
_CERTIFICATE = "-cert-v01@openssh.com"
_KINDS = (
    (Ed25519PrivateKey, paramiko.Ed25519Key),
    (EllipticCurvePrivateKey, paramiko.ECDSAKey),
    (RSAPrivateKey, paramiko.RSAKey),
)


class Keyring:
    """Iterates over keys: the agent's, then files without a passphrase, then files with one.

    Where a key has a certificate the certificate goes first. A passphrase is asked for only when
    its key's turn comes.

    Attributes
    ----------
    locked : bool
        Whether a key was passed over because nobody could be asked for its passphrase.
    complaints : list of str
        Why files could not be used, one line each.
    """

    def __init__(self, settings: Settings, ask: Ask | None) -> None:
        self._settings = settings
        self._ask = ask
        self._agent: AgentSSH | None = None
        self.locked = False
        self.complaints: list[str] = []

    def __iter__(self) -> Iterator[paramiko.PKey]:
        """Yield the keys; each file and each of the agent's keys once."""
        files = [path for path in self._settings.identities if path.is_file()]
        halves = {path: public_blob(path) for path in files}
        held = self._agent_keys()
        listed = {blob: path for path, blob in halves.items() if blob in held}
        for blob, path in listed.items():
            yield from self._with_certificates(held[blob], path)
        if not self._settings.identities_only:
            for blob in [blob for blob in held if blob not in listed]:
                yield from self._with_certificates(held[blob])
        rest = [path for path in files if halves[path] not in held and path.suffix != ".pub"]
        for path in sorted(rest, key=is_locked):
            key = self._load(path)
            if key is not None:
                yield from self._with_certificates(key, path)

    def close(self) -> None:
        """Let go of the agent."""
        if self._agent is not None:
            self._agent._close()  # type: ignore[attr-defined]

    def _agent_keys(self) -> dict[bytes, paramiko.PKey]:
        try:
            self._agent = _open_agent(self._settings.agent)
        except (OSError, paramiko.SSHException) as error:
            self.complaints.append(f"the ssh-agent cannot be used: {error}")
        keys: tuple[AgentKey, ...] = self._agent.get_keys() if self._agent else ()
        for key in keys:
            if key.name.endswith(_CERTIFICATE):
                # What is offered is the certificate; paramiko would offer the bare key's bytes.
                key.public_blob = PublicBlob(key.name, key.blob)  # type: ignore[assignment]
        return {key.blob: key for key in keys}

    def _load(self, path: Path) -> paramiko.PKey | None:
        """Open the key file, asking for its passphrase where it has one."""
        if not is_locked(path):
            return self._read(path, None)
        if self._ask is None:
            self.locked = True
            return None
        for _ in range(_TRIALS):
            secret = self._ask(f"Passphrase for key '{path}' (empty to pass over): ", False)
            if not secret:
                return None
            key = self._read(path, secret)
            if key is not None:
                return key
        return None

    def _read(self, path: Path, secret: str | None) -> paramiko.PKey | None:
        try:
            return _open_key(path, None if secret is None else secret.encode())
        except (
            *(ValueError, TypeError, OSError),
            *(UnsupportedAlgorithm, paramiko.SSHException),
        ) as error:
            self.complaints.append(f"{path}: {error}")
        return None

    def _with_certificates(
        self, key: paramiko.PKey, path: Path | None = None
    ) -> Iterator[paramiko.PKey]:
        """Yield `key` with each certificate for it, then bare; one object in turn."""
        files = list(self._settings.certificates)
        if path is not None:
            bare = path.with_suffix("") if path.suffix == ".pub" else path
            files.append(bare.with_name(bare.name + "-cert.pub"))
        # The public numbers stand in the certificate just as in the key, behind the type's name.
        numbers = key.asbytes()[4 + len(key.get_name()) :]
        for certificate in files if key.public_blob is None else []:
            if not certificate.is_file():
                continue
            try:
                blob = PublicBlob.from_file(str(certificate))
            except ValueError as error:
                self.complaints.append(f"{certificate}: {error}")
                continue
            if numbers in blob.key_blob:
                key.public_blob = blob
                yield key
                key.public_blob = None
        yield key


def _open_key(path: Path, secret: bytes | None) -> paramiko.PKey:
    """Open a key file of any format; the open key goes no further than this process.

    Raises
    ------
    ValueError, TypeError, UnsupportedAlgorithm
        If the passphrase is wrong or missing, or the key is of a kind paramiko has not.
    """
    data = path.read_bytes()
    try:
        loaded: object = serialization.load_ssh_private_key(data, secret)
    except ValueError:
        loaded = serialization.load_pem_private_key(data, secret)
    for kind, wrapper in _KINDS:
        if isinstance(loaded, kind):
            text = loaded.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            )
            key: paramiko.PKey = wrapper.from_private_key(io.StringIO(text.decode()))
            return key
    raise ValueError(f"keys of the kind {type(loaded).__name__} cannot be used")


def _open_agent(setting: str | None) -> AgentSSH | None:
    """Connect to the agent that ``IdentityAgent`` names; None where there is none."""
    if setting == "none":
        return None
    if setting in (None, "SSH_AUTH_SOCK"):
        if sys.platform == "win32":
            return paramiko.Agent()
        setting = os.environ.get("SSH_AUTH_SOCK")
    elif setting is not None and setting.startswith("$"):
        setting = os.environ.get(setting[1:].strip("{}"))
    if not setting:
        return None
    road = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    road.connect(str(Path(setting).expanduser()))
    agent = AgentSSH()
    agent._connect(road)  # type: ignore[attr-defined]
    return agent
