"""What all batch schedulers keep to, whatever a site says; and how profiles choose one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.errors import SchedulerError, SubmitError
from hpclaunch.node.spec import read_session
from hpclaunch.plan import make_plan
from hpclaunch.request import Request
from hpclaunch.schedulers.base import JobSpec, JobState, Scheduler
from hpclaunch.schedulers.kinds import KINDS, batch_scheduler
from hpclaunch.schedulers.lsf import Lsf
from hpclaunch.schedulers.pbs import Pbs
from hpclaunch.schedulers.slurm import Slurm
from hpclaunch.script import agent_spec
from hpclaunch.sessions.access import scheduler_for
from hpclaunch.shell import Completed
from hpclaunch.sites.catalog import load
from hpclaunch.units import Memory, Walltime
from tests.node.live import make_session

pytestmark = pytest.mark.pure

PROFILES = Path(__file__).parents[1] / "profiles"
SCHEDULERS = [Slurm(), Pbs(), Pbs(dialect="torque"), Lsf()]
IDS = {"slurm": ["1", "22", "3_4"], "pbs": ["1.srv", "22.srv"], "lsf": ["1", "22", "3[4]"]}
on_all = pytest.mark.parametrize("scheduler", SCHEDULERS, ids=lambda one: one.kind)
words = st.text() | st.text(st.sampled_from("0123456789|<>[].=:-, \n\tJobIdPStatusRUNQ_%()"))


@on_all
@given(stdout=words, stderr=st.text(), exit=st.integers(0, 255))
def test_any_answer_gives_one_status_for_every_id(
    scheduler: Scheduler, stdout: str, stderr: str, exit: int
) -> None:
    ids = IDS[scheduler.kind]
    said = Completed.of(["x"], exit, stdout, stderr)
    for parse in (scheduler.parse_status, scheduler.parse_history):
        statuses = parse(said, ids)
        assert list(statuses) == ids
        assert all(status.id == one for one, status in statuses.items())


@on_all
@given(stdout=words, stderr=st.text(), exit=st.integers(0, 255))
def test_any_answer_to_a_submit_is_an_id_or_a_scheduler_error(
    scheduler: Scheduler, stdout: str, stderr: str, exit: int
) -> None:
    try:
        job = scheduler.parse_submit(Completed.of(["x"], exit, stdout, stderr))
    except SchedulerError as error:
        assert error.hint
        return
    assert exit == 0 and job in stdout
    assert scheduler.status_command([job]), "an id that can be asked for"


@on_all
@given(stdout=words, stderr=st.text(), exit=st.integers(0, 255))
def test_any_listing_gives_ids_or_a_scheduler_error(
    scheduler: Scheduler, stdout: str, stderr: str, exit: int
) -> None:
    try:
        found = scheduler.parse_find(Completed.of(["x"], exit, stdout, stderr), "a")
    except SchedulerError:
        return
    assert all(one and one in stdout for one in found)


@on_all
@given(stderr=st.text(), exit=st.integers(0, 255))
def test_any_answer_to_cancel_is_good_or_a_scheduler_error(
    scheduler: Scheduler, stderr: str, exit: int
) -> None:
    try:
        scheduler.parse_cancel(Completed.of(["x"], exit, "", stderr))
    except SchedulerError as error:
        assert error.hint


@on_all
@pytest.mark.parametrize("exit", [0, 1, 124, 255])
def test_silence_is_never_the_end_of_a_job(scheduler: Scheduler, exit: int) -> None:
    said = Completed.of(["x"], exit, "", "the connection was lost")
    for status in scheduler.parse_status(said, IDS[scheduler.kind]).values():
        assert not status.state.is_final
        # Slurm answers an unknown id with an empty list.
        assert status.state is JobState.UNKNOWN or (scheduler.kind, exit) == ("slurm", 0)


@on_all
def test_the_same_scheduler_twice_is_one(scheduler: Scheduler) -> None:
    """All sessions of a site are asked for in one query: schedulers are keys."""
    again = type(scheduler)(**vars(scheduler))
    assert {scheduler: 1} == {again: 1}


@on_all
def test_a_relative_or_nameless_job_is_refused(scheduler: Scheduler) -> None:
    for spec in (JobSpec("", "/l", Walltime(60)), JobSpec("a", "l", Walltime(60))):
        with pytest.raises(ValueError, match=r"name|absolute"):
            assert scheduler.directives(spec) and scheduler.prologue(spec)


def test_kinds_are_told_apart_by_their_names() -> None:
    assert list(KINDS) == ["slurm", "pbs", "lsf"]
    for kind in KINDS:
        assert batch_scheduler(kind, ()).kind == kind
    with pytest.raises(ValueError, match="there are slurm, pbs, lsf"):
        batch_scheduler("sge", ())
    with pytest.raises(ValueError, match="no such quirk"):
        batch_scheduler("slurm", (), {"memory_unit": "MB"})


@pytest.mark.parametrize(
    ("kind", "settings", "wanted"),
    [
        ("pbs", (), Pbs(chunk=("model=mil_ait",), charge_by="-P")),
        ("pbs", ("scheduler.pbs.dialect=torque",),
         Pbs(dialect="torque", chunk=("model=mil_ait",), charge_by="-P")),
        ("lsf", (), Lsf(memory_unit="GB", memory_per="task")),
        ("lsf", ("scheduler.lsf.memory_unit=KB",), Lsf(memory_unit="KB", memory_per="task")),
    ],
)  # fmt: skip
def test_laptop_and_node_ask_the_scheduler_in_the_same_way(
    kind: str, settings: tuple[str, ...], wanted: Scheduler, tmp_path: Path
) -> None:
    """The laptop by the profile, the session's own job by what it was told of it."""
    loaded = load(str(PROFILES / f"{kind}.toml"), settings)
    assert scheduler_for(loaded.site, "/base") == wanted
    plan = make_plan(loaded, Request(workers=2), name="s-1", nonce="0123abcd")
    told = {key: value for key, value in agent_spec(plan).items() if key != "version"}
    session = read_session(str(make_session(tmp_path / "s", **told)))
    there = batch_scheduler(session.scheduler, session.scheduler_options, session.scheduler_quirks)
    assert there == wanted


@pytest.mark.parametrize("kind", ["pbs", "lsf"])
def test_a_refusal_of_values_is_told_by_the_plan_or_the_script(kind: str) -> None:
    """What cannot be said in a directive is known before anything is submitted."""
    scheduler = batch_scheduler(kind, ())
    with pytest.raises(ValueError, match="queue"):
        scheduler.directives(JobSpec("a", "/l", Walltime(60), queue='a"b', memory=Memory(1)))
    assert issubclass(SubmitError, SchedulerError)
