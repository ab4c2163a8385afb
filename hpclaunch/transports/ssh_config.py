"""What the user's SSH configuration says about a host."""

from __future__ import annotations

import getpass
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpclaunch.errors import ProfileError
from hpclaunch.transports.target import Target

__all__ = ["Settings", "resolve", "settings_from", "ssh_options"]

_METHODS = ("publickey", "keyboard-interactive", "password")
_SWITCHES = {
    "publickey": "pubkeyauthentication",
    "keyboard-interactive": "kbdinteractiveauthentication",
    "password": "passwordauthentication",
}
_NO = ("no", "false", "off")


@dataclass(frozen=True)
class Settings:
    """The resolved configuration of one host; names follow ``ssh_config(5)``.

    Attributes
    ----------
    alias, hostname, user, port
        The name asked for, and where that leads.
    identities, certificates : tuple of Path
        Key and certificate files in the order of trial; they may not exist.
    agent : str or None
        ``IdentityAgent`` as written: a socket, ``SSH_AUTH_SOCK``, ``none``; None if not set.
    known_hosts, global_known_hosts : tuple of Path
        Files of known host keys; the first of `known_hosts` takes new ones.
    strict : str
        ``StrictHostKeyChecking``: ``ask``, ``yes``, ``no`` or ``accept-new``.
    methods : tuple of str
        The ways to log in that are allowed here, in the order of trial.
    host_key_algorithms : tuple of str
        The signatures of hosts that are accepted; empty if any will do.
    """

    alias: str
    hostname: str
    user: str
    port: int
    identities: tuple[Path, ...]
    certificates: tuple[Path, ...]
    identities_only: bool
    agent: str | None
    known_hosts: tuple[Path, ...]
    global_known_hosts: tuple[Path, ...]
    hash_known_hosts: bool
    host_key_alias: str | None
    strict: str
    methods: tuple[str, ...]
    host_key_algorithms: tuple[str, ...]
    proxy_jump: str | None
    proxy_command: str | None

    @property
    def key_name(self) -> str:
        """The name under which the host's key is on file, as ``known_hosts`` spells it."""
        if self.host_key_alias:
            return self.host_key_alias.lower()
        name = self.hostname.lower()
        return name if self.port == 22 else f"[{name}]:{self.port}"

    @property
    def proxy_line(self) -> str | None:
        """``ProxyCommand`` with its percent tokens replaced: a line for the user's shell."""
        if self.proxy_command is None:
            return None
        tokens = {"h": self.hostname, "n": self.alias, "p": str(self.port), "r": self.user}
        return _replace_tokens(self.proxy_command, tokens)


def ssh_options(target: Target) -> list[str]:
    """Return the options that tell ssh what `target` says, without the host itself."""
    options = []
    if target.ssh_config is not None:
        options += ["-F", str(target.ssh_config)]
    if target.user is not None:
        options += ["-l", target.user]
    if target.port is not None:
        options += ["-p", str(target.port)]
    if target.identity is not None:
        options += ["-i", str(Path(target.identity).expanduser()), "-o", "IdentitiesOnly=yes"]
    return options


def resolve(target: Target) -> Settings:
    """Return what the SSH configuration says about `target`.

    ssh itself is asked where there is one, so that Include, Match and every default hold.

    Raises
    ------
    ProfileError
        If the configuration is wrong, or `target` names a file that is not there.
    """
    if target.identity is not None and not Path(target.identity).expanduser().is_file():
        raise ProfileError(f"the key file {target.identity} of {target} does not exist")
    if target.ssh_config is not None and not target.ssh_config.is_file():
        raise ProfileError(f"the SSH configuration {target.ssh_config} does not exist")
    if shutil.which("ssh") is None:
        from hpclaunch.transports.ssh_config_reader import read_config

        return settings_from(target.host, read_config(target))
    command = ["ssh", "-G", "-T", *ssh_options(target), "--", target.host]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise ProfileError(
            f"the SSH configuration for {target} cannot be read", command=command, said=done.stderr
        )
    return settings_from(target.host, _read_dump(done.stdout))


def _read_dump(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key.lower(), []).append(value)
    return found


def settings_from(alias: str, found: Mapping[str, list[str]]) -> Settings:
    """Build `Settings` from what ``ssh -G`` prints: each key in lower case and its values."""

    def one(key: str) -> str | None:
        value = found.get(key, [""])[0]
        return None if value in ("", "none") else value

    hostname, user = one("hostname") or alias, one("user") or getpass.getuser()
    port = int(one("port") or 22)
    tokens = {"h": hostname, "n": alias, "r": user, "p": str(port), "u": getpass.getuser()}

    def paths(key: str) -> tuple[Path, ...]:
        lines = found.get(key, [])
        words = [word for line in lines for word in _files(line)] if "known" in key else lines
        return tuple(_expand(word, tokens) for word in words if word not in ("", "none"))

    strict = one("stricthostkeychecking") or "ask"
    return Settings(
        alias=alias,
        hostname=hostname,
        user=user,
        port=port,
        identities=paths("identityfile"),
        certificates=paths("certificatefile"),
        identities_only=one("identitiesonly") == "yes",
        agent=found.get("identityagent", [None])[0],
        known_hosts=paths("userknownhostsfile"),
        global_known_hosts=paths("globalknownhostsfile"),
        hash_known_hosts=one("hashknownhosts") == "yes",
        host_key_alias=one("hostkeyalias"),
        strict="no" if strict in _NO else "yes" if strict == "true" else strict,
        methods=_methods(found),
        host_key_algorithms=tuple(filter(None, (one("hostkeyalgorithms") or "").split(","))),
        proxy_jump=one("proxyjump"),
        proxy_command=one("proxycommand"),
    )


def _methods(found: Mapping[str, list[str]]) -> tuple[str, ...]:
    wished = found.get("preferredauthentications", [",".join(_METHODS)])[0].split(",")

    def allowed(method: str) -> bool:
        return found.get(_SWITCHES[method], ["yes"])[0] not in _NO

    return tuple(name for name in wished if name in _METHODS and allowed(name))


def _expand(text: str, tokens: Mapping[str, str]) -> Path:
    """Expand the percent tokens and the tilde of a file name."""
    return Path(_replace_tokens(text.strip('"'), tokens)).expanduser()


def _files(line: str) -> list[str]:
    """Split a list of files, whose names may hold blanks; ``ssh -G`` prints it without quotes."""
    if '"' in line:
        return shlex.split(line)
    return re.split(r"\s+(?=[/~%]|[A-Za-z]:|__PROGRAMDATA__|none$)", line.strip())


def _replace_tokens(text: str, tokens: Mapping[str, str]) -> str:
    known = {**tokens, "d": str(Path.home()), "%": "%"}
    return re.sub(r"%(.)", lambda match: known.get(match[1], match[0]), text)
