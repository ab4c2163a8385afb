"""A site on which the session tests run: made up, in containers, or a real one."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpclaunch.keeper.client import KeeperClient
from hpclaunch.sessions.access import scheduler_of
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.record import Record
from hpclaunch.sessions.way import Way
from hpclaunch.shell import Completed
from hpclaunch.sites.catalog import LoadedSite, load
from tests.clusters.fakes import Fake
from tests.support.launch import Laptop, eventually, kernel, processes_with

COMPUTE = """
from dask.distributed import Client
client = Client()
client.wait_for_workers({workers}, timeout={patience})
print(sum(client.gather(client.map(abs, range(-9, 0)))))
"""


@dataclass(frozen=True)
class There:
    """A site, and the laptop that the tests sit at.

    Attributes
    ----------
    site : str
        Its name, or the path of its profile.
    name : str
        What the session of a test is called.
    patience : float
        Seconds for whatever waits in the queue.
    fake : Fake or None
        What a make-believe scheduler knows and how it misbehaves.
    """

    site: str
    laptop: Laptop
    name: str
    patience: float = 240.0
    fake: Fake | None = None

    @functools.cached_property
    def loaded(self) -> LoadedSite:
        return load(self.site)

    @property
    def kind(self) -> str:
        """Its scheduler."""
        return self.loaded.site.scheduler.kind

    @property
    def control(self) -> Fake:
        """The make-believe scheduler's; the test is skipped where there is none."""
        if self.fake is None:
            pytest.skip("a real scheduler cannot be told to misbehave")
        return self.fake

    @property
    def record(self) -> Record:
        """What the laptop knows of the session."""
        return Book().read(self.name)

    def start(self, *options: str) -> dict[str, Any]:
        """Start the session of this test, and wait until it is ready."""
        return self.laptop.start(self.site, "--name", self.name, *options, timeout=self.patience)

    def run(self, argv: list[str]) -> Completed:
        """Run a command on the login node, over the laptop's own connection."""
        with KeeperClient(Way.of(self.loaded)) as keeper:
            keeper.connect(None)
            return keeper.run(argv)

    def jobs(self, name: str) -> list[str]:
        """Ids of the live jobs of that name, by the scheduler itself."""
        scheduler = scheduler_of(self.record)
        return scheduler.parse_find(self.run(scheduler.find_command(name)), name)

    def cancel_from_outside(self) -> None:
        """Cancel the session's job, as its owner does on the login node."""
        record = self.record
        assert record.job_id is not None
        scheduler = scheduler_of(record)
        for argv in scheduler.cancel_commands([record.job_id]):
            scheduler.parse_cancel(self.run(argv))

    def state(self) -> str:
        """The session's state, by ``hpclaunch list``."""
        return str(self.laptop.sessions()[self.name]["state"])

    def why(self) -> str:
        """The cause, by ``hpclaunch why``."""
        return str(self.laptop.json("why", self.name, "--json")["cause"])

    def compute(self, document: dict[str, Any], workers: int) -> None:
        """Let a notebook of the session compute on its workers."""
        with kernel(document, timeout=self.patience) as notebook:
            done = notebook.run(COMPUTE.format(workers=workers, patience=self.patience))
        assert done.error is None, done.error
        assert done.text.endswith("45\n")

    def workers(self) -> int:
        """How many workers are there, by ``hpclaunch status``."""
        dask: dict[str, Any] = self.laptop.json("status", self.name, "--json")["dask"]
        return int(dask["present"])

    def stop(self) -> None:
        """Stop it, and see that nothing stays on the site."""
        before = self.record
        stopped = self.laptop.run("stop", self.name)
        assert stopped.returncode == 0, stopped.stderr
        names = (before.job_name, before.worker_job_name)
        eventually(lambda: not any(self.jobs(one) for one in names), what="no job is left")
        directory = before.session_dir or f"{before.base}/sessions/{self.name}-{before.nonce}"
        assert self.run(["test", "-e", directory]).exit != 0, f"{directory} is left"
        if self.fake is not None:  # the compute node is this machine
            eventually(lambda: not processes_with(directory), what="no process is left")


class Demo:
    """``hpclaunch demo`` in the background.

    Attributes
    ----------
    facts : dict
        What ``--json`` prints.
    fake : Fake
    """

    def __init__(self, laptop: Laptop, kind: str, *options: str) -> None:
        self._process = laptop.spawn("demo", "--scheduler", kind, "--json", *options)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._process.communicate()[1]
        self.facts: dict[str, str] = json.loads(line)
        self.directory = Path(self.facts["directory"])
        self.fake = Fake(kind, self.directory / "bin", self.directory / "spool")

    @property
    def profile(self) -> str:
        return self.facts["profile"]

    def argv(self, user: str | None = None, options: Sequence[str] = ()) -> list[str]:
        """What ssh needs to log in there."""
        login = [] if user is None else ["-l", user]
        return ["-F", self.facts["ssh_config"], *login, *options, self.facts["host"]]

    def ssh(
        self,
        *command: str,
        stdin: str = "",
        user: str | None = None,
        options: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on its login node, by plain ssh."""
        argv = ["ssh", "-T", *self.argv(user, options), *command]
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60)

    def connections(self) -> list[Any]:
        """What its process listens on and is connected to."""
        return list(psutil.Process(self._process.pid).net_connections("inet"))

    def signal(self, what: signal.Signals) -> None:
        """Send its process a signal."""
        self._process.send_signal(what)

    def end(self) -> str:
        """Interrupt it, as Ctrl-C does; returns what it told."""
        self._process.send_signal(signal.SIGINT)
        _, told = self._process.communicate(timeout=120)
        assert self._process.returncode == 0, told
        return told


@contextmanager
def demo_site(laptop: Laptop, kind: str) -> Iterator[There]:
    """A make-believe site, of which nothing is left afterwards."""
    demo = Demo(laptop, kind)
    if kind == "lsf":  # whose first signal is INT, of which a nanny with its worker ends late
        demo.fake.spool.set_mode("grace", "0.5")
    try:
        yield There(demo.profile, laptop, "s", fake=demo.fake)
    finally:
        demo.end()
    nothing_is_left(demo.directory)


def nothing_is_left(directory: Path) -> None:
    """Of a make-believe site that was in that directory."""
    assert not directory.exists()
    eventually(lambda: not processes_with(str(directory / "home")), what="no process is left")
