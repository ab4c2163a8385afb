"""The Dask workers that measure a storage together, once each was seen to have what it needs."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpclaunch.errors import StorageError, UsageError

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["Crew", "connected", "muster"]

_CONNECT = 30.0  # seconds for the way to a scheduler
_MARK = "seen-by-all"


@dataclass(frozen=True)
class Crew:
    """The workers that measure.

    Attributes
    ----------
    client : distributed.Client
    addresses : tuple of str
        One of each worker; those that follow each other are on different nodes where possible.
    nodes : tuple of str
        The node of each.
    """

    client: Client
    addresses: tuple[str, ...]
    nodes: tuple[str, ...]

    @property
    def alone(self) -> Crew:
        """The first of them."""
        return Crew(self.client, self.addresses[:1], self.nodes[:1])

    @property
    def title(self) -> str:
        """How many there are, in words."""
        if len(self.addresses) == 1:
            return "one worker"
        nodes = len(set(self.nodes))
        return f"{len(self.addresses)} workers on {nodes} node{'s' if nodes > 1 else ''}"

    def each(self, do: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """What a function gives on each worker, all at the same time.

        Raises
        ------
        Exception
            What it raised on one of them.
        """
        futures: list[Future] = [
            self.client.submit(do, *call, workers=[address], retries=0, pure=False)
            for address, call in zip(self.addresses, calls, strict=True)
        ]
        try:
            found: list[Any] = self.client.gather(futures)
        finally:
            self.client.cancel(futures, force=True)
        return found


@contextmanager
def connected(cluster: str | None) -> Iterator[Client | None]:
    """A client of the cluster that was named: an address, or empty for that of this session.

    Raises
    ------
    UsageError
        If there is no session here.
    StorageError
        If nobody answers at the address.
    """
    if cluster is None:
        yield None
        return
    import dask
    from distributed import Client

    address = cluster or dask.config.get("scheduler-address", None)
    if not address:
        raise UsageError(
            "--workers: there is no session here whose workers could measure",
            hint="run it in a terminal of a session's JupyterLab, or name the scheduler: "
            "--workers=ADDRESS",
        )
    try:
        client = Client(address, timeout=_CONNECT)
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(
            f"no Dask scheduler answers at {address}: {error}",
            hint="is the cluster still there, and does DASK_CONFIG name its certificates?",
        ) from error
    with client:
        yield client


def muster(client: Client, directory: Path) -> Crew:
    """The workers of a cluster, once each was seen to have hpclaunch and the directory.

    Raises
    ------
    StorageError
        If there is no worker, or one lacks either.
    """
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise StorageError(
            "the cluster has no workers", hint="scale it up first: `hpclaunch scale NAME N`"
        )
    by_node: dict[str, list[str]] = {}
    for address, facts in sorted(workers.items()):
        by_node.setdefault(str(facts["host"]), []).append(address)
    crew = Crew(client, *zip(*_in_turn(by_node), strict=True))
    mark = directory / _MARK
    mark.write_bytes(os.urandom(16))
    try:
        seen = crew.each(_seen, [(str(mark),)] * len(crew.addresses))
    except ImportError as error:
        raise StorageError(
            f"the workers have no hpclaunch with its storage part: {error}",
            hint="pip install 'hpclaunch[storage]' in their environment",
        ) from error
    for node, content in seen:
        if content != mark.read_bytes():
            raise StorageError(
                f"{directory.parent} is not the same directory on node {node}",
                hint="choose one on a file system that all nodes share",
            )
    return Crew(client, crew.addresses, tuple(node for node, _ in seen))


def _in_turn(by_node: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    """Address and node of each worker: the first of each node, then the second of each."""
    for turn in range(max(map(len, by_node.values()))):
        yield from ((many[turn], node) for node, many in by_node.items() if turn < len(many))


def _seen(mark: str) -> tuple[str, bytes]:
    """On a worker: its node, and what it reads there. NFS clients learn of new files late."""
    for wait in (0.0, 0.5, 1.0, 2.0):
        time.sleep(wait)
        try:
            return socket.gethostname(), Path(mark).read_bytes()
        except OSError:
            continue
    return socket.gethostname(), b""
