"""Dask's configuration of a session, read by Dask itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpclaunch.node.daskconfig import Place, scratch_here, settings, users_own
from hpclaunch.node.spec import Session, WorkerJobs
from hpclaunch.units import MemoryAs

pytestmark = pytest.mark.pure

PLACE = Place("10.1.2.3", "/env/bin/python", "/lib", "/tmp/x")
JOBS = WorkerJobs(cores=2, memory=4_000_000_000, walltime=600, queue="standard", qos="high")


def session(**fields: Any) -> Session:
    return Session(
        **{
            "directory": "/home/ann/demo",
            "name": "demo",
            "nonce": "abc",
            "scheduler": "slurm",
            **fields,
        }
    )


def as_dask_reads(directory: Path, *keys: str, **environment: str) -> list[Any]:
    """What a process of the session finds in its configuration."""
    code = (
        "import dask.config, json, sys, distributed, dask_jobqueue\n"
        "print(json.dumps([dask.config.get(key, None) for key in sys.argv[1:]]))"
    )
    kept = {"PATH": os.environ["PATH"], "HOME": str(directory), "DASK_CONFIG": str(directory)}
    done = subprocess.run(
        [sys.executable, "-c", code, *keys],
        env={**kept, **environment},
        stdout=subprocess.PIPE,
        check=True,
    )
    found: list[Any] = json.loads(done.stdout)
    return found


def test_dask_finds_encryption_scheduler_and_defaults(tmp_path: Path) -> None:
    written = settings(session(jobs=JOBS, mode="jobqueue"), PLACE, "tls://10.1.2.3:4567")
    (tmp_path / "hpclaunch.yaml").write_text(json.dumps(written))
    keys = {
        "scheduler-address": "tls://10.1.2.3:4567",
        "distributed.comm.default-scheme": "tls",
        "distributed.comm.require-encryption": True,
        "distributed.comm.tls.client.key": "/home/ann/demo/tls/dask.key",
        "distributed.worker.http.routes": [],
        "distributed.dashboard.link": "/dask/status",
        "jobqueue.slurm.cores": 2,
        "jobqueue.slurm.memory": "4000000000 B",
        "jobqueue.slurm.walltime": "00:10:00",
        "jobqueue.slurm.queue": "standard",
        "jobqueue.slurm.job-extra-directives": ["--qos=high", "--no-requeue"],
        "jobqueue.slurm.name": "hpclaunch-demo-abc-w",
        "jobqueue.slurm.death-timeout": 60,  # dask-jobqueue's own default stays
    }
    assert as_dask_reads(tmp_path, *keys) == list(keys.values())


OWN = {
    "pbs": (
        {"chunk": ["model=mil_ait"], "place": "scatter:excl", "charge_by": "-P"},
        {
            "queue": "standard",
            "account": None,
            "walltime": "00:10:00",
            "resource-spec": "select=1:ncpus=2:mem=3815mb:model=mil_ait",
            "job-extra-directives": [
                *("-r n", "-m n", "-l place=scatter:excl", "-P proj1", "-l filesystems=home"),
            ],
        },
    ),
    "lsf": (
        {"memory_unit": "GB"},
        {
            "queue": "standard",
            "project": "proj1",
            "walltime": "10",  # minutes
            "mem": 4_000_000_000,
            "lsf-units": "gb",
            "use-stdin": True,
            "job-extra-directives": ["-l filesystems=home"],
        },
    ),
}


@pytest.mark.parametrize("kind", OWN)
def test_a_cluster_of_the_users_own_is_configured_for_pbs_and_lsf(
    kind: str, tmp_path: Path
) -> None:
    quirks, wanted = OWN[kind]
    extra = ("-l filesystems=home",)
    jobs = replace(JOBS, qos=None, account="proj1", extra_directives=extra)
    one = session(scheduler=kind, scheduler_quirks=quirks, jobs=jobs)
    (tmp_path / "hpclaunch.yaml").write_text(json.dumps(settings(one, PLACE)))
    keys = {f"jobqueue.{kind}.{key}": value for key, value in wanted.items()}
    assert as_dask_reads(tmp_path, *keys) == list(keys.values())


HEADERS = {
    "pbs": ["#PBS -q standard", "#PBS -l walltime=00:10:00", "#PBS -P proj1",
            "#PBS -l select=1:ncpus=2:mem=3815mb:model=mil_ait"],
    "lsf": ["#BSUB -q standard", '#BSUB -P "proj1"', "#BSUB -W 10", "#BSUB -M 4", "#BSUB -n 2"],
}  # fmt: skip


def script_of(one: Session, tmp_path: Path) -> list[str]:
    """The script of a worker job as dask-jobqueue writes it by the session's configuration."""
    written = settings(one, PLACE)
    kind = one.scheduler
    written["jobqueue"][kind]["log-directory"] = str(tmp_path)
    (tmp_path / "hpclaunch.yaml").write_text(json.dumps(written))
    job = f"{kind.upper()}Job"
    code = (
        f"from dask_jobqueue.{kind} import {job}\n"
        f"print({job}('tls://10.1.2.3:4567', 'w').job_script())"
    )
    kept = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DASK_CONFIG": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=kept, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("kind", OWN)
def test_dask_jobqueue_makes_the_right_lines_of_it(kind: str, tmp_path: Path) -> None:
    quirks, _ = OWN[kind]
    jobs = replace(JOBS, qos=None, account="proj1")
    script = script_of(session(scheduler=kind, scheduler_quirks=quirks, jobs=jobs), tmp_path)
    assert set(HEADERS[kind]) <= set(script)
    assert ('cd "$PBS_O_WORKDIR"' in script) == (kind == "pbs"), "where the notebook is"


@pytest.mark.parametrize(
    ("kind", "quirks", "memory_as", "lines"),
    [
        ("slurm", {}, "node", ["#SBATCH --mem=4G"]),
        ("slurm", {}, "core", ["#SBATCH --mem-per-cpu=1908M"]),
        ("slurm", {}, "whole", ["#SBATCH --mem=0"]),
        ("slurm", {}, "none", []),
        ("lsf", {"memory_unit": "MB", "memory_per": "host"}, "node", ["#BSUB -M 4000"]),
        ("lsf", {"memory_unit": "MB", "memory_per": "task"}, "node", ["#BSUB -M 2000"]),
        ("lsf", {"memory_unit": "MB"}, "none", []),
    ],
)
def test_a_cluster_of_the_users_own_asks_for_memory_the_way_the_site_wants(
    kind: str, quirks: dict[str, Any], memory_as: MemoryAs, lines: list[str], tmp_path: Path
) -> None:
    jobs = replace(JOBS, memory_as=memory_as)
    script = script_of(session(scheduler=kind, scheduler_quirks=quirks, jobs=jobs), tmp_path)
    memory = ("#SBATCH --mem", "#BSUB -M")
    assert [line for line in script if line.startswith(memory)] == lines


def test_torque_is_asked_in_its_own_words() -> None:
    one = session(scheduler="pbs", scheduler_quirks={"dialect": "torque"}, jobs=JOBS)
    found = settings(one, PLACE)["jobqueue"]["pbs"]
    assert found["resource-spec"] == "nodes=1:ppn=2"
    assert "-l mem=3815mb" in found["job-extra-directives"]
    unasked = session(scheduler="pbs", jobs=replace(JOBS, memory_as="none"))
    found = settings(unasked, PLACE)["jobqueue"]["pbs"]
    assert found["resource-spec"] == "select=1:ncpus=2"


@pytest.mark.parametrize(
    ("quirks", "memory_as", "spec"),
    [
        ({"dialect": "totals"}, "node", "ncpus=2,mem=3815mb"),
        ({"dialect": "totals"}, "none", "ncpus=2"),
        ({"chunk": ["system=x"]}, "whole", "select=1:ncpus=2:system=x"),
    ],
)
def test_pbs_is_asked_for_memory_the_way_the_site_wants(
    quirks: dict[str, Any], memory_as: MemoryAs, spec: str
) -> None:
    jobs = replace(JOBS, memory_as=memory_as)
    one = session(scheduler="pbs", scheduler_quirks=quirks, jobs=jobs)
    found = settings(one, PLACE)["jobqueue"]["pbs"]
    assert found["resource-spec"] == spec
    assert not [line for line in found["job-extra-directives"] if "mem" in line]


def test_a_session_without_a_cluster_is_encrypted_all_the_same() -> None:
    found = settings(session(), PLACE)
    assert "scheduler-address" not in found
    assert found["distributed"]["comm"]["require-encryption"] is True
    assert found["jobqueue"]["slurm"]["python"] == "/env/bin/python"
    assert "cores" not in found["jobqueue"]["slurm"]
    assert "factory" not in found["labextension"]


def test_this_machine_has_no_batch_scheduler() -> None:
    assert "jobqueue" not in settings(session(scheduler="local", jobs=JOBS), PLACE)


def test_scratch_of_this_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH_HERE", "/scratch/7")
    monkeypatch.delenv("NOT_SET", raising=False)
    for wanted, found in (
        ("$SCRATCH_HERE/dask", "/scratch/7/dask"),
        ("$NOT_SET/dask", None),
        (None, None),
    ):
        jobs = WorkerJobs(cores=1, memory=1, local_directory=wanted)
        assert scratch_here(session(jobs=jobs)) == found


def test_scratch_is_a_private_directory_and_never_the_one_that_dask_would_make() -> None:
    assert settings(session(), PLACE)["temporary-directory"] == PLACE.node_directory
    elsewhere = replace(PLACE, scratch="/scratch/7/hpclaunch-x")
    assert settings(session(), elsewhere)["temporary-directory"] == "/scratch/7/hpclaunch-x"


def test_the_users_own_configuration_counts_below_ours(tmp_path: Path) -> None:
    own, ours = tmp_path / "own", tmp_path / "ours"
    own.mkdir()
    ours.mkdir()
    (own / "b.yaml").write_text("array: {chunk-size: 1 MiB}\nmine: 2\n")
    (own / "a.yml").write_text("mine: 1\ndistributed: {comm: {require-encryption: false}}\n")
    (own / "notes.txt").write_text("not a configuration")
    for name, content in users_own(str(own)):
        (ours / name).write_bytes(content)
    (ours / "hpclaunch.yaml").write_text(json.dumps(settings(session(), PLACE)))
    keys = ("mine", "array.chunk-size", "distributed.comm.require-encryption")
    assert as_dask_reads(ours, *keys) == [2, "1 MiB", True]


@pytest.mark.parametrize("place", [None, "", "/no/such/place"])
def test_no_configuration_of_the_user(place: str | None) -> None:
    assert users_own(place) == []


def test_one_file_as_the_users_configuration(tmp_path: Path) -> None:
    (tmp_path / "dask.yaml").write_text("mine: 1\n")
    assert users_own(str(tmp_path / "dask.yaml")) == [("00-000-dask.yaml", b"mine: 1\n")]
