"""Read ssh's own log: which error it means, and what the person can do about it."""

from __future__ import annotations

import re

from hpclaunch.errors import (
    HostKeyError,
    LoginNeededError,
    LoginRefusedError,
    TransportError,
    UnreachableError,
)

__all__ = ["connection_error", "login_ended", "login_error"]

_CHANGED = re.compile(r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key .*differs|REVOKED HOST KEY")
_UNKNOWN = re.compile(r"Host key verification failed|No .* host key is known for")
_DENIED = re.compile(r"Permission denied \(([^)]*)\)")
_REFUSED = re.compile(
    r"Too many authentication failures|Permission denied|not allowed at this time"
)
_NO_WAY = re.compile(
    r"Could not resolve hostname|Connection refused|timed out|No route to host"
    r"|Network is unreachable|Connection (closed|reset) by|kex_exchange_identification"
    r"|banner exchange|Broken pipe|not responding"
)
_ASKED = {"password", "keyboard-interactive"}


def connection_error(where: str, log: str, *, asking: bool, locked_key: bool) -> TransportError:
    """Return the error that ssh's `log` of a failed connection means.

    Parameters
    ----------
    where : str
        The login node as the person named it.
    log : str
        What ``ssh -E`` wrote.
    asking : bool
        Whether ssh could ask the person.
    locked_key : bool
        Whether one of the keys on offer has a passphrase.
    """
    if _CHANGED.search(log):
        return HostKeyError(
            f"the host key of {where} is not the one we know; nothing was sent",
            said=log,
            hint="ask the site whether its key has changed; if so, ssh-keygen -R HOST and log in",
        )
    if _UNKNOWN.search(log):
        return HostKeyError(
            f"the host key of {where} is unknown and was not accepted",
            said=log,
            hint="run this from a terminal, compare the fingerprint and answer yes",
        )
    if "Too many authentication failures" in log:
        return login_ended(where, log)
    denied = _DENIED.findall(log)
    if denied or _REFUSED.search(log):
        methods = set(denied[-1].split(",")) if denied else set()
        return login_error(where, methods, log, asking=asking, locked_key=locked_key)
    if _NO_WAY.search(log):
        return UnreachableError(
            f"no connection to {where}",
            said=log,
            hint="check the host name, the network or VPN, and the site's status page",
        )
    return TransportError(f"ssh could not connect to {where}", said=log or "(nothing)")


def login_error(
    where: str, methods: set[str], said: str, *, asking: bool, locked_key: bool
) -> TransportError:
    """Return the error for a login that failed, `methods` being what the host still accepts."""
    if not asking and (methods & _ASKED or locked_key):
        return LoginNeededError(
            f"{where} wants a password, a code or a passphrase, and nobody is here to ask",
            said=said,
            hint="log in from a terminal first, or add the key to an ssh-agent (ssh-add)",
        )
    ways = ", ".join(sorted(methods)) or "unknown"
    return LoginRefusedError(
        f"{where} did not let us in (it accepts: {ways})",
        said=said,
        hint="check user name and key; is the key's public half on file at the site?",
    )


def login_ended(where: str, said: str) -> LoginRefusedError:
    """Return the error for a host that hung up in the midst of a login."""
    return LoginRefusedError(
        f"{where} ended the login after too many keys or answers",
        said=said,
        hint="name the one key that the site knows as login.identity; "
        "many sites lock an address out for some minutes, so wait before you try again",
    )
