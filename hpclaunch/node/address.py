"""Which addresses of this node others can reach: found at run time, on the node itself.

Profiles can only hint: interface names differ between login and compute nodes, and a node's name
may resolve to loopback (Debian writes 127.0.1.1 into /etc/hosts). Nothing here sends a packet.

Standard library only, Python 3.9 or newer: this runs on the compute node. IPv4 only.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Iterable
from typing import Optional

__all__ = ["LOOPBACK", "for_login", "for_nodes", "interface_of", "interfaces"]

LOOPBACK = "127.0.0.1"
_SUBMIT_HOST = ("SLURM_SUBMIT_HOST", "PBS_O_HOST", "LSB_SUB_HOST")
_SIOCGIFADDR = 0x8915  # linux/sockios.h: the IPv4 address of an interface


def for_login(interface: Optional[str] = None) -> list[str]:
    """Addresses for a connection from the login node, the most likely first.

    The route back to the host that submitted the job is the best evidence; then what the site
    recommends, what the node's name resolves to, and every other interface.
    """
    return _usable([_toward_submit_host(), _of_interface(interface), *_of_name(), *_all()])


def for_nodes(interface: Optional[str] = None) -> list[str]:
    """Addresses for connections from other compute nodes, the most likely first.

    Here the site's recommendation (its fast network) goes first.
    """
    return _usable([_of_interface(interface), *_of_name(), _toward_submit_host(), *_all()])


def interface_of(address: str) -> Optional[str]:
    """The name of the interface that has an address; None where none has it."""
    names = (name for _, name in socket.if_nameindex())
    return next((name for name in names if _of_interface(name) == address), None)


def interfaces() -> dict[str, str]:
    """The interfaces by which others may reach this node: their names, and the address of each."""
    found = {name: _of_interface(name) for _, name in socket.if_nameindex()}
    return {name: address for name, address in found.items() if address and _usable([address])}


def _usable(candidates: Iterable[Optional[str]]) -> list[str]:
    """Candidates in order, each once, without loopback and link-local ones."""
    useless = ("127.", "169.254.", "0.")
    found = (address for address in candidates if address and not address.startswith(useless))
    return list(dict.fromkeys(found))


def _of_interface(name: Optional[str]) -> Optional[str]:
    """The IPv4 address of the interface `name`; None where it has none or does not exist."""
    if not name:
        return None
    request = struct.pack("256s", os.fsencode(name)[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])


def _all() -> list[Optional[str]]:
    return [_of_interface(name) for _, name in socket.if_nameindex()]


def _of_name() -> list[str]:
    """What this node's own name resolves to."""
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(entry[4][0]) for entry in found]


def _toward_submit_host() -> Optional[str]:
    """The address this node uses to talk to the host that submitted the job."""
    told = (os.environ.get(name) for name in _SUBMIT_HOST)
    host = next((one for one in told if one), None)
    if host is None:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))  # a datagram socket only looks up the route
        except OSError:
            return None
        return str(probe.getsockname()[0])
