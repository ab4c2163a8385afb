"""Choose a transport by name."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from hpclaunch.errors import ProfileError
from hpclaunch.transports.base import Transport
from hpclaunch.transports.local import LocalTransport
from hpclaunch.transports.target import Target

__all__ = ["KINDS", "make_transport", "resolve_kind"]

KINDS = ("auto", "openssh", "paramiko", "local")


def resolve_kind(kind: str) -> str:
    """Return the transport that `kind` means on this machine; only ``auto`` changes.

    ``auto`` is OpenSSH where it can share one connection, which it cannot on Windows, and
    paramiko elsewhere.

    Raises
    ------
    ProfileError
        If `kind` is unknown or not to be had on this machine.
    """
    if kind not in KINDS:
        raise ProfileError(
            f"login.transport is {kind!r}", hint=f"choose one of: {', '.join(KINDS)}"
        )
    shares = sys.platform != "win32" and shutil.which("ssh") is not None
    if kind == "auto":
        return "openssh" if shares else "paramiko"
    if kind == "openssh" and not shares:
        raise ProfileError(
            "this machine has no ssh that can share a connection",
            hint="install OpenSSH, or set login.transport to paramiko",
        )
    return kind


def make_transport(
    kind: str, target: Target | None = None, control_dir: Path | None = None
) -> Transport:
    """Return an unconnected transport.

    Parameters
    ----------
    kind : {"auto", "openssh", "paramiko", "local"}
        See `resolve_kind`.
    target : Target, optional
        Where to log in; ``local`` takes only its prologue.
    control_dir : Path, optional
        A directory of mode 0700 with a short path, for sockets; not for ``local``.

    Raises
    ------
    ProfileError
        As `resolve_kind`, or if a login host is missing.
    """
    kind = resolve_kind(kind)
    if kind == "local":
        return LocalTransport(target.prologue if target else ())
    if target is None or control_dir is None:
        raise ProfileError(f"transport {kind!r} needs a login host")
    if kind == "openssh":
        from hpclaunch.transports.openssh import OpenSSH

        return OpenSSH(target, control_dir)
    from hpclaunch.transports.ssh import ParamikoSSH

    return ParamikoSSH(target, control_dir)
