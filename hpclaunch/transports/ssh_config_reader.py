"""Read the user's SSH configuration where no ssh command could do it for us."""

from __future__ import annotations

import re
from pathlib import Path

import paramiko

from hpclaunch.errors import ProfileError
from hpclaunch.transports.target import Target

__all__ = ["expand_includes", "read_config"]

_DEFAULT_KEYS = ("id_rsa", "id_ecdsa", "id_ed25519")
_DEPTH = 16
"""Includes within includes, as many as ssh reads."""
_CRITERIA = {"all": 0, "canonical": 0, "final": 0, "host": 1, "originalhost": 1, "user": 1}
"""What Match may ask here, and the words that follow."""
_LINE = re.compile(r'\s*(\w+)(?:\s*=\s*|\s+)("?)(.*?)\2\s*$')


def read_config(target: Target) -> dict[str, list[str]]:
    """Return the configuration for `target` as ``ssh -G`` would print it, key by key.

    Raises
    ------
    ProfileError
        If the configuration is wrong, or uses what only ssh itself can do (``Match exec``, say).
    """
    path = target.ssh_config or Path.home() / ".ssh" / "config"
    text = "\n".join(expand_includes(path)) if path.is_file() else ""
    try:
        looked_up: dict[str, object] = dict(paramiko.SSHConfig.from_text(text).lookup(target.host))
    except (paramiko.ConfigParseError, ImportError) as error:
        raise ProfileError(
            f"the SSH configuration {path} cannot be read: {error}",
            hint="install the OpenSSH client, which reads it completely",
        ) from error
    found: dict[str, list[str]] = {}
    for key, value in looked_up.items():
        found[key] = [str(word) for word in value] if isinstance(value, list) else [str(value)]
    folder = Path.home() / ".ssh"
    found.setdefault("identityfile", [str(folder / name) for name in _DEFAULT_KEYS])
    found.setdefault("userknownhostsfile", [str(folder / "known_hosts")])
    for key, value in (("user", target.user), ("port", target.port)):
        if value is not None:
            found[key] = [str(value)]
    if target.identity is not None:
        found["identityfile"] = [target.identity, *found["identityfile"]]
        found["identitiesonly"] = ["yes"]
    return found


def expand_includes(path: Path, depth: int = 0) -> list[str]:
    """Return the lines of the configuration `path` with those of its Include files in place.

    Raises
    ------
    ProfileError
        If a file included under a Host or Match line has Host or Match lines of its own, whose
        meaning cannot be said in one file, or if files include each other.
    """
    if depth > _DEPTH:
        raise ProfileError(f"the SSH configuration {path} is included too many times")
    lines: list[str] = []
    block = ""
    for line in path.read_text(errors="replace").splitlines():
        parsed = _LINE.match(line)
        key = parsed[1].lower() if parsed else ""
        if key == "match" and parsed:
            _check_match(path, parsed[3])
        if key in ("host", "match"):
            block = line
        if key != "include" or parsed is None:
            lines.append(line)
            continue
        for name in _included(parsed[3], path):
            inner = expand_includes(name, depth + 1)
            if block and any(_opens_block(entry) for entry in inner):
                raise ProfileError(
                    f"{path} includes {name}, which has Host lines, under {block.strip()!r}",
                    hint="install the OpenSSH client, which reads this; or move the Include up",
                )
            lines += inner
        lines.append(block or "Host *")  # the last block of the included file ends here
    return lines


def _check_match(path: Path, criteria: str) -> None:
    """Raise where paramiko would run a command, or pass over what it does not know."""
    words = iter(criteria.split())
    for word in words:
        name = word.lstrip("!").partition("=")[0].lower()
        if name not in _CRITERIA:
            raise ProfileError(
                f"{path}: Match {name} needs the OpenSSH client, and there is none here"
            )
        if _CRITERIA[name] and "=" not in word:
            next(words, None)


def _included(patterns: str, path: Path) -> list[Path]:
    folder = Path.home() / ".ssh"
    found = []
    for pattern in patterns.split():
        full = Path(pattern.strip('"')).expanduser()
        full = full if full.is_absolute() else folder / full
        root = Path(full.anchor)
        found += sorted(root.glob(str(full.relative_to(root))))
    return [name for name in found if name.is_file() and name != path]


def _opens_block(line: str) -> bool:
    parsed = _LINE.match(line)
    return parsed is not None and parsed[1].lower() in ("host", "match")
