"""What the laptop asks for is read completely, or refused with the key that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import SpecError, WorkerJobs, read_session

pytestmark = pytest.mark.pure

DASK = {"mode": "jobqueue", "workers": 3, "cores": 2, "memory": 4_000_000_000, "walltime": 600}
SPEC = {"version": 1, "name": "demo", "nonce": "abc", "site": "x", "scheduler": "slurm"}


def write(directory: Path, spec: object) -> str:
    (directory / Layout.SPEC).write_text(json.dumps(spec))
    return str(directory)


def test_a_session_with_worker_jobs(tmp_path: Path) -> None:
    more: dict[str, Any] = {"submit": "ssh", "submit_host": "login", "submit_prologue": ["x"]}
    more |= {"queue": "standard", "extra_directives": ["-C cpu"], "setup": ["module load x"]}
    spec = {**SPEC, "ends_in": 60, "dask": {**DASK, **more, "local_directory": "/scratch"}}
    found = read_session(write(tmp_path, spec))
    assert (found.mode, found.workers, found.ends_in) == ("jobqueue", 3, 60.0)
    assert found.jobs == WorkerJobs(
        cores=2,
        memory=4_000_000_000,
        walltime=600,
        queue="standard",
        extra_directives=("-C cpu",),
        setup=("module load x",),
        local_directory="/scratch",
        submit="ssh",
        submit_host="login",
        submit_prologue=("x",),
    )
    assert found.path(Layout.TOKEN) == str(tmp_path / "token")


def test_a_session_without_a_cluster(tmp_path: Path) -> None:
    found = read_session(write(tmp_path, SPEC))
    assert (found.mode, found.workers, found.jobs) == (None, 0, None)
    assert found.work_dir == str(Path.home())
    assert found.start_timeout == 120


def test_a_session_without_a_cluster_may_describe_worker_jobs(tmp_path: Path) -> None:
    found = read_session(write(tmp_path, {**SPEC, "jobqueue": DASK}))
    assert (found.mode, found.workers) == (None, 0)
    assert found.jobs is not None
    assert found.jobs.cores == 2


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({**SPEC, "version": 2}, "version"),
        ({**SPEC, "dask": {**DASK, "submit": "phone"}}, "submit must be 'node', 'ssh' or 'laptop'"),
        ({**SPEC, "dask": {**DASK, "submit": "ssh"}}, "submit_host is missing"),
        ([], "version"),
        ({"version": 1}, "'name'"),
        ({**SPEC, "ends_in": "soon"}, "soon"),
        ({**SPEC, "dask": {**DASK, "mode": "mpi4"}}, "dask.mode"),
        ({**SPEC, "dask": {"mode": "mpi", "workers": 2}}, "block is missing"),
        ({**SPEC, "dask": {**DASK, "walltime": None}}, "dask.walltime"),
        ({**SPEC, "scheduler": "local", "dask": DASK}, "needs a batch scheduler"),
        ({**SPEC, "dask": {"mode": "local", "workers": 1, "cores": 1}}, "'memory'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, spec: Any, named: str) -> None:
    with pytest.raises(SpecError, match=r"session\.json") as refused:
        read_session(write(tmp_path, spec))
    assert named in str(refused.value)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        read_session(str(tmp_path))
    (tmp_path / Layout.SPEC).write_text("{")
    with pytest.raises(SpecError, match="cannot be read"):
        read_session(str(tmp_path))
