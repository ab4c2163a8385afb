"""An SSH server that wants several factors, one of them a code that is good for one login only.

sshd asks PAM for such things, which a test cannot configure without being root; this server
speaks the same protocol and really runs the commands.
"""

from __future__ import annotations

import socket
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

import paramiko

__all__ = ["OtpServer"]


@dataclass
class OtpServer:
    """Listens on loopback from its making to `close`.

    Parameters
    ----------
    host_key : Path
        Its private key.
    factors : list of str
        What is wanted, in this order: ``publickey``, ``keyboard-interactive``, ``password``.
    key : Path, optional
        The key that is accepted.
    password : str
    codes : list of str
        Each is good once, in this order.
    """

    host_key: Path
    factors: list[str]
    key: Path | None = None
    password: str = ""
    codes: list[str] = field(default_factory=list)
    logins: int = 0
    refusals: int = 0
    connections: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._transports: list[paramiko.Transport] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End it with all its connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for transport in self._transports:
            transport.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            transport = paramiko.Transport(caller)
            transport.add_server_key(paramiko.PKey.from_path(self.host_key))
            transport.start_server(server=_Visitor(self), event=threading.Event())
            self._transports.append(transport)


class _Visitor(paramiko.ServerInterface):
    """One connection: which factors it still owes."""

    def __init__(self, server: OtpServer) -> None:
        self.server = server
        self.owed = list(server.factors)

    def get_allowed_auths(self, username: str) -> str:
        return self.owed[0] if self.owed else ""

    def _result(self, factor: str, right: bool) -> int:
        if not (right and self.owed and self.owed[0] == factor):
            self.server.refusals += 1
            return paramiko.AUTH_FAILED
        self.owed.pop(0)
        if self.owed:
            return paramiko.AUTH_PARTIALLY_SUCCESSFUL
        self.server.logins += 1
        return paramiko.AUTH_SUCCESSFUL

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = self.server.key
        if known is None or key.asbytes() != paramiko.PKey.from_path(known).asbytes():
            return paramiko.AUTH_FAILED
        # Called for the question "would you take it?" too, where the result is not yet given.
        if self.owed[:1] != ["publickey"]:
            return paramiko.AUTH_FAILED
        return self._result("publickey", True)

    def check_auth_password(self, username: str, password: str) -> int:
        return self._result("password", password == self.server.password)

    def check_auth_interactive(self, username: str, submethods: str):
        if self.owed[:1] != ["keyboard-interactive"]:
            return paramiko.AUTH_FAILED
        query = paramiko.InteractiveQuery("Second factor", "Use your token.")
        query.add_prompt("Password: ", False)
        query.add_prompt("One-time code: ", True)
        return query

    def check_auth_interactive_response(self, responses: list[str]) -> int:
        right = len(responses) == 2 and responses[0] == self.server.password
        code = responses[1] if len(responses) == 2 else ""
        good = bool(self.server.codes) and code == self.server.codes[0]
        if good:
            self.server.codes.pop(0)
        return self._result("keyboard-interactive", right and good)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=_execute, args=(channel, command), daemon=True).start()
        return True


def _execute(channel: paramiko.Channel, command: bytes) -> None:
    process = subprocess.Popen(
        ["/bin/sh", "-c", command.decode()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdin and process.stdout and process.stderr

    def feed() -> None:
        while data := channel.recv(65536):
            process.stdin.write(data)
        process.stdin.close()

    def complain() -> None:
        while data := process.stderr.read(65536):
            channel.sendall_stderr(data)

    threading.Thread(target=feed, daemon=True).start()
    complaints = threading.Thread(target=complain, daemon=True)
    complaints.start()
    while data := process.stdout.read(65536):
        channel.sendall(data)
    complaints.join()
    channel.send_exit_status(process.wait())
    channel.close()
