"""Cores and memory by the control groups of a process, on trees that are made up."""

from __future__ import annotations

import os

import pytest

from hpclaunch.storage import cores

pytestmark = pytest.mark.pure

GIB = 2**30


@pytest.fixture
def limits(tmp_path, monkeypatch):
    """What is found with these files, and these lines for this process."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 256 * GIB // 4096}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    monkeypatch.setattr(cores, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(cores, "_OWN", tmp_path / "own")

    def found(own: str | None, files: dict[str, object]) -> tuple[int, int]:
        if own is not None:
            (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return cores.cores.__wrapped__(), cores.memory.__wrapped__()

    return found


JOB = "system.slice/slurmstepd.scope/job_7"
TASK = f"{JOB}/step_0/user/task_0"


def test_a_job_has_the_smallest_limit_above_it(limits):
    files = {
        f"{TASK}/memory.max": "max",
        f"{JOB}/step_0/memory.max": 8 * GIB,
        f"{JOB}/memory.max": 16 * GIB,
        f"{TASK}/cpu.max": "max 100000",
        f"{JOB}/cpu.max": "350000 100000",
        "system.slice/cpu.max": "800000 100000",
        "other/memory.max": GIB,
    }
    assert limits(f"0::/{TASK}\n", files) == (4, 8 * GIB)


def test_the_older_control_groups(limits):
    own = (
        "11:memory:/slurm/uid_1/job_7/step_0\n"
        "4:cpu,cpuacct:/slurm/uid_1/job_7\n"
        "1:name=systemd:/x\n0::/\n"
    )
    files = {
        "memory/slurm/uid_1/job_7/step_0/memory.limit_in_bytes": 9223372036854771712,
        "memory/slurm/uid_1/job_7/memory.limit_in_bytes": 12 * GIB,
        "memory/other/memory.limit_in_bytes": GIB,
        "cpu,cpuacct/slurm/uid_1/job_7/cpu.cfs_quota_us": 600000,
        "cpu,cpuacct/slurm/uid_1/job_7/cpu.cfs_period_us": 100000,
        "cpu,cpuacct/cpu.cfs_quota_us": -1,
        "cpu,cpuacct/cpu.cfs_period_us": 100000,
    }
    assert limits(own, files) == (6, 12 * GIB)


@pytest.mark.parametrize("own", ["0::/\n", "0::/../../elsewhere\n", "0::/not/here\n", "", None])
def test_a_container_has_the_limit_of_its_root(limits, own):
    assert limits(own, {"memory.max": 3 * GIB, "cpu.max": "150000 100000"}) == (2, 3 * GIB)


@pytest.mark.parametrize("own", ["0::/a/b\n", "nonsense\n\n", None])
def test_without_limits_the_machine_is_told(limits, own):
    assert limits(own, {"a/memory.max": "max", "a/b/cpu.max": "nonsense"}) == (64, 256 * GIB)
