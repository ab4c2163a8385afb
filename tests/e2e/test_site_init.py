"""Two commands from nothing to a session: `site init`, then `start` with the profile as it is."""

from __future__ import annotations

import os
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpclaunch.node import address
from tests.clusters.fakes import Fake
from tests.node.live import REPOSITORY
from tests.support.cluster import DOCKER, Cluster
from tests.support.launch import Laptop, eventually, kernel
from tests.support.people import secret
from tests.support.terminal import Person

SUM = "from dask.distributed import Client; client = Client()\n"
SUM += "client.wait_for_workers(1, timeout=90)\n"
SUM += "print(sum(client.gather(client.map(abs, range(-9, 0)))))"


def computes(document: dict[str, object]) -> None:
    """Let a worker of a session do something."""
    with kernel(document) as notebook:
        assert notebook.run(SUM).text.endswith("45\n")


INIT = ("site", "init", "--ssh-config", str(DOCKER / "run" / "ssh_config"), "--name", "mine")


@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_a_session_starts_on_the_cluster_with_what_was_found(
    laptop: Laptop, cluster: Cluster
) -> None:
    done = laptop.run(*INIT, "hpclaunch-login")
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("next: hpclaunch start mine\n")
    document = laptop.start("mine", "--name", "first", "--workers", "1")
    assert document["site"] == "mine"
    computes(document)
    assert laptop.run("stop", "first").returncode == 0


@pytest.mark.cluster
@pytest.mark.timeout(120)
@pytest.mark.parametrize("transport", ["openssh", "paramiko"])
def test_a_password_is_asked_for_once(laptop: Laptop, cluster: Cluster, transport: str) -> None:
    """Both transports find the same, and say in the profile which one found it."""
    asked = [("'s password: ", secret("dave.password"))]
    heard = Person(laptop).types(
        *INIT, "--transport", transport, "hpclaunch-login-dave", answers=asked
    )
    assert heard.exit == 0, heard.screen
    site = tomllib.loads((laptop.home / "config" / "sites" / "mine.toml").read_text())
    assert site["login"]["transport"] == transport
    assert [queue["name"] for queue in site["queues"]] == ["compute", "short"]
    if transport == "openssh":  # whose connection outlives the command for a minute
        with_it = Person(laptop).types("start", "mine", "--name", "s", "--detach", "--no-browser")
        assert with_it.exit == 0, with_it.screen
        assert laptop.run("stop", "s").returncode == 0


@pytest.mark.cluster
@pytest.mark.timeout(120)
@pytest.mark.parametrize("person", ["bob", "zoe", "tess", "pat"])
def test_chatty_files_other_shells_and_a_scheduler_off_path(
    laptop: Laptop, cluster: Cluster, person: str
) -> None:
    done = laptop.run(*INIT, f"hpclaunch-login-{person}", "--output", "-")
    assert done.returncode == 0, done.stderr
    site = tomllib.loads(done.stdout)
    assert [queue["name"] for queue in site["queues"]] == ["compute", "short"]
    off_path = person == "pat"
    assert site["login"].get("prologue") == ([". /etc/profile"] if off_path else None)


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
@pytest.mark.parametrize(
    "fake", ["pbs", "lsf", pytest.param("slurm", marks=pytest.mark.long)], indirect=True
)
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
