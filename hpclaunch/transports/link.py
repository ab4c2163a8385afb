"""One in-process SSH connection: the way there, the host's key, then the login.

A ProxyJump is a chain of such connections: each hop is verified and logged in to like any host,
and carries the next one in a channel.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import paramiko

from hpclaunch.errors import ProfileError, UnreachableError
from hpclaunch.transports.base import Ask
from hpclaunch.transports.host_key import prefer_known, verify_host
from hpclaunch.transports.login import log_in
from hpclaunch.transports.ssh_config import Settings, resolve
from hpclaunch.transports.target import Target

__all__ = ["Link", "open_link"]

# Without a handler Python prints paramiko's own tracebacks; every error reaches the user as ours.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

WINDOW = 1 << 24
"""Bytes a channel may send before we take them. On a way of 80 ms OpenSSH's own 2 MiB carry
23 MB/s and 8 MiB carry 80 MB/s (measured); more than this only costs memory."""
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""Asked for first: 227 MB/s through a forward on loopback, against 155 with aes128-ctr."""
_HOPS = 8


@dataclass(frozen=True)
class Link:
    """An authenticated connection and the connections that carry it, outermost first."""

    transport: paramiko.Transport
    carriers: tuple[paramiko.Transport, ...] = ()

    def close(self) -> None:
        """End the connection and those that carry it."""
        for transport in (self.transport, *reversed(self.carriers)):
            transport.close()


def open_link(target: Target, ask: Ask | None) -> Link:
    """Connect and log in to `target` over whatever its SSH configuration says.

    Raises
    ------
    UnreachableError, HostKeyError, LoginRefusedError, LoginNeededError, ProfileError
    """
    return _open(resolve(target), target, ask, depth=0)


def _open(settings: Settings, target: Target, ask: Ask | None, depth: int) -> Link:
    carriers: tuple[paramiko.Transport, ...] = ()
    if depth > _HOPS:
        raise ProfileError(f"ProxyJump of {settings.alias} goes over more than {_HOPS} hosts")
    if settings.proxy_jump is not None:
        before = _open_hop(settings.proxy_jump, target, ask, depth)
        carriers = (*before.carriers, before.transport)
    try:
        road = _road(settings, target.connect_timeout, carriers)
        transport = _handshake(settings, road, target.connect_timeout)
        try:
            verify_host(settings, transport, ask)
            log_in(transport, settings, ask)
        except BaseException:
            transport.close()
            raise
    except BaseException:
        for carrier in reversed(carriers):
            carrier.close()
        raise
    return Link(transport, carriers)


def _open_hop(jump: str, target: Target, ask: Ask | None, depth: int) -> Link:
    """Open the link to the last host of a ProxyJump list, over those before it."""
    *before, last = jump.split(",")
    user, host, port = _split(last)
    hop = Target(
        host,
        user=user,
        port=port,
        ssh_config=target.ssh_config,
        connect_timeout=target.connect_timeout,
    )
    settings = resolve(hop)
    if before:
        settings = replace(settings, proxy_jump=",".join(before), proxy_command=None)
    return _open(settings, hop, ask, depth + 1)


def _split(hop: str) -> tuple[str | None, str, int | None]:
    """Split ``[user@]host[:port]`` or ``ssh://…``; an IPv6 address with port is in brackets."""
    user, _, place = hop.removeprefix("ssh://").rstrip("/").rpartition("@")
    host, port = place, ""
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        port = port.removeprefix(":")
    elif place.count(":") == 1:
        host, _, port = place.partition(":")
    return user or None, host, int(port) if port else None


def _road(
    settings: Settings, timeout: float, carriers: Sequence[paramiko.Transport]
) -> socket.socket | paramiko.Channel:
    """Return the byte stream to the host's SSH server."""
    where = f"{settings.hostname} port {settings.port}"
    try:
        if carriers:
            place = (settings.hostname, settings.port)
            return carriers[-1].open_channel(
                "direct-tcpip", place, ("127.0.0.1", 0), window_size=WINDOW, timeout=timeout
            )
        if settings.proxy_command is not None:
            return _proxy(settings)
        road = socket.create_connection((settings.hostname, settings.port), timeout)
        road.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return road
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise UnreachableError(
            f"no connection to {settings.alias}",
            said=f"{where}: {error or type(error).__name__}",
            hint="check the host name, the network or VPN, and the site's status page",
        ) from error


def _proxy(settings: Settings) -> socket.socket:
    """Start the ProxyCommand on one end of a socket pair and return the other."""
    if sys.platform == "win32":
        raise ProfileError(f"ProxyCommand of {settings.alias}: use ProxyJump on Windows")
    ours, its = socket.socketpair()
    with its:
        process = subprocess.Popen(
            [os.environ.get("SHELL") or "/bin/sh", "-c", f"exec {settings.proxy_line}"],
            stdin=its.fileno(),
            stdout=its.fileno(),
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # the Ctrl-C of a terminal is not for it
        )
    threading.Thread(target=process.wait, daemon=True).start()  # it ends when its socket does
    return ours


def _handshake(
    settings: Settings, road: socket.socket | paramiko.Channel, timeout: float
) -> paramiko.Transport:
    """Agree on ciphers and keys with the server; return the transport, not yet verified."""
    transport = paramiko.Transport(road, default_window_size=WINDOW)
    transport.daemon = True
    # Longer than we wait ourselves: its own error for silence reads like a host that hangs up.
    transport.banner_timeout = timeout + 5
    options = transport.get_security_options()
    fast = [name for name in _CIPHERS if name in options.ciphers]
    options.ciphers = (*fast, *(name for name in options.ciphers if name not in fast))
    prefer_known(settings, transport)
    done = threading.Event()
    transport.start_client(event=done)
    deadline = time.monotonic() + timeout
    while transport.is_active() and not done.wait(0.05) and time.monotonic() < deadline:
        pass
    if transport.is_active() and done.is_set():
        return transport
    error = transport.get_exception() or "timed out"
    transport.close()
    raise UnreachableError(
        f"no connection to {settings.alias}",
        said=f"{settings.hostname} port {settings.port}: {error}",
        hint="the host answers, but not as an SSH server should; try again in some minutes",
    )
