"""Whole sessions on make-believe sites of every batch scheduler: no ssh, real jobs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hpclaunch.node import address
from tests.clusters.fakes import WAITING, Fake
from tests.node.live import REPOSITORY
from tests.support.launch import Laptop, eventually, kernel, processes_with

pytestmark = [
    pytest.mark.local,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not address.for_nodes(), reason="this machine has no address but loopback"),
]
# Slurm's whole way is shown by the container cluster.
on_both = pytest.mark.parametrize("there", ["pbs", "lsf"], indirect=True)

NEVER = {
    "pbs": "Can Never Run: Insufficient amount of resource: ncpus (R: 64 A: 8 T: 8)",
    "lsf": "Dependency condition invalid or never satisfied: 1 host",
}
CANCEL = {"pbs": "qdel", "lsf": "bkill"}


@dataclass(frozen=True)
class There:
    """A site on this machine whose scheduler is a make-believe one."""

    fake: Fake
    base: Path

    @property
    def profile(self) -> str:
        """Its profile."""
        file = self.base / "site.toml"
        if not file.exists():
            file.write_text(
                f"""
name = "{self.fake.kind}"
[login]
transport = "local"
prologue = ['export PATH={self.fake.bin}:"$PATH"']
[scheduler]
kind = "{self.fake.kind}"
[environments.default]
python = "{REPOSITORY}/.venv/bin/python"
[paths]
base = "{self.base}/hpclaunch"
[session]
walltime = "0:10:00"
memory = "1 GB"
[dask]
memory = "500 MB"
"""
            )
        return str(file)

    @property
    def sessions(self) -> list[Path]:
        """What is left of sessions."""
        return list((self.base / "hpclaunch" / "sessions").iterdir())


@pytest.fixture
def there(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[There]:
    found = There(Fake.install(tmp_path / "fake", request.param), tmp_path)
    yield found
    found.fake.kill()


@on_both
def test_a_session_waits_with_its_reason_computes_and_leaves_nothing(
    laptop: Laptop, there: There
) -> None:
    fake = there.fake
    fake.hold()
    starting = laptop.spawn(
        *("start", there.profile, "--name", "s", "--workers", "2"),
        *("--json", "--detach", "--no-browser"),
    )
    waiting = eventually(
        lambda: (one := laptop.sessions().get("s", {})).get("reason") and one, what="its reason"
    )
    (job,) = fake.ids(1)
    assert (waiting["state"], waiting["job"]) == ("queued", job)
    assert waiting["reason"] == WAITING[fake.kind]
    start = None if fake.kind == "lsf" else "2026-11-30T10:00:00"
    assert waiting["expected_start"] == start
    assert WAITING[fake.kind] in laptop.json("why", "s", "--json")["cause"]
    fake.release()
    out, errors = starting.communicate(timeout=120)
    assert starting.returncode == 0, errors
    document = json.loads(out)
    assert (document["job"]["id"], document["job"]["scheduler"]) == (job, fake.kind)
    compute(document)
    told = laptop.run("status", "s").stdout
    assert all(one in told for one in fake.ids(2, 3)), told
    assert laptop.run("stop", "s").returncode == 0
    assert fake.cancelled == set(fake.ids(1, 2, 3))
    eventually(lambda: not fake.alive, what="no job is left")
    eventually(lambda: not processes_with(str(there.base / "hpclaunch")), what="no process is left")
    assert there.sessions == []


def compute(document: dict[str, object]) -> None:
    """Let both workers of a session do something."""
    with kernel(document) as notebook:
        code = "from dask.distributed import Client; client = Client()\n"
        code += "client.wait_for_workers(2, timeout=60)\n"
        code += "print(sum(client.gather(client.map(abs, range(-9, 0)))))"
        assert notebook.run(code).text.endswith("45\n")


@on_both
def test_a_job_that_can_never_start_is_refused_in_the_schedulers_words(
    laptop: Laptop, there: There
) -> None:
    there.fake.hold(NEVER[there.fake.kind])
    done = laptop.run("start", there.profile, "--no-browser", "--detach", timeout=60)
    assert done.returncode == 1
    assert "can never start" in done.stderr
    assert NEVER[there.fake.kind] in done.stderr
    assert there.fake.cancelled == set(there.fake.ids(1))
    assert there.sessions == []


@on_both
def test_a_session_that_is_cancelled_from_outside_says_so(laptop: Laptop, there: There) -> None:
    """By the exit status alone, where LSF keeps no reason."""
    laptop.start(there.profile, "--name", "s")
    (job,) = there.fake.ids(1)
    subprocess.run([there.fake.bin / CANCEL[there.fake.kind], job], check=True)
    eventually(lambda: laptop.sessions()["s"]["state"] == "failed", what="its end is noticed")
    told = laptop.json("why", "s", "--json")
    assert (
        f"job {job} of session s on {there.fake.kind} was cancelled from outside" in told["cause"]
    )
    assert laptop.run("stop", "s").returncode == 0
    assert there.sessions == []


@on_both
@pytest.mark.long
def test_a_session_whose_walltime_is_over_says_so(laptop: Laptop, there: There) -> None:
    """PBS tells it; LSF sends USR2 and forgets it, so the exit status of the job must."""
    laptop.start(there.profile, "--name", "s", "--walltime", "0:01:00")
    over = ("ended", "failed")
    eventually(lambda: laptop.sessions()["s"]["state"] in over, timeout=120, what="its end")
    told = laptop.json("why", "s", "--json")
    assert "reached its walltime of 00:01:00" in told["cause"]
    assert laptop.sessions()["s"]["state"] == "ended"
    assert laptop.run("stop", "s").returncode == 0
    assert there.sessions == []


@on_both
@pytest.mark.long
def test_a_batch_job_runs_its_script_and_tells_its_exit_code(
    laptop: Laptop, there: There, tmp_path: Path
) -> None:
    script = tmp_path / "sum.py"
    script.write_text(
        "import sys\nfrom distributed import Client\n"
        "client = Client()\nprint(sum(client.gather(client.map(abs, range(-9, 0)))))\nsys.exit(3)\n"
    )
    done = laptop.run("batch", there.profile, "--wait", "--name", "b", str(script), timeout=120)
    assert done.returncode == 3, done.stderr
    assert "45" in done.stdout
    assert laptop.run("stop", "b").returncode == 0
    eventually(lambda: not there.fake.alive, what="no job is left")


@on_both
def test_a_check_tells_what_differs_and_that_its_job_waits(laptop: Laptop, there: There) -> None:
    there.fake.hold()
    profile = Path(there.profile)
    with profile.open("a") as file:
        file.write('[[queues]]\nname = "short"\nmax_walltime = "1:00:00"\ncores_per_node = 4\n')
        file.write('[[queues]]\nname = "gone"\n')
    done = laptop.run("site", "check", str(profile), "--json", "--timeout", "5")
    assert done.returncode == 1, done.stderr
    lines = {one["key"]: (one["result"], one["found"]) for one in json.loads(done.stdout)}
    assert lines["scheduler.kind"][0] == "holds"
    assert lines["queues.short.max_walltime"] == ("differs", "00:10:00")
    assert lines["queues.short.cores_per_node"][0] == "holds"
    assert lines["queues.gone"][0] == "differs"
    assert lines["job"][0] == "unknown"
    assert WAITING[there.fake.kind] in lines["job"][1]
    assert there.fake.cancelled == set(there.fake.ids(1))
    assert there.sessions == []
