"""How hpclaunch's end on the laptop is: programs, folders, keepers, sessions."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hpclaunch import paths
from hpclaunch.doctor.finding import Finding, fault, fine
from hpclaunch.errors import HpclaunchError, KeeperError
from hpclaunch.keeper.address import read_way
from hpclaunch.keeper.client import KeeperClient
from hpclaunch.sessions.book import Book

__all__ = ["examine_laptop"]

_PATIENCE = 10.0  # seconds for a program of this machine
_SUFFIX = 17  # characters that ssh adds to the path of a control socket
_LEAST = 100 * 10**6  # bytes; records and keys of sessions need far less
_SSH_AGENT = {0: "an agent with keys", 1: "an agent without keys", 2: "no agent"}


def examine_laptop(book: Book) -> Iterator[Finding]:
    """All that can be told without any network."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield fine("laptop", "system", f"{platform.system()} {platform.release()}, Python {version}")
    yield from _ssh()
    for name, folder in (
        ("configuration", paths.config_dir()),
        ("state", paths.state_dir()),
        ("data", paths.data_dir()),
    ):
        yield _folder(name, folder)
    yield from _keepers()
    yield from _sessions(book)


def _ssh() -> Iterator[Finding]:
    program = shutil.which("ssh")
    if program is None:
        yield fine("laptop", "ssh", "no OpenSSH here; paramiko is used")
        return
    said = _run([program, "-V"])
    if said is None:
        next = "`ssh -V` by hand says why; --set login.transport=paramiko goes without"
        yield fault("laptop", "ssh", f"{program} gives no answer", next)
        return
    yield fine("laptop", "ssh", (said.stderr or said.stdout).strip())
    if sys.platform == "win32":
        yield fine("laptop", "sharing", "not with Windows' OpenSSH; paramiko is used")
        return
    yield _sharing()
    agent = _run(["ssh-add", "-l"]) if shutil.which("ssh-add") else None
    if agent is not None:
        yield fine("laptop", "ssh agent", _SSH_AGENT.get(agent.returncode, "no agent"))


def _run(argv: list[str]) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None


def _sharing() -> Finding:
    """Whether ssh can keep a socket for its connection (ControlMaster) where ours lie."""
    try:
        folder = paths.runtime_dir()
        with tempfile.TemporaryDirectory(prefix="d-", dir=folder) as inside:
            name = Path(inside) / "m"
            first = f"{name}.{'x' * (_SUFFIX - 1)}"
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(first)
                one.listen()
                os.link(first, name)  # as ssh does
    except HpclaunchError as error:
        return fault("laptop", "sharing", error)
    except OSError as error:
        next = "set HPCLAUNCH_HOME to a directory on a local disk, with a short name"
        return fault("laptop", "sharing", f"no socket can be made in {folder}: {error}", next)
    return fine("laptop", "sharing", f"sockets of a shared connection can lie in {folder}")


def _folder(name: str, folder: Path) -> Finding:
    key = f"{name} folder"
    if not folder.exists():
        return fine("laptop", key, f"{folder} is not there yet")
    facts = folder.stat()
    mode = stat.S_IMODE(facts.st_mode)
    if os.name != "nt" and facts.st_uid != os.getuid():
        next = "set HPCLAUNCH_HOME to a directory of yours"
        return fault("laptop", key, f"{folder} belongs to somebody else", next)
    if not os.access(folder, os.W_OK | os.X_OK):
        return fault("laptop", key, f"{folder} cannot be written", f"chmod u+rwx {folder}")
    if os.name != "nt" and mode & 0o022:
        next = f"chmod go-w {folder}"
        return fault("laptop", key, f"others can write into {folder} (mode {mode:04o})", next)
    free = shutil.disk_usage(folder).free
    words = f"{folder}, mode {mode:04o}, {free / 1e9:.1f} GB free"
    if free < _LEAST:
        return fault("laptop", key, words, "make room on that disk")
    return fine("laptop", key, words)


def _keepers() -> Iterator[Finding]:
    """The processes that hold connections."""
    cards = sorted(paths.runtime_dir().glob("*/keeper.json"))
    number = 0
    for card in cards:
        try:
            way = read_way(card.parent)
        except (OSError, ValueError, KeyError, TypeError):
            continue
        try:
            with KeeperClient(way, start=False) as keeper:
                status = keeper.status()
        except KeeperError as error:
            if "no keeper runs" not in error.what:
                yield fault("laptop", "keeper", error)
            continue
        except HpclaunchError as error:
            yield fault("laptop", "keeper", error)
            continue
        number += 1
        state = "connected" if status["connected"] else f"not connected: {status['trouble']}"
        words = f"for {way}: {state}, {len(status['sessions'])} sessions"
        yield fine("laptop", "keeper", words)
    if not number:
        yield fine("laptop", "keeper", "none runs, as nothing has to be held")


def _sessions(book: Book) -> Iterator[Finding]:
    records = list(book)
    states = Counter(record.state for record in records)
    counted = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    yield fine("laptop", "sessions", counted or "none")
    for record in records:
        if record.untidy:
            next = f"`hpclaunch stop {record.name}` removes it"
            yield fault("laptop", "leftover", f"session {record.name}: {record.untidy}", next)
        elif record.state == "unreachable":
            next = f"`hpclaunch attach {record.name}` connects again"
            words = f"session {record.name} cannot be reached: {record.trouble}"
            yield fault("laptop", "unreachable", words, next)
    for error in book.unreadable():
        yield fault("laptop", "record", error)
    yield from _open_to_others(book)


def _open_to_others(book: Book) -> Iterator[Finding]:
    """Records and tokens that others could read."""
    for path in (book.folder, *sorted(book.folder.glob("*/token"))):
        if os.name != "nt" and path.exists() and path.stat().st_mode & 0o077:
            yield fault("laptop", "records", f"others can read {path}", f"chmod go-rwx {path}")
