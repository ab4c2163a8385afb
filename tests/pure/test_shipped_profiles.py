"""The profiles of real sites that are shipped: sourced, dated, and good for typical jobs.

``pytest tests/pure/test_shipped_profiles.py --golden-update`` writes the scripts anew.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from hpclaunch.cli import main
from hpclaunch.plan import Plan, make_plan
from hpclaunch.request import Program, Request
from hpclaunch.script import render_session
from hpclaunch.sessions.access import scheduler_for
from hpclaunch.sites.catalog import LoadedSite, load
from tests.pure.plans import NONCE
from tests.pure.sites import user_toml

pytestmark = pytest.mark.pure

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "sites"
PROFILES = sorted((ROOT / "site_profiles").glob("*.toml"))
SITES = [file.stem for file in PROFILES if file.stem != "local"]
PROGRAM = Program("/laptop/run.py", (), b"1")
JOBS: dict[str, dict[str, Any]] = {
    "session": {},
    "block": {"dask": "mpi", "nodes": 2},
    "batch": {"nodes": 2, "program": PROGRAM},
}
OURSELVES = {"project": "proj1", "filesystems": "home"}
"""What people write into user.toml where a profile asks for it."""


def site(name: str) -> LoadedSite:
    """A shipped site with the user's own values."""
    own = {key: OURSELVES[key] for key in OURSELVES if f"{{{key}}}" in text_of(name)}
    user_toml({name: {"account": "ab12", "user": "jane", "values": own}})
    return load(name)


def text_of(name: str) -> str:
    return (ROOT / "site_profiles" / f"{name}.toml").read_text()


def plan_of(name: str, **wishes: Any) -> Plan:
    return make_plan(site(name), Request(**wishes), name=f"{name}-1", nonce=NONCE)


def tables_of(table: dict[str, Any], name: str = "the profile") -> Iterator[tuple[str, dict]]:
    """All tables of a profile but the values and the bins of a queue, which are part of it."""
    yield name, table
    for key, value in table.items():
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict) and key not in ("values", "walltime_bins"):
                if key == "environments":
                    for which, one in inner.items():
                        yield from tables_of(one, f"environments.{which}")
                else:
                    yield from tables_of(inner, key)


# Where the values come from


@pytest.mark.parametrize("file", PROFILES, ids=lambda file: file.stem)
def test_every_table_says_where_its_values_come_from_and_when_that_was_checked(file):
    tables = list(tables_of(tomllib.loads(file.read_text())))
    assert len(tables) > 3
    lacking = [name for name, table in tables if not table.get("source")]
    undated = [name for name, table in tables if not isinstance(table.get("checked_on"), date)]
    assert (lacking, undated) == ([], [])


def test_every_site_is_listed_with_its_scheduler_its_source_and_the_day(capsys):
    assert main(["site", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == {"local", *SITES}
    assert {row["scheduler"] for row in rows.values()} == {"local", "slurm", "pbs", "lsf"}
    assert all(row["source"] and date.fromisoformat(row["checked_on"]) for row in rows.values())
    assert main(["site", "list"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "SCHEDULER", "CHECKED", "DESCRIPTION"]
    for line in lines:
        name, scheduler, checked, *description = line.split()
        assert (scheduler, checked) == (rows[name]["scheduler"], rows[name]["checked_on"])
        assert description, f"{name} says nothing of itself"


# What is submitted


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("name", SITES)
def test_the_script_is_the_golden_one(name, job, request):
    plan = plan_of(name, **JOBS[job])
    base = plan.base.replace("~", "/home/jane", 1)
    script = render_session(
        plan,
        scheduler_for(load(name).site, base),
        session_dir=f"{base}/sessions/{plan.directory}",
        lib_dir=f"{base}/lib/0.1.0-0123456789ab",
    )
    file = GOLDEN / f"{name}-{job}.sh"
    if request.config.getoption("--golden-update"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(script)
    assert script == file.read_text(), f"if this is meant: pytest {__file__} --golden-update"


def test_there_is_no_golden_script_without_a_site():
    assert {file.stem for file in GOLDEN.iterdir()} == {f"{n}-{job}" for n in SITES for job in JOBS}


@pytest.mark.parametrize("name", SITES)
def test_nothing_is_warned_of_once_the_users_own_values_are_given(name):
    for wishes in JOBS.values():
        assert plan_of(name, **wishes).warnings == ()


@pytest.mark.parametrize("name", SITES)
def test_a_job_of_dask_workers_fits_its_queue_beside_the_session(name):
    dask = load(name).site.dask
    plan = plan_of(name, workers=dask.processes)
    assert plan.worker is not None and plan.worker.jobs == 1
    assert plan.warnings == ()


@pytest.mark.parametrize("name", SITES)
def test_a_block_has_the_cores_and_the_memory_of_a_worker_for_each_of_its_workers(name):
    dask = load(name).site.dask
    block = plan_of(name, **JOBS["block"]).block
    assert block is not None and dask.memory is not None
    assert block.workers_per_node == max(2, dask.processes)
    assert block.threads == dask.cores
    # One rank more than workers, the scheduler, is on the first node.
    assert block.memory >= (block.workers_per_node + 1) * dask.memory.bytes


def test_andes_runs_four_jobs_of_a_user_and_many_more_workers():
    plan = plan_of("andes", dask="mpi", nodes=16)
    assert plan.dask is not None and plan.dask.workers == 128
    plan = plan_of("andes", workers=24)
    assert plan.worker is not None and (plan.worker.jobs, plan.worker.max_jobs) == (3, 3)


@pytest.mark.parametrize("cluster", ["c5", "c6"])
def test_every_command_at_gaea_names_the_cluster(cluster):
    scheduler = scheduler_for(site(f"gaea-{cluster}").site, "/home/jane/.hpclaunch")
    commands = [
        scheduler.submit_command(),
        scheduler.status_command(["7"]),
        scheduler.history_command(["7"]),
        scheduler.find_command("hpclaunch-x"),
        *scheduler.cancel_commands(["7"]),
    ]
    assert len(commands) == 5
    for argv in commands:
        assert argv is not None and f"--clusters={cluster}" in argv


def test_at_archer2_everything_lies_below_work_since_home_is_not_on_compute_nodes():
    plan = plan_of("archer2")
    assert plan.base == "/work/proj1/proj1/jane/.hpclaunch"
    assert plan.root_dir == "/work/proj1/proj1/jane"
