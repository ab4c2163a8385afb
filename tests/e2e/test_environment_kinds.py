"""Whole sessions in environments of a kind, on a make-believe PBS of this machine.

The virtual environment is a real one. Where no Apptainer can be installed for tests, what
stands in hides the commands of the scheduler and sets what images set, on the same disk.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpclaunch.node import address
from tests.clusters.fakes import Fake
from tests.pure.plans import fake_interpreter
from tests.pure.sites import write_toml
from tests.support.launch import Laptop, eventually, kernel, processes_with

pytestmark = [
    pytest.mark.local,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not address.for_nodes(), reason="this machine has no address but loopback"),
]
APPTAINER = f"""#!/bin/bash
[ "$1" = exec ] || exit 2
shift
while [ "${{1#-}}" != "$1" ]; do
    [ "$1" = --bind ] && {{ [ -e "${{2%%:*}}" ] || exit 255; shift; }}
    shift
done
export INSIDE=$1
shift
export PATH={os.defpath} PYTHONPATH=$APPTAINERENV_PYTHONPATH
DASK_CONFIG=${{APPTAINERENV_DASK_CONFIG:-$DASK_CONFIG}} exec "$@"
"""


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    found = Fake.install(tmp_path / "fake", "pbs")
    fake_interpreter(found.bin / "apptainer", APPTAINER)
    yield found
    found.kill()


def profile(tmp_path: Path, fake: Fake, environment: dict[str, Any], **tables: Any) -> str:
    content = {
        "name": "kinds",
        "login": {"transport": "local", "prologue": [f'export PATH={fake.bin}:"$PATH"']},
        "scheduler": {"kind": "pbs", "epilogue": [f"echo $1 >>{tmp_path}/ended"]},
        "environments": {"default": environment},
        "paths": {"base": f"{tmp_path}/hpclaunch"},
        "session": {"walltime": "0:10:00", "memory": "1 GB"},
        "dask": {"memory": "500 MB"},
        **tables,
    }
    return str(write_toml(tmp_path / "kinds.toml", content))


LOOK = """
import os, shutil, sys
from distributed import Client

def look():
    return sys.prefix, os.environ.get("VIRTUAL_ENV"), os.environ.get("INSIDE")

client = Client()
client.wait_for_workers(1, timeout=90)
told = [look(), list(client.run(look).values()), shutil.which("qsub")]
print(repr(told))
"""


def look(document: dict[str, Any], code: str = LOOK) -> Any:
    with kernel(document) as notebook:
        return ast.literal_eval(notebook.run(code).text.strip().splitlines()[-1])


def leave(laptop: Laptop, tmp_path: Path, fake: Fake) -> None:
    """Stop the session: nothing is left, and every job has run its epilogue."""
    assert laptop.run("stop", "s").returncode == 0
    eventually(lambda: not fake.alive, what="no job is left")
    eventually(lambda: not processes_with(f"{tmp_path}/hpclaunch"), what="no process is left")
    assert list((tmp_path / "hpclaunch" / "sessions").iterdir()) == []
    assert len((tmp_path / "ended").read_text().splitlines()) == 2


@pytest.mark.long
def test_a_session_and_its_workers_run_in_a_virtual_environment(
    laptop: Laptop, tmp_path: Path, fake: Fake
) -> None:
    place = tmp_path / "my venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "all.pth").write_text(sysconfig.get_path("purelib") + "\n")
    document = laptop.start(
        profile(tmp_path, fake, {"venv": str(place)}), "--name", "s", "--workers", "1"
    )
    here = (str(place), str(place), None)
    assert look(document)[:2] == [here, [here]]
    leave(laptop, tmp_path, fake)


def image_of(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "my image.sif").touch()
    return {"python": sys.executable, "container": {"image": str(tmp_path / "my image.sif")}}


def test_a_session_in_an_image_submits_its_workers_from_there(
    laptop: Laptop, tmp_path: Path, fake: Fake
) -> None:
    """The image has no qsub; the job's script, outside, runs it."""
    site = profile(tmp_path, fake, image_of(tmp_path))
    document = laptop.start(site, "--name", "s", "--workers", "1")
    here = (sys.prefix, os.environ.get("VIRTUAL_ENV"), str(tmp_path / "my image.sif"))
    mine, workers, qsub = look(document)
    assert (mine, workers) == (here, [here])
    assert qsub.endswith("/bin/qsub") and "/hpclaunch-" in qsub
    leave(laptop, tmp_path, fake)
    assert not Path(qsub).exists()


@pytest.mark.long
def test_a_notebooks_own_cluster_in_an_image_needs_no_argument(
    laptop: Laptop, tmp_path: Path, fake: Fake
) -> None:
    site = profile(tmp_path, fake, image_of(tmp_path))
    document = laptop.start(site, "--name", "s")
    code = LOOK.replace(
        "client = Client()",
        "from dask_jobqueue import PBSCluster\ncluster = PBSCluster()\ncluster.scale(1)\n"
        "client = Client(cluster)",
    )
    image = str(tmp_path / "my image.sif")
    assert [one[2] for one in look(document, code + "client.close(); cluster.close()")[1]] == [
        image
    ]
    leave(laptop, tmp_path, fake)


SCRIPT = """
import os, sys
from distributed import Client
client = Client()
inside = [os.environ["INSIDE"], *client.run(lambda: __import__("os").environ["INSIDE"]).values()]
print("inside", len(inside), len(set(inside)))
sys.exit(3)
"""


@pytest.mark.long
@pytest.mark.parametrize("way", ["batch", "mpi"])
def test_ranks_are_started_outside_and_run_inside(
    laptop: Laptop, tmp_path: Path, fake: Fake, way: str
) -> None:
    launcher = str(Path(sys.executable).with_name("mpiexec"))
    site = profile(tmp_path, fake, image_of(tmp_path), mpi={"launcher": [launcher]})
    if way == "batch":
        script = tmp_path / "run.py"
        script.write_text(SCRIPT)
        done = laptop.run("batch", site, "--wait", "--name", "s", str(script), timeout=150)
        assert done.returncode == 3, done.stderr
        assert "inside 3 1" in done.stdout
        return
    document = laptop.start(site, "--name", "s", "--dask", "mpi", "--workers", "2")
    mine, workers, _ = look(document)
    assert {mine[2], *(one[2] for one in workers)} == {str(tmp_path / "my image.sif")}
    assert len(workers) == 2
    assert laptop.run("stop", "s").returncode == 0
