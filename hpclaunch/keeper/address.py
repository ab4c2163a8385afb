"""Where a keeper lives: its run directory, and how to get hold of it.

The run directory (0700) holds ``way.json`` (how to reach the site), ``keeper.json`` (address and
key of the running keeper), ``keeper.log`` and the sockets of the connection.
"""

from __future__ import annotations

import json
import os
from multiprocessing.connection import (
    Client,
    Connection,
    answer_challenge,
    deliver_challenge,
)
from pathlib import Path

from hpclaunch import paths
from hpclaunch.errors import KeeperError
from hpclaunch.sessions.way import Way

__all__ = ["call_keeper", "listener_address", "read_way", "run_dir"]

_PATIENCE = 15.0  # seconds for a keeper's first word


def run_dir(way: Way) -> Path:
    """The run directory of the keeper for `way`; made 0700 where it is missing."""
    return paths.private_dir(paths.runtime_dir() / way.key)


def read_way(folder: Path) -> Way:
    """The way that a run directory is for."""
    return Way.from_dict(json.loads((folder / "way.json").read_text()))


def call_keeper(folder: Path) -> Connection | None:
    """Connect to the running keeper of a run directory, or return None where none runs.

    Raises
    ------
    KeeperError
        If something answers that is not our keeper.
    """
    try:
        card = json.loads((folder / "keeper.json").read_text())
        address, key = card["address"], bytes.fromhex(card["authkey"])
        return _shake_hands(
            Client(address if isinstance(address, str) else (address[0], int(address[1]))), key
        )
    except (
        *(FileNotFoundError, ConnectionRefusedError),
        *(ConnectionResetError, BrokenPipeError, EOFError),  # it is just ending
    ):
        return None
    except Exception as error:
        raise KeeperError(
            f"the keeper in {folder} does not answer as it should: {error}",
            hint=f"end it (its number is in {folder / 'keeper.json'}) and try again",
        ) from error


def _shake_hands(connection: Connection, key: bytes) -> Connection:
    """Each proves to the other that it has the key; a keeper that hangs is not waited for."""
    try:
        if not connection.poll(_PATIENCE):
            raise TimeoutError(f"no word within {_PATIENCE:.0f} s")
        answer_challenge(connection, key)
        deliver_challenge(connection, key)
    except BaseException:
        connection.close()
        raise
    return connection


def listener_address(folder: Path) -> str | tuple[str, int]:
    """What a keeper listens on: a UNIX socket, or a loopback port where there are none."""
    return ("127.0.0.1", 0) if os.name == "nt" else str(folder / "keeper.sock")
