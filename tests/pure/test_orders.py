"""What a session may have the laptop do, and what not, whoever wrote its list of orders."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.errors import PlanError
from hpclaunch.request import Request
from hpclaunch.schedulers.slurm import Slurm
from hpclaunch.script import agent_spec, render_worker
from hpclaunch.sessions.orders import (
    MOST_LIVE,
    MOST_TEXT,
    Order,
    read_list,
    refusal,
    worker_facts,
    worker_spec,
)
from hpclaunch.sessions.record import Record
from tests.lint_shell import findings
from tests.pure.plans import NONCE, plan_of
from tests.pure.records import record

DASK = {
    "submit": "laptop",
    "cores": 2,
    "memory": "4 GB",
    "processes": 2,
    "walltime": "30m",
    "queue": "fat",
}


def text(*orders: Any, nonce: str = NONCE, look: Any = 0, **more: Any) -> str:
    return json.dumps({"nonce": nonce, "look": look, "orders": list(orders), **more})


def submit(number: Any = 1, copies: Any = 1, minutes: Any = 1, **more: Any) -> dict[str, Any]:
    return {"number": number, "submit": {"copies": copies, "minutes": minutes, **more}}


def planned(**dask: Any) -> Record:
    """A session whose worker jobs the laptop submits."""
    plan = plan_of(Request(workers=2, account="proj 1"), dask={**DASK, **dask})
    facts = worker_facts(plan)
    assert facts is not None
    facts = json.loads(json.dumps(facts))  # as the record's file gives it back
    return record(workers=facts, session_dir="/home/a b/.hpclaunch/sessions/big-1-0123abcd")


def test_every_order_is_read() -> None:
    read = read_list(
        text(
            submit(3, 64, 59),
            {"number": 4, "cancel": ["7_0", "9"]},
            {"number": 9, "find": True},
            {"number": 12, "copies": True},
            look=17,
        ),
        NONCE,
    )
    assert read.look == 17
    assert read.orders == (
        Order(3, "submit", copies=64, minutes=59),
        Order(4, "cancel", ids=("7_0", "9")),
        Order(9, "find"),
        Order(12, "copies"),
    )


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "[]",
        "null",
        "{" * 5000,
        '{"nonce": "0123abcd"}',
        text(nonce="ffffffff"),
        text(more="keys"),
        text(look=-1),
        text(look=True),
        text(look=1.5),
        text(look="1"),
        text(submit(0)),
        text(submit(-1)),
        text(submit(10**30)),
        text(submit("1")),
        text(submit(True)),
        text(submit(copies=0)),
        text(submit(copies=-5)),
        text(submit(copies=True)),
        text(submit(copies="2; reboot")),
        text(submit(minutes=0)),
        text(submit(script="#!/bin/sh\nrm -rf ~")),
        text({"number": 1, "submit": "#!/bin/sh"}),
        text({"number": 1, "submit": True}),
        text({"number": 1, "submit": {"copies": 1, "minutes": 1}, "queue": "other"}),
        text({"number": 1, "run": ["rm", "-rf", "/"]}),
        text({"number": 1, "cancel": []}),
        text({"number": 1, "cancel": True}),
        text({"number": 1, "cancel": [7]}),
        text({"number": 1, "cancel": ["7" * 200]}),
        text({"number": 1, "find": "other-job"}),
        text({"number": 1, "copies": 5}),
        text({"number": 1}),
        text("submit"),
        text(submit(2), submit(2)),
        text(submit(2), submit(1)),
        text(*(submit(number) for number in range(1, 100))),
        text({"number": 1, "cancel": ["7" * 90] * (MOST_TEXT // 90)}),
    ],
)
def test_a_list_that_is_not_as_it_must_be_is_no_list(hostile: str) -> None:
    with pytest.raises(ValueError):
        read_list(hostile, NONCE)


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_whatever_lies_there_is_read_or_refused(content: str) -> None:
    with pytest.raises(ValueError):
        read_list(content, NONCE)


def test_a_submission_is_the_planned_job() -> None:
    """Nothing of it but number and minutes comes from the session."""
    spec = worker_spec(planned(), Order(5, "submit", copies=3, minutes=12))
    assert Slurm().directives(spec) == [
        f"#SBATCH --job-name=hpclaunch-big-1-{NONCE}-w",
        "#SBATCH --output='/home/a b/.hpclaunch/sessions/big-1-0123abcd/workers/%A_%a.log'",
        "#SBATCH --time=00:12:00",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --mem=7630M",
        "#SBATCH --partition=fat",
        "#SBATCH --account='proj 1'",
        "#SBATCH --no-requeue",
        "#SBATCH --array=0-2",
    ]


def test_the_plan_limits_what_is_submitted() -> None:
    one = planned()
    assert refusal(one, Order(1, "submit", copies=MOST_LIVE, minutes=30), 0) is None
    why = refusal(one, Order(1, "submit", copies=1, minutes=31), 0)
    assert why == "worker jobs of 31 minutes, where 30 were planned"
    why = refusal(one, Order(1, "submit", copies=10**9, minutes=1), 0)
    assert why is not None and "1000 are allowed (without max_jobs)" in why
    assert refusal(one, Order(1, "submit", copies=1, minutes=1), MOST_LIVE) is not None


def test_the_queue_limits_how_many_live() -> None:
    plan = plan_of(
        Request(workers=2), dask=DASK, queues=[{"name": "fat", "max_jobs": 4, "choose": False}]
    )  # the session's own job is in another
    one = record(workers=worker_facts(plan))
    assert refusal(one, Order(1, "submit", copies=2, minutes=1), 2) is None
    why = refusal(one, Order(1, "submit", copies=2, minutes=1), 3)
    assert why == "2 worker jobs beside 3, where 4 are allowed (max_jobs of the queue)"


@pytest.mark.parametrize("submit", ["node", "ssh"])
def test_other_sessions_have_nothing_to_order(submit: str) -> None:
    plan = plan_of(Request(workers=2), dask={**DASK, "submit": submit})
    assert worker_facts(plan) is None
    assert worker_facts(plan_of(Request(), dask=DASK)) is None, "nor one without workers"
    with pytest.raises(ValueError, match="submits no worker jobs"):
        worker_spec(record(), Order(1, "submit", copies=1, minutes=1))


def test_the_node_is_told_who_submits() -> None:
    told = agent_spec(plan_of(Request(workers=2), dask=DASK))["dask"]
    assert isinstance(told, dict)
    assert (told["submit"], told["submit_host"], told["submit_prologue"]) == ("laptop", None, [])
    login = {"host": "login.big.example", "prologue": [". /etc/profile.d/slurm.sh"]}
    told = agent_spec(plan_of(Request(workers=2), dask={**DASK, "submit": "ssh"}, login=login))
    jobs = told["dask"]
    assert isinstance(jobs, dict)
    assert jobs["submit_host"] == "login.big.example"
    assert jobs["submit_prologue"] == [". /etc/profile.d/slurm.sh"]
    named = {**DASK, "submit": "ssh", "submit_host": "login1"}
    told = agent_spec(plan_of(Request(workers=2), dask=named, login=login))
    assert isinstance(told["dask"], dict) and told["dask"]["submit_host"] == "login1"


def test_ssh_needs_a_host() -> None:
    here = {"transport": "local"}
    with pytest.raises(PlanError, match="names no host") as caught:
        plan_of(Request(workers=2), dask={**DASK, "submit": "ssh"}, login=here)
    assert "--set dask.submit_host=HOST" in caught.value.hint


@pytest.mark.parametrize("host", ["-oProxyCommand=reboot", "two words"])
def test_a_host_is_no_option_of_ssh(host: str) -> None:
    with pytest.raises(ValueError, match="must be a host name"):
        plan_of(Request(workers=2), dask={**DASK, "submit_host": host})


def worker_script(session: Path | str) -> str:
    return render_worker(["#SBATCH --time=1"], session_dir=str(session), number=7)


def test_the_script_says_only_where_the_session_is(tmp_path: Path) -> None:
    script = worker_script("/home/it's mine")
    path = tmp_path / "worker.sh"
    path.write_text(script)
    assert findings([path]) == []
    assert script.startswith("#!/bin/bash\n#SBATCH --time=1\n")


def test_workers_of_a_session_that_is_over_do_not_start(tmp_path: Path) -> None:
    session = tmp_path / "it's $(mine)"

    def run() -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-s"], input=worker_script(session), capture_output=True, text=True
        )
        return done.returncode, done.stdout

    assert run() == (0, "hpclaunch: the session is over; its workers are not needed\n")
    (session / "orders").mkdir(parents=True)
    (session / "orders" / "7.sh").write_text("echo its own; exit 5\n")
    assert run() == (5, "its own\n")
    (session / "exit.json").write_text("{}")
    assert run()[0] == 0
