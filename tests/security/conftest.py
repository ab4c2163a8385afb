"""One session of alice's with a worker for all tests, on a site where homes are open."""

from __future__ import annotations

import functools
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.security.stranger import MALLORYS, SOMEBODY_ON_LAPTOP, User
from tests.support.cluster import PROFILE, Cluster, NoEngine, bring_up
from tests.support.launch import Laptop, kernel

NAME = "guarded"
NODES = ("c1", "c2")


@dataclass(frozen=True)
class Victim:
    """A ready session, and what its owner and the administrator know of it."""

    cluster: Cluster
    laptop: Laptop
    document: dict[str, Any]
    directory: str
    seen_at_start: dict[str, dict[str, list[str]]] = field(repr=False)

    @property
    def token(self) -> str:
        return str(self.document["token"])

    @property
    def node(self) -> str:
        return str(self.document["job"]["node"])

    @property
    def local_port(self) -> int:
        return int(self.document["url"].split(":")[2].split("/")[0])

    def read(self, name: str) -> str:
        """A file of the session's directory, as alice reads it."""
        return self.cluster.root("login", "cat", f"{self.directory}/{name}")

    @functools.cached_property
    def jupyter(self) -> tuple[str, int]:
        """Where Jupyter listens."""
        rendezvous = json.loads(self.read("rendezvous.json"))
        return rendezvous["addresses"][0], rendezvous["port"]

    @functools.cached_property
    def secrets(self) -> dict[str, str]:
        """What nobody else may learn."""
        keys = {name: self.read(f"tls/{name}.key").splitlines()[1] for name in ("jupyter", "dask")}
        return {"token": self.token, "dashboard": self.read("dask/dashboard.secret"), **keys}

    def processes(self, node: str) -> list[int]:
        """Processes of the session's jobs on a node: Jupyter, kernels, Dask."""
        script = 'for p in /proc/[0-9]*; do grep -qs "$1" $p/environ && echo ${p#/proc/}; done; :'
        folder = self.directory.rpartition("/")[2]
        return [
            int(pid) for pid in self.cluster.root(node, "sh", "-c", script, "sh", folder).split()
        ]

    def ports(self, node: str) -> dict[int, str]:
        """Ports on which the session listens on a node, with their addresses."""
        own = set(self.processes(node))
        found = {}
        for line in self.cluster.root(node, "ss", "-ltnpH").splitlines():
            owners = set(map(int, re.findall(r"pid=(\d+)", line)))
            if owners & own:
                address, _, port = line.split()[3].rpartition(":")
                found[int(port)] = address
        return found


@pytest.fixture(scope="package")
def cluster() -> Cluster:
    """The containerised SLURM cluster."""
    try:
        return bring_up()
    except NoEngine as reason:
        pytest.skip(f"no container engine: {reason}")


@pytest.fixture(scope="package")
def victim(cluster: Cluster) -> Iterator[Victim]:
    """The session; strangers watch all processes from before its start until it has its worker.

    Homes are open here, as on many sites, and the laptop's home too: what closes the session must
    be its own.
    """
    home = Path(tempfile.mkdtemp(prefix="hpcl-", dir="/tmp"))
    home.chmod(0o755)
    laptop = Laptop(home)
    with ExitStack() as stack:
        cluster.root("login", "chmod", "755", "/home/alice")
        stack.callback(cluster.root, "login", "chmod", "700", "/home/alice")
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        stack.callback(laptop.run, "stop", NAME)
        watching = {
            user: stack.enter_context(user.trying("processes"))
            for user in (*MALLORYS, SOMEBODY_ON_LAPTOP)
        }
        for user, process in watching.items():
            assert b"listening" in process.stderr.readline(), f"{user} does not watch"
        document = laptop.start(
            str(PROFILE), "--name", NAME, "--workers", "1", "--walltime", "00:30:00"
        )
        _await_worker(document)
        seen = {str(user): _what_it_saw(user, process) for user, process in watching.items()}
        (record,) = home.glob(f"state/sessions/{NAME}/record.json")
        nonce = json.loads(record.read_text())["nonce"]
        folder = f"/home/alice/.hpclaunch/sessions/{NAME}-{nonce}"
        yield Victim(cluster, laptop, document, folder, seen)


def _what_it_saw(user: User, process: Any) -> dict[str, list[str]]:
    out, err = process.communicate(timeout=120)  # closes its stdin: that is the end of watching
    assert process.returncode == 0, f"{user} could not watch: {err.decode()}"
    seen: dict[str, list[str]] = json.loads(out)
    return seen


def _await_worker(document: dict[str, Any]) -> None:
    with kernel(document, timeout=200) as running:
        said = running.run(
            "from distributed import Client\n"
            "with Client() as client: client.wait_for_workers(1, timeout=180)"
        )
    assert said.error is None, said
