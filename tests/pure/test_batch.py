"""A batch job on the laptop: from what is typed to a plan, and from its record to an outcome."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from hpclaunch.cli.batch import _fetch, document
from hpclaunch.cli.parser import build_parser
from hpclaunch.errors import HpclaunchError, PlanError, SessionError, UsageError
from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import read_session
from hpclaunch.plan import INSECURE, Plan, make_plan
from hpclaunch.request import Program, Request
from hpclaunch.schedulers.base import JobState, JobStatus
from hpclaunch.script import agent_spec, session_files
from hpclaunch.sessions.again import again, recipe
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.explain import Evidence, conclude
from hpclaunch.sessions.record import Record
from hpclaunch.sites.catalog import LoadedSite
from hpclaunch.units import Memory, Walltime
from tests.pure.plans import NONCE, loaded
from tests.pure.records import record

GB = 10**9
SENT = Program("/laptop/run.py", ("--alpha", "3"), b"print(1)\n")
ON_SITE = Program("~/project/run.py")
DASK = {"cores": 2, "memory": "4 GB"}
RECIPE = {"script": "/laptop/run.py", "arguments": [], "sent": True, "sha256": "", "ranks": 4,
          "request": {}, "profile_file": "/big.toml", "hpclaunch": "1"}  # fmt: skip


def plan_of(program: Program = SENT, site: dict[str, Any] | None = None, **wishes: Any) -> Plan:
    where = loaded(**(site or {"dask": DASK}))
    return make_plan(where, Request(program=program, **wishes), name="big-1", nonce=NONCE)


# The plan


def test_without_wishes_two_workers_share_one_node_with_scheduler_and_script():
    plan = plan_of()
    assert plan.block is not None
    assert (plan.block.nodes, plan.block.workers, plan.block.ranks) == (1, 2, 4)
    assert (plan.job.nodes, plan.job.cores, plan.block.threads) == (1, 4, 2)
    assert plan.job.memory == Memory(4 * 4 * GB), "each rank gets what a worker gets"
    assert plan.block.memory == 16 * GB
    assert plan.dask is None, "the session's own cluster is of another kind"


@pytest.mark.parametrize(("nodes", "each"), [(1, 1), (2, 1), (2, 3), (100, 4)])
def test_every_worker_has_a_rank_and_there_are_never_fewer_than_three(nodes, each):
    block = plan_of(nodes=nodes, workers_per_node=each, memory=Memory(2 * GB)).block
    assert block is not None
    assert block.workers == nodes * each
    assert block.ranks == block.workers + 2 >= 3


def test_cores_and_memory_are_those_of_a_node():
    plan = plan_of(cores=9, memory=Memory(10 * GB), workers_per_node=4, gpus=1)
    assert plan.block is not None
    assert (plan.job.cores, plan.job.memory, plan.job.gpus) == (9, Memory(10 * GB), 1)
    assert plan.block.threads == 2, "whole cores only"


def test_the_default_memory_stays_within_the_queue_and_more_is_refused():
    queue = {"name": "main", "memory_per_node": "10 GB", "cores_per_node": 8}
    site = {
        "dask": DASK,
        "queues": [queue],
        "scheduler": {"kind": "slurm", "default_queue": "main"},
    }
    assert plan_of(site=site).job.memory == Memory(10 * GB)
    with pytest.raises(PlanError, match="the batch job asks for 11 GB of memory on a node"):
        plan_of(site=site, memory=Memory(11 * GB))
    with pytest.raises(PlanError, match="12 cores on a node"):
        plan_of(site=site, workers_per_node=6)


def test_a_queue_for_sessions_is_not_the_queue_of_batch_jobs():
    site = {"dask": DASK, "session": {"queue": "interactive"}}
    assert plan_of(site=site).job.queue == "interactive", "there is no other"
    site["scheduler"] = {"kind": "slurm", "default_queue": "main"}
    assert plan_of(site=site).job.queue == "main"
    assert plan_of(site=site, queue="big").job.queue == "big"


def test_workers_without_memory_or_cores_are_refused_with_a_next_step():
    with pytest.raises(PlanError, match="how much memory") as memory:
        plan_of(site={"dask": {"cores": 1}})
    assert "--memory" in str(memory.value.hint)
    with pytest.raises(PlanError, match="4 workers on each node need as many cores") as cores:
        plan_of(workers_per_node=4, cores=3)
    assert "--cores 4" in str(cores.value.hint)
    with pytest.raises(PlanError, match=r"800 MB.*for 5 ranks of at least 200 MB") as little:
        plan_of(workers_per_node=3, memory=Memory(800_000_000))
    assert "--memory '1 GB' or more, or for fewer --workers-per-node" in str(little.value.hint)
    with pytest.raises(ValueError, match="workers-per-node must be 1 or more"):
        Request(workers_per_node=0)


def test_the_environment_of_batch_jobs_goes_before_that_of_sessions():
    site: dict[str, Any] = {
        "dask": DASK,
        "environments": {"default": {"python": "/a"}, "mpi": {"python": "/b"}},
        "mpi": {"environment": "mpi", "launcher": ["srun", "--mpi=pmix"]},
    }
    plan = plan_of(site=site)
    assert plan.python == "/b"
    assert plan.block is not None and plan.block.launcher == ("srun", "--mpi=pmix")
    assert plan_of(site=site, environment="default").python == "/a"
    session = make_plan(loaded(**site), Request(), name="big-1")
    assert session.python == "/a" and session.batch is None and session.block is None


def test_a_script_of_the_site_runs_beside_itself_and_one_of_the_laptop_at_home():
    assert plan_of(ON_SITE).root_dir == "~/project"
    assert plan_of(Program("~/run.py")).root_dir == "~"
    assert plan_of(SENT).root_dir is None
    assert plan_of(ON_SITE, notebook_dir="/data").root_dir == "/data"
    with pytest.raises(UsageError, match="--work-dir data: must be a directory on the site"):
        plan_of(SENT, notebook_dir="data")


# What the site gets


@pytest.mark.parametrize("program", [SENT, ON_SITE])
def test_the_agent_reads_what_was_planned(program, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/alice")
    plan = plan_of(program, nodes=2)
    (tmp_path / Layout.SPEC).write_text(json.dumps(agent_spec(plan)))
    read, block = read_session(str(tmp_path)).batch, read_session(str(tmp_path)).block
    assert read is not None and block == plan.block
    sent = program.content is not None
    where = f"{tmp_path}/program/run.py" if sent else "/home/alice/project/run.py"
    assert read.program == where
    assert read.arguments == program.arguments
    assert block is not None
    assert (block.ranks, block.threads, block.memory) == (6, 2, 16 * GB)
    files = session_files(plan, "#!/bin/bash\n", {}, "token")
    assert files.get("program/run.py") == program.content


def test_a_session_has_no_batch(tmp_path):
    plan = make_plan(loaded(), Request(), name="big-1")
    (tmp_path / Layout.SPEC).write_text(json.dumps(agent_spec(plan)))
    assert read_session(str(tmp_path)).batch is None


@pytest.mark.parametrize("insecure", [False, True])
@pytest.mark.parametrize("memory", [None, Memory(9 * GB)])
def test_plain_tcp_is_off_and_warned_of(insecure, memory, tmp_path):
    """Also where the profile says nothing about workers."""
    site: dict[str, Any] = {"dask": DASK if memory is None else {}}
    plan = plan_of(site=site, memory=memory, insecure_dask=insecure)
    assert list(plan.warnings) == ([INSECURE] if insecure else [])
    (tmp_path / Layout.SPEC).write_text(json.dumps(agent_spec(plan)))
    assert read_session(str(tmp_path)).protocol == ("tcp://" if insecure else "tls://")


# Again


def test_a_recorded_batch_is_asked_for_again_as_it_was(hpclaunch_home):
    wishes: dict[str, Any] = {
        "walltime": Walltime(5400),
        "memory": Memory.parse("6.5 GB"),
        "nodes": 3,
        "workers_per_node": 2,
        "account": "proj1",
    }
    where = loaded(dask=DASK, account="mine")
    request = Request(program=SENT, **wishes)
    plan = make_plan(where, request, name="big-1", nonce=NONCE)
    kept = recipe(where, plan, request)
    assert kept is not None and json.loads(json.dumps(kept)) == kept
    assert kept["ranks"] == 8 and kept["arguments"] == ["--alpha", "3"]
    book = Book()
    one = record(batch=kept, profile=where.site.model_dump(mode="json"))
    book.create(one)
    book.keep_program(one.name, one.nonce, b"print(1)\n")
    site, asked = again(book, book.read(one.name))
    assert isinstance(site, LoadedSite)
    assert (site.site, site.path) == (where.site, where.path)
    assert asked == request
    assert make_plan(site, asked, name="big-1", nonce=NONCE) == plan


def test_a_session_is_not_run_again(hpclaunch_home):
    with pytest.raises(SessionError, match="big-1 is a session"):
        again(Book(), record())


def test_a_batch_keeps_its_name_until_its_files_are_removed(hpclaunch_home):
    book = Book()
    ended = {"state": "ended", "error": None, "exit": 0}
    book.create(record(batch=RECIPE, outcome=ended, session_dir="/s"))
    assert book.free_name("big") == "big-2"
    book.update("big-1", NONCE, session_dir="")
    assert book.free_name("big") == "big-1"


# The record and the outcome

RUNS: dict[str, Any] = {
    "batch": RECIPE, "submitting": 1.0, "job_id": "7", "session_dir": "/s",
    "job": {"state": "running"}, "rendezvous": {"hostname": "c1"},
}  # fmt: skip
ENDING = {"cause": "script", "what": "run.py ended with exit code 3", "exit": 3}


def test_a_batch_is_ready_while_its_script_runs_and_has_no_server():
    one = record(**RUNS)
    assert one.state == "ready" and not one.serves
    assert record(**{**RUNS, "rendezvous": None}).state == "starting"
    assert record(**{**RUNS, "trouble": "no route"}).state == "unreachable"


@pytest.mark.parametrize("state", list(JobState))
def test_the_scripts_own_word_decides(state):
    job = JobStatus("7", state, word=state.name)
    well = conclude(record(**RUNS), Evidence(ending={**ENDING, "exit": 0}, job=job))
    assert well == {"state": "ended", "error": None, "exit": 0}
    outcome = conclude(record(**RUNS), Evidence(ending=ENDING, job=job, log="Traceback\n"))
    assert (outcome["state"], outcome["exit"]) == ("failed", 3)
    error = HpclaunchError.from_dict(outcome["error"])
    assert error.what == "run.py ended with exit code 3 (job 7 of batch big-1 on big)"
    assert error.log == "Traceback" and "batch --again big-1" in str(error.hint)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (JobState.CANCELLED, "was cancelled from outside"),
        (JobState.TIMEOUT, "reached its walltime of 01:00:00"),
        (JobState.OUT_OF_MEMORY, "used more memory"),
        (JobState.NODE_FAILED, "lost its node"),
    ],
)
def test_without_that_word_a_batch_has_failed_and_says_why(state, words):
    job = JobStatus("7", state, word=state.name)
    outcome = conclude(record(**RUNS), Evidence(exit_code=143, job=job))
    assert outcome["state"] == "failed" and "exit" not in outcome
    assert words in outcome["error"]["what"]


def test_a_job_that_ended_well_without_a_word_of_its_script_has_not():
    outcome = conclude(record(**RUNS), Evidence(exit_code=0, job=JobStatus("7", JobState.DONE)))
    assert outcome["state"] == "failed"


def test_the_document_says_how_it_ended():
    outcome = conclude(record(**RUNS), Evidence(ending=ENDING))
    one = document(record(**RUNS, outcome=outcome))
    assert (one["state"], one["exit"], one["ranks"]) == ("failed", 3, 4)
    assert one["reason"].startswith("run.py ended") and one["directory"] == "/s"


def test_attach_and_scale_refuse_a_batch_in_words(capsys, hpclaunch_home):
    from hpclaunch.cli import main

    Book().create(record(**RUNS))
    assert main(["attach", "big-1"]) == 2
    assert "big-1 is a batch job: there is no JupyterLab" in capsys.readouterr().err
    assert main(["scale", "big-1", "4"]) == 1
    assert "big-1 is a batch job: its workers are ranks" in capsys.readouterr().err


# What is typed


def typed(*words: str) -> argparse.Namespace:
    return build_parser().parse_args(["batch", *words])


@pytest.mark.parametrize(
    ("words", "site", "script", "arguments"),
    [
        (["run.py"], None, "run.py", []),
        (["big", "run.py"], "big", "run.py", []),
        (["big.toml", "a/run.py", "x", "y"], "big.toml", "a/run.py", ["x", "y"]),
        (["run.py", "other.py"], None, "run.py", ["other.py"]),
        (["big", "a b.ipynb"], "big", "a b.ipynb", []),
        (["--nodes", "2", "big", "run.py", "x"], "big", "run.py", ["x"]),
        (["big", "--nodes", "2", "run.py", "x"], "big", "run.py", ["x"]),
        (["big", "run.py", "x", "--nodes", "2", "y"], "big", "run.py", ["x", "y"]),
        (["big", "run.py", "--nodes", "2", "--", "--nodes", "3"], "big", "run.py",
         ["--nodes", "3"]),
    ],
)  # fmt: skip
def test_options_stand_anywhere_and_the_scripts_own_behind_two_dashes(
    words, site, script, arguments
):
    read = typed(*words, "--wait") if "--" not in words else typed(*words)
    assert (read.site, read.script, read.arguments) == (site, script, arguments)
    assert read.nodes == (2 if "--nodes" in words else None)
    assert read.wait is ("--" not in words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["big", "run.py", "--alpha", "3"], "put -- before the script's own options"),
        (["big", "run"], "no script among 'big run'"),
        (["big"], "no script among 'big'"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(words, said, capsys):
    with pytest.raises(SystemExit) as left:
        typed(*words)
    assert left.value.code == 2
    assert said in capsys.readouterr().err


def test_settings_add_up_wherever_they_stand():
    read = typed("--set", "a.b=1", "big", "run.py", "--set", "c.d=2")
    assert read.settings == ["a.b=1", "c.d=2"]


def test_the_warning_of_plain_tcp_is_told(capsys, tmp_path, hpclaunch_home):
    from hpclaunch.cli import main

    script = tmp_path / "run.py"
    script.write_text("print(1)\n")
    docker = str(Path(__file__).parents[2] / "docker" / "slurm" / "site.toml")
    for options, told in (((), 0), (("--insecure-dask",), 1)):
        assert main(["batch", docker, str(script), "--dry-run", *options]) == 0
        assert capsys.readouterr().err.count("warning: Dask speaks plain tcp") == told


def test_nothing_typed_is_told_in_words(capsys, hpclaunch_home):
    from hpclaunch.cli import main

    assert main(["batch"]) == 2
    assert "batch: name a script" in capsys.readouterr().err
    docker = str(Path(__file__).parents[2] / "docker" / "slurm" / "site.toml")
    assert main(["batch", docker, "no-such.py"]) == 2
    said = capsys.readouterr().err
    assert "there is no file no-such.py here" in said and "'~/'" in said
    assert main(["batch", docker, "one.ipynb", "x"]) == 2
    assert "a notebook takes no arguments" in capsys.readouterr().err


def test_a_dry_run_prints_the_script_of_the_batch(capsys, tmp_path, hpclaunch_home):
    from hpclaunch.cli import main

    script = tmp_path / "run.py"
    script.write_text("print(1)\n")
    docker = str(Path(__file__).parents[2] / "docker" / "slurm" / "site.toml")
    assert main(["batch", docker, str(script), "--dry-run", "--nodes", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "-m hpclaunch.node.batch" in told["script"] and "#SBATCH --nodes=2" in told["script"]
    assert not hpclaunch_home.exists() or not list(hpclaunch_home.iterdir())


def test_the_record_of_a_session_has_no_exit_code():
    assert Record.exit_code.fget is not None and record().exit_code is None


def test_a_site_chooses_no_names_on_the_laptop(tmp_path, monkeypatch, capsys):
    """Only what a notebook becomes is brought beside it."""
    script = tmp_path / "analysis.ipynb"
    script.write_text("the original")
    names = ("/home/a/analysis.out.ipynb", "/home/a/analysis.html", "/home/a/analysis.ipynb",
             "/home/a/.bashrc", "/home/a/analysis.html/../run.sh", "x\nanalysis.html")  # fmt: skip
    asked: list[str] = []

    def read_file(_keeper: object, path: str, *_: object) -> tuple[int, str]:
        asked.append(path)
        return 4, "text"

    monkeypatch.setattr("hpclaunch.cli.batch.read_file", read_file)
    one = record(
        batch={**RECIPE, "script": str(script)},
        outcome={"state": "ended", "error": None, "outputs": names},
    )
    _fetch(None, one)  # type: ignore[arg-type]
    assert asked == list(names[:2])
    assert {path.name for path in tmp_path.iterdir()} == {
        "analysis.ipynb", "analysis.out.ipynb", "analysis.html",
    }  # fmt: skip
    assert script.read_text() == "the original"
    assert capsys.readouterr().err.count("saved ") == 2
