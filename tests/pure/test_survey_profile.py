"""The profile that is written of what was found: golden texts, and the choices in them.

``pytest tests/pure/test_survey_profile.py --golden-update`` writes them anew; review the diff.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from hpclaunch.plan import make_plan
from hpclaunch.request import Request
from hpclaunch.sites.model import Site
from hpclaunch.survey.choices import choose_name, choose_sizes
from hpclaunch.survey.findings import FoundNodes, FoundQueue, Survey
from hpclaunch.survey.profile import Access, write_profile
from hpclaunch.survey.take import read_survey
from hpclaunch.units import Memory, Walltime
from tests.pure.sites import load_content
from tests.pure.surveys import CONTAINERS, PYTHON, lsf_answers, pbs_answers, report, slurm_answers

GOLDEN = Path(__file__).parents[1] / "golden" / "surveys"
WITH_PYTHON = {"python.1": PYTHON}
REPORTS = {
    "containers": CONTAINERS.read_text(),
    "slurm-26.05": report({**slurm_answers("slurm-26.05"), **WITH_PYTHON}),
    "openpbs": report({**pbs_answers("openpbs-23.06.06"), **WITH_PYTHON}),
    "volclava": report({**lsf_answers(), **WITH_PYTHON}),
    "bare": report(
        {
            **slurm_answers("slurm-22.05"),
            "accounts.user": "alice|",
            "accounts.assoc": "tb|proj1||||||\ntb|proj2||||||",
            "slurm.nodes": "compute*~|~1~|~4~|~1~|~(null)~|~(null)",
            "ssh.server": "Match User bob\nAllowTcpForwarding yes\nMatch all\n",
            "prologue.sinfo": ". /etc/profile.d/slurm.sh",
        }
    ),
}
HOST = Access("login1.cluster.example", user="alice")


def survey(name: str) -> Survey:
    return read_survey(REPORTS[name])


@pytest.mark.parametrize("name", REPORTS)
def test_the_profile_is_the_golden_one(name, request):
    text = write_profile(survey(name), HOST).text
    file = GOLDEN / f"{name}.toml"
    if request.config.getoption("--golden-update"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text(), f"if this is meant: pytest {__file__} --golden-update"


@pytest.mark.parametrize("name", [name for name in REPORTS if name != "bare"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_session_can_be_planned_without_an_edit(name, workers, tmp_path):
    text = write_profile(survey(name), HOST, name="big").text
    plan = make_plan(load_content(tmp_path, text), Request(workers=workers or None), name="s")
    assert plan.job.queue in ("compute", "workq", "normal")
    assert plan.warnings == ()


def of(queue: FoundQueue, **more) -> dict:
    found = Survey("h", "alice", "/home/alice", "2026-11-25", "slurm", queues=(queue,), **more)
    return tomllib.loads(write_profile(found, HOST).text)


def kind(cores: int, gigabytes: int | None = None, **more) -> FoundNodes:
    return FoundNodes(5, cores, Memory(gigabytes * 10**9) if gigabytes else None, **more)


@pytest.mark.parametrize(
    ("nodes", "session", "worker"),
    [
        (kind(4, 8), (1, "2 GB"), (2, "3.8 GB")),
        (kind(1, 2), (1, "1.9 GB"), (1, "1.9 GB")),
        (kind(24, 96), (2, "7.6 GB"), (4, "15 GB")),
        (kind(128, 256), (4, "7.6 GB"), (8, "15 GB")),
        (kind(128, 2000), (4, "16 GB"), (8, "118 GB")),
    ],
)
def test_sizes_are_shares_of_a_node(nodes, session, worker):
    sizes = choose_sizes(FoundQueue("q", nodes=(nodes,)))
    assert (sizes.cores, str(sizes.memory)) == session
    assert (sizes.worker_cores, str(sizes.worker_memory)) == worker


def test_sizes_fit_the_smallest_kind_of_node_of_the_queue():
    sizes = choose_sizes(FoundQueue("q", nodes=(kind(128, 512), kind(16, 64))))
    assert sizes == choose_sizes(FoundQueue("q", nodes=(kind(16, 64),)))


def test_where_jobs_get_whole_nodes_workers_fill_one():
    profile = of(FoundQueue("q", nodes=(kind(128, 256),), exclusive=True))
    assert profile["queues"][0]["memory_as"] == "whole"
    assert profile["session"]["cores"] == 128
    dask = profile["dask"]
    assert (dask["processes"], dask["cores"], dask["memory"]) == (16, 8, "14 GB")


def test_a_short_queue_shortens_the_session():
    assert of(FoundQueue("q", max_walltime=Walltime(600)))["session"]["walltime"] == "00:10:00"
    assert of(FoundQueue("q"))["session"]["walltime"] == "04:00:00"


def test_unknown_limits_are_left_out():
    (queue,) = of(FoundQueue("q", allowed=True))["queues"]
    assert queue == {"name": "q"}
    (unsure,) = of(FoundQueue("q", allowed=None, max_jobs=9), max_jobs=4)["queues"]
    assert unsure == {"name": "q", "choose": False, "max_jobs": 4}


def test_a_queue_that_cannot_be_used_is_no_default():
    dead = FoundQueue("dead", default=True, open=False)
    gpus = FoundQueue("gpus", allowed=True, total_nodes=90, nodes=(kind(64, 512, gpus=4),))
    plain = FoundQueue("plain", allowed=True, total_nodes=20, nodes=(kind(64, 512),))
    found = Survey("h", "a", "/h", "", "slurm", queues=(dead, gpus, plain))
    profile = tomllib.loads(write_profile(found, HOST).text)
    assert profile["scheduler"]["default_queue"] == "plain"
    assert [queue["name"] for queue in profile["queues"]] == ["gpus", "plain"]


def test_an_account_is_written_only_where_nothing_runs_without():
    queue = FoundQueue("q", allowed=True)
    assert "account" not in of(queue, account_required=False, accounts=("p",), default_account="p")
    assert of(queue, account_required=True, accounts=("p",))["account"] == "p"
    assert "account" not in of(queue, account_required=True, accounts=("p", "q"))


def test_environments_are_named_after_their_directories():
    text = write_profile(survey("containers"), HOST).text
    environments = tomllib.loads(text)["environments"]
    assert environments["default"]["python"] == "/opt/mpich-env/bin/python"
    assert set(environments) == {"default", "openmpi-env", "site-env"}
    mine = write_profile(survey("containers"), HOST, python="/opt/site-env/bin/python").text
    content = tomllib.loads(mine)
    assert content["environments"]["default"]["python"] == "/opt/site-env/bin/python"
    assert content["mpi"] == {"environment": "mpich-env"}
    by_name = write_profile(survey("containers"), HOST, python="python3").text
    assert tomllib.loads(by_name)["environments"]["default"]["python"] == "/usr/bin/python3"
    with_home = write_profile(survey("containers"), HOST, python="~/mine/bin/python")
    assert any("was not looked at" in remark for remark in with_home.remarks)


@pytest.mark.parametrize(
    ("cluster", "scheduler", "host", "name"),
    [
        ("Tursa", "slurm", "login.example", "tursa"),
        ("", "slurm", "login2.derecho.example.org", "derecho"),
        ("pbs01", "pbs", "polaris.example.org", "polaris"),
        ("", "pbs", "10.1.2.3", "h"),
        ("local", "slurm", "login", "login"),
        ("My Cluster!", "lsf", "x", "my-cluster"),
    ],
)
def test_a_site_is_called_what_people_call_it(cluster, scheduler, host, name):
    found = Survey("h.x", "a", "/h", "", scheduler, cluster=cluster)
    assert choose_name(found, host) == name


def test_the_torque_dialect_and_lsfs_units_are_written():
    found = replace(survey("openpbs"), dialect="torque")
    assert tomllib.loads(write_profile(found, HOST).text)["scheduler"]["pbs"] == {
        "dialect": "torque"
    }
    lsf = replace(survey("volclava"), memory_unit="GB", memory_per="task")
    assert tomllib.loads(write_profile(lsf, HOST).text)["scheduler"]["lsf"] == {
        "memory_unit": "GB",
        "memory_per": "task",
    }


def test_what_cannot_stand_in_a_profile_is_refused():
    for bad in ({"name": "a b"}, {"account": "a\nb"}, {"python": "rel/python"}):
        with pytest.raises(ValueError):
            write_profile(survey("containers"), HOST, **bad)


def test_every_golden_profile_is_one():
    assert {file.stem for file in GOLDEN.glob("*.toml")} == set(REPORTS)
    for file in GOLDEN.glob("*.toml"):
        site = Site.model_validate(tomllib.loads(file.read_text()))
        assert site.source and site.checked_on
