"""Two commands from nothing to a session: `site init`, then `start` with the profile as it is."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpclaunch.node import address
from tests.clusters.fakes import Fake
from tests.node.live import REPOSITORY
from tests.support.cluster import DOCKER, Cluster
from tests.support.launch import Laptop, eventually, kernel

SUM = "from dask.distributed import Client; client = Client()\n"
SUM += "client.wait_for_workers(1, timeout=90)\n"
SUM += "print(sum(client.gather(client.map(abs, range(-9, 0)))))"


def computes(document: dict[str, object]) -> None:
    """Let a worker of a session do something."""
    with kernel(document) as notebook:
        assert notebook.run(SUM).text.endswith("45\n")


@pytest.mark.cluster
@pytest.mark.timeout(300)
@pytest.mark.parametrize("transport", ["openssh", "paramiko"])
def test_a_session_starts_on_the_cluster_with_what_was_found(
    laptop: Laptop, cluster: Cluster, transport: str
) -> None:
    config = DOCKER / "run" / "ssh_config"
    done = laptop.run(
        *("site", "init", "hpclaunch-login", "--ssh-config", str(config)),
        *("--name", "mine", "--transport", transport),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("next: hpclaunch start mine\n")
    document = laptop.start("mine", "--name", "first", "--workers", "1")
    assert document["site"] == "mine"
    computes(document)
    assert laptop.run("stop", "first").returncode == 0


@pytest.fixture
def fake(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """A make-believe scheduler on PATH, and a home of its own."""
    base = Path(tempfile.mkdtemp(prefix="hpcl-", dir="/tmp"))
    found = Fake.install(base / "fake", request.param)
    (base / "home").mkdir()
    monkeypatch.setenv("HOME", str(base / "home"))
    monkeypatch.setenv("PATH", f"{found.bin}:{os.environ['PATH']}")
    yield found
    found.kill()
    shutil.rmtree(base, ignore_errors=True)


@pytest.mark.local
@pytest.mark.timeout(240)
@pytest.mark.skipif(not address.for_nodes(), reason="this machine has no address but loopback")
@pytest.mark.parametrize("fake", ["slurm", "pbs", "lsf"], indirect=True)
def test_a_session_starts_on_a_make_believe_site_with_what_was_found(
    fake: Fake, laptop: Laptop
) -> None:
    """As on a login node itself: no ssh."""
    done = laptop.run(
        *("site", "init", "--transport", "local", "--name", "mine"),
        *("--environment", f"{REPOSITORY}/.venv/bin/python"),
    )
    assert done.returncode == 0, done.stderr
    assert not fake.jobs
    document = laptop.start("mine", "--name", "first", "--workers", "1")
    assert document["job"]["scheduler"] == fake.kind
    computes(document)
    assert laptop.run("stop", "first").returncode == 0
    eventually(lambda: not fake.alive, what="no job is left")
