"""The claims of a profile against what was found, one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpclaunch.checks.consistency import consistency
from hpclaunch.checks.line import Fix, Line, differs, holds, unknown, verdict
from hpclaunch.checks.login import check_environments, check_survey
from hpclaunch.checks.node import check_job, check_node
from hpclaunch.checks.story import Visit, compare
from hpclaunch.errors import SubmitError, UnreachableError
from hpclaunch.node.sight import Answer, Directory, NodeFacts
from hpclaunch.request import Request
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.environments import Interpreter
from hpclaunch.sessions.probe import Probe, Trip
from hpclaunch.sessions.way import Way
from hpclaunch.sites.catalog import LoadedSite
from hpclaunch.survey.findings import FoundNodes
from hpclaunch.units import Memory
from tests.pure.findings import queue, survey
from tests.pure.sites import load_content, slurm_with

QUEUE: dict[str, Any] = {"name": "compute"}
FACTS = NodeFacts(
    nonce="0123abcd",
    host="c1",
    time=0.0,
    python="/opt/env/bin/python",
    version="3.11.2",
    packages={"jupyterlab": "4.6.6"},
    interfaces={"eth0": "10.0.0.7"},
    directories={},
)


def lines_of(tmp_path: Path, found: Any = None, account: str | None = None, **tables: Any) -> Any:
    """What comes of the small site with these tables, by key."""
    loaded = load_content(tmp_path, slurm_with(**tables))
    return {one.key: one for one in check_survey(loaded, found or survey(), account)}


def limit(tmp_path: Path, key: str, value: Any, found: Any = None, **fields: Any) -> Line:
    """What comes of one limit of the queue."""
    lines = lines_of(tmp_path, found, queues=[{**QUEUE, key: value, **fields}])
    line: Line = lines[f"queues.compute.{key}"]
    return line


def fix(key: str, value: Any) -> Fix:
    return Fix(("queues", "0", key), value)


@pytest.mark.parametrize(
    ("key", "value", "result", "found", "instead"),
    [
        ("max_walltime", "8:00:00", "holds", "08:00:00", None),
        ("max_walltime", "12:00:00", "differs", "08:00:00", "08:00:00"),
        ("max_walltime", "4:00:00", "differs", "08:00:00", "08:00:00"),
        ("max_nodes", 104, "holds", "the queue has 104 nodes", None),
        ("max_nodes", 105, "differs", "the queue has 104 nodes", 104),
        ("max_nodes", 50, "unknown", "the scheduler sets no limit; the queue has 104 nodes", None),
        ("cores_per_node", 128, "holds", "nodes have 128", None),
        ("cores_per_node", 120, "holds", "nodes have 128", None),
        ("cores_per_node", 129, "differs", "128", 128),
        ("memory_per_node", "250 GB", "holds", "nodes have 256 GB", None),
        ("memory_per_node", "512 GB", "differs", "256 GB", "256 GB"),
        ("gpus_per_node", 4, "differs", "0", 0),
        ("max_jobs", 40, "unknown", "the scheduler sets no such limit, or does not tell it", None),
    ],
)
def test_limits_of_a_queue(tmp_path, key, value, result, found, instead):
    line = limit(tmp_path, key, value)
    assert (line.result, line.found) == (result, found)
    assert line.fix == (None if instead is None else fix(key, instead))


def test_a_limit_that_the_scheduler_sets_wins_over_the_number_of_nodes(tmp_path):
    found = survey(queues=(queue(max_nodes=16),))
    assert limit(tmp_path, "max_nodes", 16, found).result == "holds"
    assert limit(tmp_path, "max_nodes", 32, found).fix == fix("max_nodes", 16)
    assert limit(tmp_path, "max_nodes", 8, found).fix == fix("max_nodes", 16)
    generous = survey(queues=(queue(max_nodes=512),))
    assert limit(tmp_path, "max_nodes", 512, generous).result == "holds"
    assert limit(tmp_path, "max_nodes", 200, generous).fix == fix("max_nodes", 104)


def test_gpus_that_a_scheduler_was_not_told_of_may_be_there(tmp_path):
    tables = {"scheduler": {"kind": "pbs"}, "queues": [{**QUEUE, "gpus_per_node": 4}]}
    key = "queues.compute.gpus_per_node"
    assert lines_of(tmp_path, survey(scheduler="pbs"), **tables)[key].result == "unknown"
    nodes = (FoundNodes(2, 64, gpus=4),)
    found = survey(scheduler="pbs", queues=(queue(nodes=nodes),))
    assert lines_of(tmp_path, found, **tables)[key].result == "holds"


def test_jobs_of_a_user_are_limited_by_queue_or_site(tmp_path):
    assert limit(tmp_path, "max_jobs", 40, survey(max_jobs=40)).result == "holds"
    found = survey(max_jobs=40, queues=(queue(max_jobs=10),))
    assert limit(tmp_path, "max_jobs", 40, found).fix == fix("max_jobs", 10)


def test_a_lower_limit_may_be_that_of_a_qos_which_nobody_reads(tmp_path):
    line = limit(tmp_path, "max_walltime", "4:00:00", qos="debug")
    assert line.result == "unknown"
    assert "QOS debug" in line.found


def test_what_a_profile_does_not_say_is_no_claim(tmp_path):
    keys = [key for key in lines_of(tmp_path, queues=[QUEUE]) if key.startswith("queues")]
    assert keys == ["queues.compute"]


def test_a_queue_that_is_gone_is_told_with_those_that_are_there(tmp_path):
    lines = lines_of(tmp_path, queues=[QUEUE, {"name": "long", "max_nodes": 4}])
    found = "no queue long; there are compute"
    assert lines["queues.long"] == differs("queues.long", found, Fix(("queues", "1")))
    assert "queues.long.max_nodes" not in lines


@pytest.mark.parametrize(
    ("spelled", "result"), [("compute", "holds"), ("else", "differs"), ("", "unknown")]
)
def test_a_queue_is_looked_for_as_the_scheduler_spells_it(tmp_path, spelled, result):
    lines = lines_of(tmp_path, queues=[{"name": "mine", "partition": spelled, "qos": "q"}])
    assert lines["queues.mine"].result == result


def test_a_queue_that_is_closed_says_nothing_against_the_profile(tmp_path):
    lines = lines_of(tmp_path, survey(queues=(queue(open=False),)), queues=[QUEUE])
    assert lines["queues.compute"].result == "unknown"


@pytest.mark.parametrize(("choose", "result"), [(True, "differs"), (False, "unknown")])
def test_a_queue_for_others_may_be_described_but_not_chosen(tmp_path, choose, result):
    found = survey(queues=(queue(allowed=False),))
    lines = lines_of(tmp_path, found, queues=[{**QUEUE, "choose": choose}])
    assert lines["queues.compute"].result == result


@pytest.mark.parametrize(
    ("found", "instead"), [(survey(), "compute"), (survey(queues=(queue(default=False),)), None)]
)
def test_a_default_queue_that_is_gone_becomes_the_schedulers(tmp_path, found, instead):
    scheduler = {"kind": "slurm", "default_queue": "old"}
    line = lines_of(tmp_path, found, scheduler=scheduler)["scheduler.default_queue"]
    place = ("scheduler", "default_queue")
    assert line == differs("scheduler.default_queue", "no queue old", Fix(place, instead))


def test_queues_of_which_nothing_is_told_are_unknown(tmp_path):
    lines = lines_of(tmp_path, survey(queues=()), queues=[{**QUEUE, "max_nodes": 4}])
    assert lines["queues.compute"].result == "unknown"


def test_another_scheduler_ends_the_comparison(tmp_path):
    lines = lines_of(tmp_path, survey(scheduler="pbs", release="23.06"), queues=[QUEUE])
    assert lines == {"scheduler.kind": differs("scheduler.kind", "pbs (23.06)")}
    assert lines_of(tmp_path, survey(scheduler=None))["scheduler.kind"].result == "unknown"


@pytest.mark.parametrize("option", ["--clusters=c5", "-M c5", "-Mc5"])
def test_queues_of_another_cluster_are_not_those_that_were_told(tmp_path, option):
    tables = {"scheduler": {"kind": "slurm", "options": [option]}, "queues": [{"name": "batch"}]}
    lines = lines_of(tmp_path, survey(cluster="es"), account="old", **tables)
    assert list(lines) == ["scheduler.kind", "queues"]
    found = "cluster es was asked, and the profile's commands go to c5"
    assert lines["queues"] == unknown("queues", found)
    assert lines_of(tmp_path, survey(cluster="c5"), **tables)["queues.batch"].result == "differs"


def test_an_account_is_one_that_the_user_may_charge(tmp_path):
    assert lines_of(tmp_path, account="proj2")["account"].result == "holds"
    assert lines_of(tmp_path, survey(accounts=None), "proj2")["account"].result == "unknown"
    line = lines_of(tmp_path, account="old")["account"]
    assert line == differs("account", "you may not charge old; yours are: proj1, proj2")


def test_an_account_of_the_profile_itself_can_be_repaired(tmp_path):
    line = lines_of(tmp_path, account="old", queues=[])["account"]
    assert line.fix is None
    loaded = load_content(tmp_path, slurm_with(account="old"))
    by_key = {one.key: one for one in check_survey(loaded, survey(), "old")}
    assert by_key["account"].fix == Fix(("account",), "proj1")


def test_accounts_that_jobs_must_have(tmp_path):
    line = lines_of(tmp_path, survey(account_required=True))["scheduler.account_required"]
    assert line.fix == Fix(("scheduler", "account_required"), True)
    assert lines_of(tmp_path)["scheduler.account_required"].result == "holds"


def test_lsf_counts_memory_as_its_configuration_says(tmp_path):
    scheduler = {"kind": "lsf", "lsf": {"memory_unit": "GB"}}
    found = survey(scheduler="lsf", memory_unit="MB")
    line = lines_of(tmp_path, found, scheduler=scheduler)["scheduler.lsf.memory_unit"]
    assert line.fix == Fix(("scheduler", "lsf", "memory_unit"), "MB")


# Environments

PACKAGES = {"jupyterlab": "4.4", "jupyter_server": "2.1", "dask": "1", "distributed": "1"}


def environment_line(tmp_path: Path, packages: dict[str, str], **tables: Any) -> Line:
    loaded = load_content(tmp_path, slurm_with(**tables))
    found = {"default": Interpreter("/opt/env/bin/python", "3.11.2", packages)}
    (line,) = check_environments(loaded, found, "default")
    return line


def test_the_environment_of_sessions_has_what_they_need(tmp_path):
    line = environment_line(tmp_path, PACKAGES)
    assert line.result == "holds"
    assert "/opt/env/bin/python (Python 3.11.2): jupyterlab 4.4" in line.found
    line = environment_line(tmp_path, {"jupyter_server": "2.1"})
    assert line.found == "/opt/env/bin/python (Python 3.11.2) has no jupyterlab"
    assert environment_line(tmp_path, {**PACKAGES, "jupyter_server": "1.24"}).result == "differs"


def test_workers_need_more_and_only_where_there_are_any(tmp_path):
    line = environment_line(tmp_path, PACKAGES, dask={"memory": "4 GB"})
    assert line.found.endswith("has no dask-jobqueue")


def test_an_environment_that_sessions_do_not_use_needs_nothing(tmp_path):
    loaded = load_content(tmp_path, slurm_with())
    (line,) = check_environments(loaded, {"default": Interpreter("/x", "3.9.1")}, "other")
    assert line.result == "holds"


def test_batch_jobs_need_mpi(tmp_path):
    line = environment_line(tmp_path, PACKAGES, mpi={"environment": "default"})
    assert line.found.endswith("has no mpi4py, dask-mpi")


@pytest.mark.parametrize(("answered", "result"), [(True, "differs"), (False, "unknown")])
def test_a_silent_environment_is_not_a_wrong_one(tmp_path, answered, result):
    loaded = load_content(tmp_path, slurm_with())
    found = {"default": Interpreter(lack="no such module", answered=answered)}
    (line,) = check_environments(loaded, found, "default")
    assert (line.result, line.found) == (result, "no such module")


# The node

TABLES: dict[str, Any] = {
    "network": {"interface": "ib0"},
    "paths": {"notebooks": "/work"},
    "dask": {"memory": "4 GB", "local_directory": "$TMPDIR"},
}


def node_lines(tmp_path: Path, facts: NodeFacts | None, **tables: Any) -> dict[str, Line]:
    loaded = load_content(tmp_path, slurm_with(**tables))
    return {one.key: one for one in check_node(loaded, facts, "no job was run")}


def test_without_a_job_nothing_is_known_of_nodes(tmp_path):
    lines = node_lines(tmp_path, None, **TABLES)
    keys = ("network.interface", "paths.base", "paths.notebooks")
    keys += ("dask.local_directory", "dask.submit")
    assert lines == {key: unknown(key, "no job was run") for key in keys}


def test_an_interface_that_no_node_has_is_removed_as_the_node_finds_its_own(tmp_path):
    line = node_lines(tmp_path, FACTS, **TABLES)["network.interface"]
    found = "no ib0 with an address on c1; there are: eth0 10.0.0.7"
    assert line == differs("network.interface", found, Fix(("network", "interface")))
    there = replace(FACTS, interfaces={"ib0": "10.1.0.7"})
    line = node_lines(tmp_path, there, **TABLES)["network.interface"]
    assert line == holds("network.interface", "ib0 10.1.0.7 on c1")


@pytest.mark.parametrize(
    ("directory", "result", "found"),
    [
        (Directory("/work", True, True), "holds", "/work is there on c1, and can be written"),
        (Directory("/work", False, True), "holds", "/work can be made on c1, and can be written"),
        (Directory("/work", True, False), "differs", "/work cannot be written on c1"),
        (Directory("/w", False, False), "differs", "/w is not there, and cannot be made on c1"),
        (
            Directory("$NO/x", False, False),
            "differs",
            "$NO/x names a variable that jobs on c1 do not have",
        ),
    ],
)
def test_directories_as_the_node_sees_them(tmp_path, directory, result, found):
    facts = replace(FACTS, directories={"paths.notebooks": directory})
    line = node_lines(tmp_path, facts, **TABLES)["paths.notebooks"]
    assert (line.result, line.found) == (result, found)


@pytest.mark.parametrize(
    ("asked", "result"),
    [
        (Answer(0, "", ""), "holds"),
        (Answer(1, "", "squeue: error: Unable to contact slurm controller"), "differs"),
        (Answer(None, "", "No such file or directory: 'squeue'"), "differs"),
        (None, "unknown"),
    ],
)
def test_who_submits_workers_was_tried_on_the_node(tmp_path, asked, result):
    lines = node_lines(tmp_path, replace(FACTS, scheduler=asked), dask={"memory": "4 GB"})
    assert lines["dask.submit"].result == result
    assert asked is None or asked.stderr in lines["dask.submit"].found


def test_a_scheduler_that_knows_no_such_job_has_answered(tmp_path):
    """LSF's bjobs fails then."""
    asked = Answer(255, "", "Job <hpclaunch-x-w> is not found\n")
    tables = {"scheduler": {"kind": "lsf"}, "dask": {"memory": "4 GB"}}
    lines = node_lines(tmp_path, replace(FACTS, scheduler=asked), **tables)
    assert lines["dask.submit"].result == "holds"


def test_by_ssh_the_login_node_must_let_the_node_in(tmp_path):
    dask = {"memory": "4 GB", "submit": "ssh"}
    for code, result in ((0, "holds"), (255, "differs")):
        facts = replace(FACTS, scheduler=Answer(code, "", "Permission denied"))
        assert node_lines(tmp_path, facts, dask=dask)["dask.submit"].result == result


def test_the_laptop_submits_without_the_node(tmp_path):
    lines = node_lines(tmp_path, FACTS, dask={"memory": "4 GB", "submit": "laptop"})
    assert "dask.submit" not in lines


# The job


@pytest.mark.parametrize(
    ("probe", "result", "words"),
    [
        (Probe(True, FACTS, timings={"queue": 1.0}, answer=0.003), "holds", "it ran on c1"),
        (Probe(waits="job 5 is queued (Priority)"), "unknown", "job 5 is queued (Priority)"),
        (Probe(error=UnreachableError("gone")), "unknown", "the connection failed: gone"),
        (
            Probe(error=SubmitError("refused", said="sbatch: no\n such")),
            "differs",
            "refused: sbatch: no such",
        ),
        (Probe(True, untidy="a job may be left"), "unknown", "a job may be left"),
    ],
)
def test_what_came_of_the_job(probe, result, words):
    lines = list(check_job(probe))
    assert any((one.key, one.result) == ("job", result) and words in one.found for one in lines)


def test_the_way_to_the_node_is_measured():
    lines = list(check_job(Probe(True, FACTS, answer=0.0031, login_answer=0.0102)))
    words = "the node answers through the tunnel in 3 ms; a command on the login node takes 10 ms"
    assert lines[1] == holds("reach", words)


@pytest.mark.parametrize("ready", [True, False])
def test_a_login_node_that_forwards_nothing_is_told_unless_it_did(tmp_path, ready):
    loaded = load_content(tmp_path, slurm_with())
    seen = Visit(survey(forwarding=False), {}, Probe(ready, FACTS))
    trip = Trip(lambda: pytest.fail(), Way.of(loaded), Book(), loaded, Request(), print)
    lines = {one.key for one in compare(trip, seen)}
    assert ("forwarding" in lines) is not ready


# The profile itself


def by_key(loaded: LoadedSite, request: Request | None = None) -> dict[str, Line]:
    return {one.key: one for one in consistency(loaded, request or Request())}


def test_a_profile_that_fits_itself(tmp_path):
    lines = by_key(load_content(tmp_path, slurm_with(dask={"memory": "4 GB"})))
    assert [one.result for one in lines.values()] == ["holds"] * 3
    assert list(lines) == ["profile", "session", "dask"]


def test_defaults_that_pass_the_profiles_own_limits(tmp_path):
    queues = [{"name": "compute", "max_walltime": "1:00:00", "memory_per_node": "8 GB"}]
    loaded = load_content(
        tmp_path, slurm_with(queues=queues, session={"queue": "compute"}, dask={"memory": "16 GB"})
    )
    lines = by_key(loaded)
    assert lines["session"].result == "differs"
    assert "a walltime of 04:00:00, where queue 'compute' allows at most" in lines["session"].found
    assert lines["dask"].result == "differs"


@pytest.mark.parametrize(
    ("table", "content"),
    [("scheduler", {"kind": "slurm", "default_queue": "no"}), ("session", {"queue": "no"})],
)
def test_queues_that_are_named_and_not_described(tmp_path, table, content):
    loaded = load_content(tmp_path, slurm_with(queues=[QUEUE], **{table: content}))
    key = f"{table}.{'default_queue' if table == 'scheduler' else 'queue'}"
    assert by_key(loaded)[key].found == "'no' is described nowhere in the profile (compute)"


def test_an_account_that_only_lacks_is_no_fault_of_the_profile(tmp_path):
    scheduler = {"kind": "slurm", "account_required": True}
    loaded = load_content(tmp_path, slurm_with(scheduler=scheduler))
    lines = by_key(loaded)
    assert (lines["account"].result, lines["session"].result) == ("unknown", "holds")
    assert "account" not in by_key(loaded, Request(account="proj1"))


def test_only_what_differs_is_a_failure():
    assert verdict([holds("a", ""), unknown("b", "")]) == 0
    assert verdict([holds("a", ""), differs("b", "")]) == 1
    assert differs("b", "x", fix("a", 1)).to_dict() == {
        "key": "b",
        "result": "differs",
        "found": "x",
    }


def test_memory_is_compared_as_memory(tmp_path):
    found = survey(queues=(queue(nodes=(FoundNodes(2, 4, Memory(8000 * 2**20)),)),))
    assert limit(tmp_path, "memory_per_node", "8000 MB", found).result == "holds"
    assert limit(tmp_path, "memory_per_node", "8000 MiB", found).result == "holds"
    assert limit(tmp_path, "memory_per_node", "8001 MiB", found).fix == fix(
        "memory_per_node", "8000 MiB"
    )
