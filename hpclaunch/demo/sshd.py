"""The SSH server of a make-believe login node: on 127.0.0.1, for one user with one key.

It does what OpenSSH's and paramiko's clients ask for here: commands, shells with and without a
terminal, and forwards. What runs is this machine's, as the user who runs this process.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import paramiko
from paramiko import common

from hpclaunch.demo.command import Command, Terminal
from hpclaunch.transports.pair import Pair, take_callers

__all__ = ["LoginNode", "Surroundings"]

# Without a handler Python prints paramiko's own tracebacks, of every client that hangs up.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

_REACH = 3.0
"""Seconds to reach the place of a forward; all are on this machine."""
_PAUSE = 1.0
"""Seconds between two looks whether a connection is still there."""
_WINDOW = 1 << 24
"""Bytes a channel may send before they are taken."""


@dataclass(frozen=True)
class Surroundings:
    """What commands find.

    Attributes
    ----------
    user : str
        The only login name.
    shell : str
        Runs commands, and people's input.
    home : str
        Where they start.
    environment : mapping
    """

    user: str
    shell: str
    home: str
    environment: Mapping[str, str]


class LoginNode:
    """Listens on a port of 127.0.0.1 from its making to `close`.

    Parameters
    ----------
    host_key : paramiko.PKey
        Its own key.
    guest : paramiko.PKey
        The key that lets in.
    surroundings : Surroundings

    Attributes
    ----------
    port : int
    """

    def __init__(
        self, host_key: paramiko.PKey, guest: paramiko.PKey, surroundings: Surroundings
    ) -> None:
        self.guest, self.surroundings = guest, surroundings
        self._host_key = host_key
        self._guard = threading.Lock()
        self._closed = False
        self._transports: set[paramiko.Transport] = set()
        self._commands: set[Command] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="login node", daemon=True).start()

    def close(self) -> None:
        """Let nobody in any more, and end all connections and the commands of all of them."""
        with self._guard:
            self._closed = True
            transports, commands = list(self._transports), list(self._commands)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept
        self._listener.close()
        for command in commands:
            command.kill()
        for transport in transports:
            transport.close()

    def run(
        self, channel: paramiko.Channel, argv: Sequence[str], terminal: Terminal | None
    ) -> Command | None:
        """Start a command that talks through `channel`; None where that is not possible."""
        place = self.surroundings
        try:
            command = Command(argv, place.environment, place.home, terminal)
        except OSError:
            return None
        with self._guard:
            self._commands.add(command)
            closed = self._closed
        if closed:  # it was too late to be among those that are ended
            command.kill()
        threading.Thread(target=self._attend, args=(command, channel), daemon=True).start()
        return command

    def _attend(self, command: Command, channel: paramiko.Channel) -> None:
        try:
            command.converse(channel)
        finally:
            with self._guard:
                self._commands.discard(command)

    def _accept(self) -> None:
        take_callers(self._listener, self._serve, lambda: self._closed)

    def _serve(self, caller: socket.socket) -> None:
        """One connection, to its end."""
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = paramiko.Transport(caller, default_window_size=_WINDOW)
        transport.add_server_key(self._host_key)
        with self._guard:
            self._transports.add(transport)
            closed = self._closed
        visitor = _Visitor(self)
        try:
            if not closed:
                transport.start_server(server=visitor, event=threading.Event())
                visitor.receive(transport)
        finally:
            transport.close()
            with self._guard:
                self._transports.discard(transport)


class _Visitor(paramiko.ServerInterface):
    """One connection: what its client asks for, from the transport's thread."""

    def __init__(self, node: LoginNode) -> None:
        self._node = node
        self._roads: dict[int, socket.socket] = {}
        self._terminals: dict[int, Terminal] = {}
        self._on_terminals: dict[int, Command] = {}

    def receive(self, transport: paramiko.Transport) -> None:
        """Take the channels of a connection until it ends."""
        kept: list[paramiko.Channel] = []  # paramiko itself keeps no channel alive
        while transport.is_active():
            channel = transport.accept(_PAUSE)
            kept = [one for one in kept if not one.closed]
            if channel is None:
                continue
            kept.append(channel)
            road = self._roads.pop(channel.get_id(), None)
            if road is not None:
                threading.Thread(target=_carry, args=(Pair(road, channel),), daemon=True).start()

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        right = username == self._node.surroundings.user and key == self._node.guest
        return common.AUTH_SUCCESSFUL if right else common.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if kind == "session":
            return common.OPEN_SUCCEEDED
        return common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        try:
            road = socket.create_connection(destination, _REACH)
        except OSError:
            return common.OPEN_FAILED_CONNECT_FAILED
        road.settimeout(None)
        road.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._roads[chanid] = road
        return common.OPEN_SUCCEEDED

    def check_channel_pty_request(
        self,
        channel: paramiko.Channel,
        term: bytes,
        width: int,
        height: int,
        pixelwidth: int,
        pixelheight: int,
        modes: bytes,
    ) -> bool:
        self._terminals[channel.get_id()] = Terminal(_text(term), width, height)
        return True

    def check_channel_window_change_request(
        self, channel: paramiko.Channel, width: int, height: int, pixelwidth: int, pixelheight: int
    ) -> bool:
        command = self._on_terminals.get(channel.get_id())
        if command is not None:
            command.resize(Terminal("", width, height))
        return True

    def check_channel_shell_request(self, channel: paramiko.Channel) -> bool:
        return self._run(channel, [self._node.surroundings.shell, "-l"])

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        return self._run(channel, [self._node.surroundings.shell, "-c", _text(command)])

    def _run(self, channel: paramiko.Channel, argv: Sequence[str]) -> bool:
        terminal = self._terminals.pop(channel.get_id(), None)
        command = self._node.run(channel, argv, terminal)
        if command is not None and terminal is not None:
            self._on_terminals[channel.get_id()] = command
        return command is not None


def _carry(pair: Pair) -> None:
    try:
        pair.run()
    finally:
        pair.close()


def _text(said: bytes | str) -> str:
    """What a client says, file names that are not UTF-8 included."""
    return said.decode(errors="surrogateescape") if isinstance(said, bytes) else said
