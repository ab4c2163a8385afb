"""One session that lives as long as the process that needs the connection.

ssh ends a shared connection 60 s after its last session. The lifeline is such a session: an
``exec cat`` on the login node with our pipe as its stdin. When this process ends, in whatever
way, the pipe closes and the session with it. When the connection ends, so does the session.
"""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import threading
import time

from hpclaunch.transports.master import Master

__all__ = ["Lifeline"]

_PAUSE = 1.0
"""Seconds before a session that ended alone, say by the site's reaper of idle ones, is renewed."""


class Lifeline:
    """A persistent session over `master`; sets `lost` when the connection ends by itself."""

    def __init__(self, master: Master, lost: threading.Event) -> None:
        self._master = master
        self._lost = lost
        self._closed = threading.Event()
        self._heard = threading.Condition()
        self._answer = b""
        self._write = threading.Lock()
        self._ssh = self._open()
        self._thread = threading.Thread(target=self._mind, name="lifeline", daemon=True)
        self._thread.start()

    @property
    def up(self) -> bool:
        """Whether the connection was there when last heard of."""
        return self._thread.is_alive()

    def answers(self, timeout: float) -> bool:
        """Whether the login node sends back a word within `timeout` seconds."""
        word = secrets.token_hex(8).encode()
        deadline = time.monotonic() + timeout
        while not self._over and time.monotonic() < deadline:
            session = self._ssh
            assert session.stdin
            with contextlib.suppress(BrokenPipeError, ValueError), self._write:
                session.stdin.write(word + b"\n")
            with self._heard:
                while (left := deadline - time.monotonic()) > 0 and not self._over:
                    if word in self._answer:
                        return True
                    if self._ssh is not session:  # renewed meanwhile: ask the new one
                        break
                    self._heard.wait(left)
        return False

    def close(self, patience: float = 2.0) -> None:
        """End the session, as wished; by force after `patience` seconds."""
        self._closed.set()
        self._tell()
        assert self._ssh.stdin
        with contextlib.suppress(OSError):
            self._ssh.stdin.close()
        try:
            self._ssh.wait(patience)
        except subprocess.TimeoutExpired:
            self._ssh.kill()
            self._ssh.wait()

    @property
    def _over(self) -> bool:
        return self._lost.is_set() or self._closed.is_set()

    def _tell(self) -> None:
        """Wake whoever waits for an answer."""
        with self._heard:
            self._heard.notify_all()

    def _open(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._master.client("-T", "--", self._master.target.host, "exec cat"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # a Ctrl-C on the terminal is not for it
        )

    def _mind(self) -> None:
        while True:
            self._listen()
            if self._closed.is_set():
                return
            if not self._master.runs():
                self._lost.set()
                self._tell()
                return
            # Only the session has ended, or the site had none left for us: have another.
            if self._closed.wait(_PAUSE):
                return
            with self._write:
                self._ssh = self._open()
            self._tell()

    def _listen(self) -> None:
        """Hear what the login node sends back, until the session ends."""
        ssh = self._ssh
        assert ssh.stdin and ssh.stdout
        with ssh.stdout:
            while chunk := ssh.stdout.read(4096):
                with self._heard:
                    self._answer = (self._answer + chunk)[-8192:]
                    self._heard.notify_all()
        with self._write, contextlib.suppress(OSError):
            ssh.stdin.close()
        ssh.wait()
