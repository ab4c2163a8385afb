"""Site and request make a plan: every number decided, or a refusal that helps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from hpclaunch import paths
from hpclaunch.errors import PlanError, UsageError
from hpclaunch.plan import INSECURE, Plan, make_plan
from hpclaunch.request import Request
from hpclaunch.script import agent_spec
from hpclaunch.sites.catalog import known_sites, load
from hpclaunch.units import Memory, Walltime
from tests.pure.plans import NONCE, loaded, plan_of
from tests.pure.sites import load_content, slurm_with, user_toml

GB = 10**9
FULL: dict[str, Any] = {
    "account": "proj1",
    "scheduler": {"kind": "slurm", "default_queue": "main", "directives": ["--constraint=cpu"]},
    "environments": {
        "default": {"python": "/env/python", "modules": ["gcc"], "setup": ["ulimit -c 0"]},
        "gpu": {"python": "gpu-python"},
    },
    "paths": {"base": "/scratch/base", "notebooks": "/data"},
    "session": {
        "walltime": "2:00:00",
        "cores": 4,
        "memory": "8 GB",
        "gpus": 1,
        "start_timeout": 60,
    },
    "dask": {"workers": 3, "cores": 2, "memory": "6 GB", "local_directory": "$TMPDIR"},
    "network": {"interface": "ib0"},
}


def test_without_wishes_the_profile_decides():
    plan = plan_of(**FULL)
    job = plan.job
    assert (plan.name, plan.nonce, plan.site, plan.scheduler) == ("big-1", NONCE, "big", "slurm")
    assert (job.walltime, job.nodes, job.cores) == (Walltime(7200), 1, 4)
    assert (job.memory, job.gpus, job.queue) == (Memory(8 * GB), 1, "main")
    assert (job.account, job.extra) == ("proj1", ("--constraint=cpu",))
    assert (plan.python, plan.modules, plan.setup) == ("/env/python", ("gcc",), ("ulimit -c 0",))
    assert (plan.base, plan.root_dir) == ("/scratch/base", "/data")
    assert (plan.start_timeout, plan.interface) == (60, "ib0")
    assert plan.warnings == ()


def test_wishes_win():
    plan = plan_of(
        Request(
            queue="short",
            account="proj2",
            walltime=Walltime(60),
            nodes=2,
            cores=9,
            memory=Memory(GB),
            gpus=0,
            environment="gpu",
            notebook_dir="~/my notebooks",
            workers=1,
        ),
        **FULL,
    )
    job = plan.job
    assert (job.queue, job.account, job.walltime) == ("short", "proj2", Walltime(60))
    assert (job.nodes, job.cores, job.memory, job.gpus) == (2, 9, Memory(GB), 0)
    assert (plan.python, plan.modules, plan.root_dir) == ("gpu-python", (), "~/my notebooks")
    assert plan.dask is not None and plan.dask.workers == 1


def test_the_sessions_own_queue_goes_before_the_default_one():
    plan = plan_of(**{**FULL, "session": {"queue": "interactive"}})
    assert plan.job.queue == "interactive"
    assert plan.worker is not None and plan.worker.job.queue == "interactive"


def test_defaults_where_the_profile_is_silent():
    plan = plan_of(environments={"default": {}})
    assert (plan.python, plan.base, plan.root_dir) == ("python3", "~/.hpclaunch", None)
    assert (plan.job.queue, plan.job.account, plan.job.memory) == (None, None, None)
    assert plan.dask is None


def test_names_are_unique_so_that_a_job_is_found_again():
    first = make_plan(loaded(**FULL), Request(), name="x")
    second = make_plan(loaded(**FULL), Request(), name="x")
    assert first.job.name == f"hpclaunch-x-{first.nonce}" != second.job.name
    assert first.directory == f"x-{first.nonce}" != second.directory
    assert first.worker is not None
    assert first.worker.job.name == first.worker_job_name == f"hpclaunch-x-{first.nonce}-w"


@pytest.mark.parametrize("nonce", ["", "0123ABCD", "0123abc", "0123abcde", '"; x', "0123abc\n"])
def test_a_nonce_is_eight_hex_digits(nonce):
    with pytest.raises(ValueError, match="eight hex digits"):
        make_plan(loaded(), Request(), name="x", nonce=nonce)


@pytest.mark.parametrize(
    "name", ["", "-x", ".x", "a b", "a/b", "x\n", "é", "x" * 42, "$(x)", "a;b", "../x"]
)
def test_a_name_that_is_none_is_wrong_usage(name):
    with pytest.raises(UsageError, match="is not a session name"):
        make_plan(loaded(), Request(), name=name)


def test_any_site_has_names_for_its_sessions():
    """SITE-N is a session's name, however long a site's name may be."""
    longest = "x" * 32
    assert make_plan(loaded(name=longest), Request(), name=f"{longest}-12345678").site == longest


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"nodes": 0}, "nodes must be 1 or more, not 0"),
        ({"cores": -1}, "cores must be 1 or more, not -1"),
        ({"gpus": -1}, "gpus must be 0 or more, not -1"),
        ({"workers": -2}, "workers must be 0 or more, not -2"),
        ({"queue": ""}, "queue must not be empty"),
        ({"account": ""}, "account must not be empty"),
        ({"environment": ""}, "environment must not be empty"),
        ({"notebook_dir": ""}, "notebook-dir must not be empty"),
        ({"dask": "mpi4"}, "dask must be 'jobqueue', 'mpi' or 'none', not 'mpi4'"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(wish, words):
    with pytest.raises(ValueError, match=words):
        Request(**wish)


def test_an_unknown_environment_lists_the_known_ones():
    with pytest.raises(PlanError, match=r"no environment 'x' \(in .*big.toml: default, gpu\)"):
        plan_of(Request(environment="x"), **FULL)
    with pytest.raises(PlanError, match=r"big.toml: none\)"):
        plan_of(environments={})


def test_a_needed_account_is_asked_for_with_its_source(tmp_path):
    content = slurm_with(scheduler={"kind": "slurm", "account_required": True})
    with pytest.raises(PlanError, match=r"account_required in .*/big\.toml") as caught:
        make_plan(load_content(tmp_path, content), Request(), name="x")
    assert caught.value.hint == (
        'give --account, or write it once: account = "…" in [big] of user.toml'
    )
    user_toml({"big": {"account": "mine"}})
    assert make_plan(load_content(tmp_path, content), Request(), name="x").job.account == "mine"
    plan = make_plan(load_content(tmp_path, content), Request(account="p"), name="x")
    assert plan.job.account == "p"


@pytest.mark.parametrize("where", ["notebooks", "./x", "../x", "$HOME/x", "~bob/x", "-x"])
def test_a_relative_notebook_directory_means_nothing_on_a_site(where):
    with pytest.raises(UsageError, match="must be a directory on the site"):
        plan_of(Request(notebook_dir=where))


# Dask


def test_a_worker_job_is_the_sessions_job_with_a_workers_resources():
    plan = plan_of(Request(nodes=2), **FULL)
    assert plan.dask is not None and plan.worker is not None
    worker = plan.worker.job
    assert (plan.dask.mode, plan.dask.workers) == ("jobqueue", 3)
    assert plan.worker.local_directory == "$TMPDIR"
    assert (worker.nodes, worker.cores, worker.memory, worker.gpus) == (1, 2, Memory(6 * GB), 0)
    assert (worker.walltime, worker.account) == (plan.job.walltime, "proj1")
    assert (worker.queue, worker.extra) == ("main", ("--constraint=cpu",))


def test_workers_may_have_a_queue_of_their_own():
    plan = plan_of(**{**FULL, "dask": {**FULL["dask"], "queue": "bulk"}})
    assert plan.worker is not None
    assert (plan.job.queue, plan.worker.job.queue) == ("main", "bulk")


@pytest.mark.parametrize(
    ("wish", "workers"),
    [
        (Request(), 3),
        (Request(workers=5), 5),
        (Request(dask="jobqueue"), 3),
        (Request(workers=0), None),
        (Request(dask="none"), None),
        (Request(dask="none", workers=0), None),
    ],
)
def test_how_many_workers(wish, workers):
    dask = plan_of(wish, **FULL).dask
    assert (dask and dask.workers) == workers


@pytest.mark.parametrize(
    "wish", [Request(dask="none", workers=2), Request(dask="jobqueue", workers=0)]
)
def test_wishes_that_contradict_are_wrong_usage(wish):
    with pytest.raises(UsageError, match="--dask"):
        plan_of(wish, **FULL)


def test_dask_without_workers_asks_how_many():
    with pytest.raises(UsageError, match="--dask without workers"):
        plan_of(Request(dask="jobqueue"))


def test_workers_without_memory_are_not_guessed():
    with pytest.raises(PlanError, match="how much memory a Dask worker gets") as caught:
        plan_of(Request(workers=1))
    assert "--set dask.memory=" in str(caught.value.hint)


# The site `local`


def local(*settings: str, **wishes: Any) -> Plan:
    return make_plan(load("local", settings), Request(**wishes), name="local-1", nonce=NONCE)


def test_local_runs_this_python_with_two_workers():
    plan = local()
    assert plan.python == sys.executable
    assert plan.base == str(paths.data_dir())
    assert plan.dask is not None and (plan.dask.mode, plan.dask.workers) == ("local", 2)


def test_a_notebook_directory_here_may_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/al")
    assert local(notebook_dir=".").root_dir == str(tmp_path)
    assert local(notebook_dir="~/x").root_dir == "/home/al/x"
    assert local(notebook_dir="/y").root_dir == "/y"


def test_this_machine_charges_nobody():
    plan = local(account="proj1")
    assert plan.job.account is None
    assert plan.warnings == ("this machine charges nobody; account 'proj1' is not used",)


@pytest.mark.parametrize("name", [*known_sites(), "docker"])
def test_every_shipped_profile_plans_with_an_account_alone(name):
    docker = Path(__file__).parents[2] / "docker" / "slurm" / "site.toml"
    site = load(str(docker) if name == "docker" else name)
    plan = make_plan(site, Request(account="proj1"), name="x", draft=True)
    assert plan.job.walltime and plan.python


@pytest.mark.parametrize("insecure", [False, True])
def test_plain_tcp_between_dasks_processes_is_off_and_warned_of(insecure):
    plan = make_plan(load("local"), Request(insecure_dask=insecure), name="x", nonce=NONCE)
    assert plan.insecure is insecure
    assert [warning for warning in plan.warnings if "runs code as you" in warning] == (
        [INSECURE] if insecure else []
    )
    assert agent_spec(plan)["insecure_dask"] is insecure
