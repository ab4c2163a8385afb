"""Verify the key a host shows, in process: known, asked for once, or refused."""

from __future__ import annotations

import paramiko

from hpclaunch.errors import HostKeyError, TransportError
from hpclaunch.transports.base import Ask
from hpclaunch.transports.known_hosts import KnownHosts, Verdict, fingerprint, remember
from hpclaunch.transports.ssh_config import Settings

__all__ = ["prefer_known", "verify_host"]


def prefer_known(settings: Settings, transport: paramiko.Transport) -> None:
    """Ask for the key types we know the host by, so that a second one is not 'unknown'."""
    options = transport.get_security_options()
    wished = settings.host_key_algorithms
    usable = [name for name in options.key_types if not wished or name in wished]
    if not usable:
        raise TransportError(
            f"none of the HostKeyAlgorithms for {settings.alias} can be used",
            said=", ".join(wished),
            hint="use the openssh transport, or allow ssh-ed25519",
        )
    known = KnownHosts(settings.known_hosts + settings.global_known_hosts)
    kinds = known.kinds(settings.key_name)
    # One RSA key serves two signature algorithms.
    first = [name for name in usable if name in kinds or ("rsa" in name and "ssh-rsa" in kinds)]
    options.key_types = (*first, *(name for name in usable if name not in first))


def verify_host(settings: Settings, transport: paramiko.Transport, ask: Ask | None) -> None:
    """Accept the host's key if it is known, or if the person accepts an unknown one.

    Raises
    ------
    HostKeyError
        If the key is not the known one, is revoked, or is unknown and not accepted.
    """
    key = transport.get_remote_server_key()
    kind, blob, name = key.get_name(), key.asbytes(), settings.key_name
    known = KnownHosts(settings.known_hosts + settings.global_known_hosts)
    verdict, where = known.judge(name, kind, blob)
    if verdict is Verdict.UNKNOWN and name.startswith("["):
        # As ssh: an entry for the host without the port vouches for it, if it is this very key.
        plain, _ = known.judge(settings.hostname.lower(), kind, blob)
        verdict = plain if plain in (Verdict.KNOWN, Verdict.REVOKED) else verdict
    if verdict is Verdict.KNOWN:
        return
    shown = f"{key.algorithm_name} key fingerprint is {fingerprint(blob)}."
    if verdict is not Verdict.UNKNOWN:
        raise _refusal(settings, verdict, f"{shown}\nThe files say otherwise: {where}")
    if not _accepted(settings, shown, ask):
        raise HostKeyError(
            f"the host key of {settings.alias} is unknown and was not accepted",
            said=shown,
            hint="run this from a terminal, compare the fingerprint and answer yes",
        )
    try:
        remember(settings.known_hosts[0], name, kind, blob, hashed=settings.hash_known_hosts)
    except (OSError, IndexError) as error:
        raise HostKeyError(
            f"the host key of {settings.alias} cannot be remembered: {error}",
            hint="check UserKnownHostsFile and its permissions",
        ) from error


def _refusal(settings: Settings, verdict: Verdict, said: str) -> HostKeyError:
    hint = "ask the site whether its key has changed; if so, ssh-keygen -R HOST and log in"
    what = f"the host key of {settings.alias} is not the one we know; nothing was sent"
    if verdict is Verdict.REVOKED:
        what = f"the host key of {settings.alias} is revoked; nothing was sent"
    elif verdict is Verdict.AUTHORITY:
        what = f"{settings.alias} is known by a certificate authority, which paramiko cannot check"
        hint = "set login.transport to openssh"
    return HostKeyError(what, said=said, hint=hint)


def _accepted(settings: Settings, shown: str, ask: Ask | None) -> bool:
    """Whether an unknown key is accepted, by the configuration or by the person."""
    if settings.strict in ("no", "accept-new"):
        return True
    if settings.strict == "yes" or ask is None:
        return False
    prompt = (
        f"The authenticity of host '{settings.alias} ({settings.key_name})' can't be established.\n"
        f"{shown}\nAre you sure you want to continue connecting (yes/no/[fingerprint])? "
    )
    for _ in range(3):
        answer = ask(prompt, True).strip()
        if answer.lower() in ("yes", "no"):
            return answer.lower() == "yes"
        if answer.startswith("SHA256:"):
            return f" {answer}." in shown
        prompt = "Please type 'yes', 'no' or the fingerprint: "
    return False
