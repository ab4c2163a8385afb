"""The one OpenSSH connection that all commands to a site share: start it, ask it, end it.

ssh itself does all prompting on the caller's terminal, so that passwords, codes, passphrases,
security keys and host keys are handled as the user knows them; we never see a secret.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hpclaunch.errors import LoginNeededError, TransportError, UnreachableError
from hpclaunch.shell import quote
from hpclaunch.transports.keys import is_locked
from hpclaunch.transports.sockets import check_directory
from hpclaunch.transports.ssh_config import Settings, resolve, ssh_options
from hpclaunch.transports.target import Target
from hpclaunch.transports.words import connection_error

__all__ = ["Master"]

_TEMPORARY = 17
"""ssh binds its socket under a name this much longer before it renames it (mux.c)."""
_PERSIST = 60
"""Seconds a connection without any session lives on."""
_LOGIN = 90.0
"""Seconds for a login in which nobody is asked anything."""
_ROUNDS = 12.0
"""Seconds for keys and login once the host has answered, where we are in a hurry."""
_GOING = 1.0
"""Seconds for a connection's process to go when told to."""
_PID = re.compile(r"pid=(\d+)")


@dataclass(frozen=True)
class Master:
    """The control socket of one target, and the ssh process behind it."""

    target: Target
    control_dir: Path
    mark: str = "m"

    @property
    def path(self) -> Path:
        """The control socket."""
        return self.control_dir / f"{self.mark}-{self.target.key}"

    @property
    def log(self) -> Path:
        """What the connection's ssh has to say."""
        return self.control_dir / f"{self.mark}-{self.target.key}.log"

    def beside(self) -> Master:
        """A second connection of the same target, until it moves to the place of this one.

        Each has a name of its own: a connection that ends removes the socket it was born with,
        wherever that has moved meanwhile, and would take a successor of the same name with it.
        """
        return replace(self, mark=f"n{secrets.token_hex(2)}")

    def check_directory(self) -> None:
        """Raise `TransportError` if sockets in the control directory would fail or be unsafe."""
        check_directory(self.control_dir, len(self.beside().path.name) + _TEMPORARY)
        if any(sign in str(self.control_dir) for sign in ":%$\n\\"):
            raise TransportError(f"ssh cannot put sockets into {str(self.control_dir)!r}")

    def client(self, *options: str) -> list[str]:
        """Return the argv of an ssh that can only use this connection, never make its own.

        The user's configuration has done its part when the connection was made. With the
        connection gone ssh would log in anew, which may cost a one-time code: ``ProxyCommand``
        false makes that attempt fail at once.
        """
        guard = ["-o", "ControlMaster=no", "-o", "ProxyCommand=false", "-o", "BatchMode=yes"]
        return ["ssh", "-F", os.devnull, "-S", str(self.path), *guard, *options]

    def command(self, name: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Send a control command (``check``, ``forward``, ``cancel``, ``exit``).

        Raises
        ------
        UnreachableError
            If the connection's process does not answer.
        """
        argv = self.client("-O", name, *options, "--", self.target.host)
        try:
            return subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=15
            )
        except subprocess.TimeoutExpired:
            raise UnreachableError(f"the connection to {self.target} does not answer") from None

    def runs(self) -> bool:
        """Whether the connection's process is there. Says nothing of the network."""
        with contextlib.suppress(UnreachableError):
            return self.path.exists() and self.command("check").returncode == 0
        return False

    def end(self) -> None:
        """End the connection's process, by force where it does not go; idempotent."""
        with contextlib.suppress(UnreachableError):
            found = _PID.search(self.command("check").stderr)
            self.command("exit")
            if found and not _gone(self.path, _GOING):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(found[1]), signal.SIGKILL)
        self.path.unlink(missing_ok=True)

    def move_to(self, place: Master) -> None:
        """Be found under the socket and log of `place`, whose own process has ended.

        Raises
        ------
        UnreachableError
            If this connection has ended meanwhile.
        """
        try:
            self.path.replace(place.path)
        except FileNotFoundError:
            raise UnreachableError(
                f"the new connection to {self.target} ended at once", said=self.words()
            ) from None
        finally:
            with contextlib.suppress(FileNotFoundError):
                self.log.replace(place.log)

    def words(self) -> str:
        """The last lines the connection's ssh has logged."""
        try:
            return self.log.read_text(errors="replace")[-2000:]
        except FileNotFoundError:
            return ""

    def start(self, ask: bool, patience: float | None = None) -> None:
        """Log in and leave the connection in the background.

        Parameters
        ----------
        ask : bool
            Whether ssh may ask the person, on the controlling terminal of this process. Where
            there is none, nothing is asked.
        patience : float, optional
            Seconds for the host to answer; the target's own by default.

        Raises
        ------
        UnreachableError, HostKeyError, LoginRefusedError, LoginNeededError
        """
        settings = resolve(self.target)
        self.path.unlink(missing_ok=True)  # a dead one would keep ssh from sharing its connection
        self.log.unlink(missing_ok=True)
        with _terminal() if ask else contextlib.nullcontext() as terminal:
            wait = self.target.connect_timeout if patience is None else patience
            argv = self._argv(settings, wait, asking=terminal is not None)
            if terminal is not None:
                status = self._on_terminal(argv, terminal)
            else:
                status = self._in_batch(argv, _LOGIN if patience is None else patience + _ROUNDS)
        if status == 0 and self.runs():
            return
        raise connection_error(
            str(self.target),
            self.words(),
            asking=terminal is not None,
            locked_key=any(is_locked(path) for path in settings.identities),
        )

    def _argv(self, settings: Settings, wait: float, *, asking: bool) -> list[str]:
        options = {
            "ControlPersist": _PERSIST,
            "ConnectTimeout": max(1, round(wait)),
            "ServerAliveInterval": 15,
            "ServerAliveCountMax": 3,
            "ForwardAgent": "no",
            "ForwardX11": "no",
            "ClearAllForwardings": "yes",
            "ExitOnForwardFailure": "no",
            "PermitLocalCommand": "no",
            "RemoteCommand": "none",
            "LogLevel": "INFO",  # whose words we know
            "StreamLocalBindMask": "0177",
            "StreamLocalBindUnlink": "yes",
        }
        if not asking:
            options["BatchMode"] = "yes"
        if settings.strict == "no":
            # Accept an unknown key as the user wishes, but never a changed one.
            options["StrictHostKeyChecking"] = "accept-new"
        way = self._way(settings, wait, asking=asking)
        if way is not None:
            options["ProxyCommand"] = way
        flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return [
            *("ssh", "-M", "-N", "-f", "-T", "-S", str(self.path), "-E", str(self.log)),
            *flags,
            *ssh_options(self.target),
            *("--", self.target.host),
        ]

    def _way(self, settings: Settings, wait: float, *, asking: bool) -> str | None:
        """Return the ProxyCommand, shielded from the terminal's signals; None if there is none.

        ssh leaves its proxy in the terminal's foreground group, where the Ctrl-C that ends the
        program on the terminal would also end the shared connection. And the proxy of a
        ProxyJump knows neither our log nor that nobody is here to be asked.
        """
        command = settings.proxy_command
        if settings.proxy_jump is not None:
            command = _jump(self.target, settings.proxy_jump, self.log, wait, asking=asking)
        if command is None:
            return None
        shell = os.environ.get("SHELL") or "/bin/sh"
        script = 'trap "" INT QUIT HUP TSTP; exec "$0" -c "exec $1"'
        return f"/bin/sh -c {quote(script)} {quote(shell)} {quote(command)}"

    def _in_batch(self, argv: list[str], limit: float) -> int:
        """Run `argv` where it can ask nobody: no terminal, no dialog of an askpass program."""
        silent = {**os.environ, "SSH_ASKPASS_REQUIRE": "never"}
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_ASKPASS"):
            silent.pop(name, None)
        try:
            return subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=silent,
                start_new_session=True,
                timeout=limit,
            ).returncode
        except subprocess.TimeoutExpired:
            if limit < _LOGIN:
                raise UnreachableError(
                    f"no connection to {self.target}",
                    said=f"the login timed out after {limit:g} s",
                    hint="the network may be down or slow",
                ) from None
            raise LoginNeededError(
                f"the login did not come to an end within {limit:g} s",
                hint="log in from a terminal; the site may be waiting for a second factor",
            ) from None

    def _on_terminal(self, argv: list[str], terminal: int) -> int:
        """Run `argv` on the terminal; show what it logs while it runs, and return its status."""
        shown = 0
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as ssh:
            try:
                while True:
                    try:
                        status = ssh.wait(0.02)
                        break
                    except subprocess.TimeoutExpired:
                        shown += _copy(self.log, shown, terminal)
            except BaseException:
                ssh.kill()
                raise
        if status in (-signal.SIGINT, 128 + signal.SIGINT):
            raise KeyboardInterrupt
        return status


def _jump(target: Target, hops: str, log: Path, wait: float, *, asking: bool) -> str:
    """Return the command ssh itself would make of ``ProxyJump``, with our log and patience."""
    *before, last = hops.split(",")
    words = ["ssh", "-E", str(log).replace("%", "%%")]
    words += ["-o", f"ConnectTimeout={max(1, round(wait))}"]
    words += [] if asking else ["-o", "BatchMode=yes"]
    words += [] if target.ssh_config is None else ["-F", str(target.ssh_config).replace("%", "%%")]
    words += ["-J", ",".join(before)] if before else []
    words += ["-W", "[%h]:%p"]
    # ``ssh://user@host:port`` is the one spelling ssh takes for all three in one word.
    last = last if last.startswith("ssh://") else f"ssh://{last}"
    return " ".join(quote(word) for word in [*words, "--", last])


def _copy(log: Path, start: int, terminal: int) -> int:
    """Copy what `log` holds beyond byte `start` to the terminal; return how much that was."""
    try:
        with log.open("rb") as stream:
            stream.seek(start)
            text = stream.read()
    except FileNotFoundError:
        return 0
    if text:
        # On a line of its own: ssh's prompt may have been faster and waits for an answer.
        again = b"Once more: " if text.endswith(b"please try again.\r\n") else b""
        os.write(terminal, b"\n" + text + again)
    return len(text)


def _gone(path: Path, seconds: float) -> bool:
    """Whether within so many seconds nobody listens at a socket any more."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as caller:
            try:
                caller.connect(str(path))
            except OSError:
                return True
        time.sleep(0.01)
    return False


@contextlib.contextmanager
def _terminal() -> Iterator[int | None]:
    """Yield the controlling terminal if this process is in its foreground, else None."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        yield None
        return
    try:
        yield terminal if os.tcgetpgrp(terminal) == os.getpgrp() else None
    finally:
        os.close(terminal)
