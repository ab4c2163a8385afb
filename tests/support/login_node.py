"""A login node that is this machine: a keeper's connection to a scheduler on PATH."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hpclaunch.errors import CommandTimeout, TransportError
from hpclaunch.keeper.register import Watched
from hpclaunch.keeper.watch import Watch
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.record import Record
from hpclaunch.shell import Completed
from tests.pure.records import record

FACTS: dict[str, Any] = {
    "cores": 1,
    "memory": 500_000_000,
    "walltime": 3600,
    "queue": "standard",
    "account": None,
    "qos": None,
    "memory_as": "node",
    "extra": [],
    "max_jobs": None,
}
"""One worker job, as a record keeps it."""


class LoginNode:
    """A transport whose commands run here, with another PATH.

    Attributes
    ----------
    gone : bool
        Whether it answers no more.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.gone = False

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0) -> Completed:
        if self.gone:
            raise TransportError("nobody is there any more")
        environment = {"PATH": self.path, "HOME": os.environ["HOME"]}
        try:
            done = subprocess.run(
                argv, input=stdin, capture_output=True, env=environment, timeout=timeout
            )
        except subprocess.TimeoutExpired as error:
            raise CommandTimeout("too late") from error
        if self.gone:
            raise TransportError("nobody is there any more")
        return Completed.of(argv, done.returncode, done.stdout.decode(), done.stderr.decode())


class Link:
    """The keeper's connection, always there."""

    def __init__(self, node: LoginNode) -> None:
        self.transport = node
        self.up = threading.Event()
        self.up.set()

    def doubt(self) -> None:
        """It is as it is."""


class Tunnels:
    """No tunnels."""

    def is_open(self, name: str) -> bool:
        return False

    def close(self, name: str) -> None:
        """Nothing to close."""


class Laptop:
    """A keeper that can die, and what it leaves: the records."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.book = Book()
        self.wake()

    def wake(self) -> None:
        """Another keeper, that knows the records only."""
        self._node = LoginNode(self._path)
        self.watch = Watch(self.book, Link(self._node), Tunnels())  # type: ignore[arg-type]
        for one in self.book:
            self.watch.adopt(one.name)

    def put(self, directory: Path, **facts: Any) -> Record:
        """A session of that directory, whose job waits in the queue, under watch."""
        told = self._node.run(
            [
                "sbatch",
                "--parsable",
                f"--job-name=hpclaunch-{directory.name}",
                "--output=/dev/null",
            ],
            stdin=b"#!/bin/sh\nexec sleep 600\n",
        )
        fields: dict[str, Any] = {
            "name": directory.name,
            "nonce": f"{zlib.crc32(directory.name.encode()):08x}",
            "session_dir": str(directory),
            "base": str(directory.parent),
            "job_id": told.stdout.split()[-1],
            "submitting": time.time(),
            "job": {"state": "queued"},
            "workers": FACTS,
            "job_name": f"hpclaunch-{directory.name}",
            "worker_job_name": f"hpclaunch-{directory.name}-w",
            **facts,
        }
        one = record(**fields)
        self.book.create(one)
        self.watch.adopt(one.name)
        return one

    def serve(self) -> None:
        """One look at all orders."""
        self.watch._orders.serve()

    def watched(self, name: str) -> Watched:
        return next(one for one in self.watch._register.all() if one.name == name)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Let the keeper do all that it does, for a while; then it is gone at once."""
        self.watch.start()
        try:
            yield
        finally:
            self._node.gone = True
            self.watch.close()
