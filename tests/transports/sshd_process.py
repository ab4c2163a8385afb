"""A real sshd on loopback, as an ordinary process with its own keys and configuration."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

__all__ = ["Sshd", "free_port", "make_key", "processes_with", "require_sshd", "wait_for"]


def require_sshd() -> str:
    """Return the path of sshd, or say how to get it."""
    found = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise RuntimeError("there is no sshd; run tests/install_system_packages.sh as root")
    return found


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def make_key(path: Path, passphrase: str = "", kind: str = "ed25519", *more: str) -> Path:
    """Make a key pair with ssh-keygen."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path), *more]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def wait_for(happens: Callable[[], object], seconds: float = 10.0, what: str = "it") -> None:
    """Wait until `happens()` is true; `what` names it in the failure."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:g} s"
        time.sleep(0.02)


def processes_with(word: str) -> list[psutil.Process]:
    """All processes with `word` in their argv."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(word in part for part in process.info["cmdline"] or [])
    ]


@dataclass
class Sshd:
    """One sshd: `folder` holds its keys, its log and who may log in.

    Parameters
    ----------
    folder : Path
        Made by the test.
    more : sequence of str
        Further lines for its configuration; the first value of a keyword counts.
    """

    folder: Path
    more: Sequence[str] = ()
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.host_key = self.folder / "host_ed25519"
        self.authorized = self.folder / "authorized_keys"
        self.log = self.folder / "sshd.log"
        self.home = self.folder / "home"
        self.home.mkdir(exist_ok=True)
        if not self.host_key.exists():
            make_key(self.host_key)
        self.authorized.touch()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """The host's name in a file of known hosts."""
        return f"[127.0.0.1]:{self.port}"

    @property
    def known_line(self) -> str:
        """The line for a file of known hosts."""
        return f"{self.name} {' '.join(self.host_key_public().split()[:2])}\n"

    def host_key_public(self) -> str:
        """The public half of the host key."""
        return self.host_key.with_suffix(".pub").read_text()

    def authorize(self, key: Path) -> None:
        """Let the holder of `key` log in."""
        with self.authorized.open("a") as stream:
            stream.write(key.with_name(key.name + ".pub").read_text())

    def start(self) -> Sshd:
        """Start it and wait until it listens."""
        self.log.unlink(missing_ok=True)
        config = self.folder / "sshd_config"
        config.write_text(
            "\n".join(
                [
                    *self.more,
                    f"Port {self.port}",
                    "ListenAddress 127.0.0.1",
                    f"HostKey {self.host_key}",
                    f"AuthorizedKeysFile {self.authorized}",
                    f"PidFile {self.folder / 'pid'}",
                    # What the machine's own user has in ~/.bashrc is not part of any test.
                    f"SetEnv HOME={self.home}",
                    "StrictModes no",
                    "PermitRootLogin yes",
                    "UsePAM no",
                    "PasswordAuthentication no",
                    "KbdInteractiveAuthentication no",
                    "UseDNS no",
                    "MaxStartups 100",
                    "LogLevel VERBOSE",
                    "",
                ]
            )
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd insists when it is root
        self._process = subprocess.Popen(
            [require_sshd(), "-D", "-f", str(config), "-E", str(self.log)],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for(self._listens, what=f"that sshd listens on port {self.port}")
        return self

    def logins(self) -> int:
        """How many authentications it has accepted."""
        return self._words().count("Accepted publickey")

    def connections(self) -> int:
        """How many connections it has seen, refused ones too."""
        return self._words().count("Connection from ")

    def sessions(self) -> list[psutil.Process]:
        """The processes behind all open connections."""
        assert self._process is not None
        return psutil.Process(self._process.pid).children(recursive=True)

    def sever(self) -> None:
        """Kill the processes behind all open connections, as a crash of the login node would."""
        for child in self.sessions():
            with contextlib.suppress(psutil.NoSuchProcess):  # its parent's end may end it first
                child.kill()

    def stop(self) -> None:
        """End it with all its connections."""
        if self._process is not None:
            self.sever()
            self._process.kill()
            self._process.wait()
            self._process = None

    def _words(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _listens(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self._words()
        return "Server listening" in self._words()  # a probe would count as a connection
