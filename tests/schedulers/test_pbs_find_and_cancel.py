"""Finding jobs by their name, and ending them one at a time."""

from __future__ import annotations

import itertools
import os
import subprocess
from pathlib import Path

import pytest

from hpclaunch.errors import SchedulerError
from hpclaunch.schedulers.pbs import Pbs
from hpclaunch.shell import Completed
from tests.schedulers.replay import completed, the_record
from tests.schedulers.replay_pbs import RELEASES, as_text, jobs_in
from tests.transcripts.reader import records

pytestmark = [pytest.mark.pure]
on_both_releases = pytest.mark.parametrize("release", RELEASES)


def listing(release: str, topic: str) -> Completed:
    """All jobs of a topic, as ``qstat -f`` describes them, each as it was last."""
    jobs: dict[str, dict[str, object]] = {}
    for record in records(release, topic):
        jobs.update(jobs_in(record))
    return Completed.of(["qstat"], 0, as_text(jobs))


@on_both_releases
def test_only_live_jobs_of_exactly_this_name_are_found(release):
    said = listing(release, "21_state_Q")
    (found,) = Pbs().parse_find(said, "never")
    assert found.endswith(".pbs-login"), "with its server"
    assert Pbs().parse_find(said, "neve") == []
    assert Pbs().parse_find(listing(release, "30_failed"), "f3") == [], "it is finished"


def test_a_long_name_is_matched_whole():
    """The tables cut names at 15 letters; `qstat -f` breaks them."""
    name = "n" * 200
    text = f"Job Id: 7.pbs-login\n    Job_Name = {name[:60]}\n\t{name[60:]}\n    job_state = Q\n"
    said = Completed.of(["qstat"], 0, text)
    assert Pbs().parse_find(said, name) == ["7.pbs-login"]
    assert Pbs().parse_find(said, name[:60]) == []


def test_a_state_we_do_not_know_counts_as_alive():
    text = "Job Id: 7.pbs-login\n    Job_Name = a\n    job_state = Z\n"
    assert Pbs().parse_find(Completed.of(["qstat"], 0, text), "a") == ["7.pbs-login"]


def test_nothing_listed_means_there_is_none():
    assert Pbs().parse_find(Completed.of(["qstat"], 0), "a") == []


def test_jobs_that_end_between_the_two_questions_are_no_fault():
    text = "Job Id: 7.pbs-login\n    Job_Name = a\n    job_state = Q\n"
    errors = (
        "qstat: Unknown Job Id 8.pbs-login\nqstat: 9.pbs-login Job has finished, use -x or -H\n"
    )
    assert Pbs().parse_find(Completed.of(["qstat"], 153, text, errors), "a") == ["7.pbs-login"]


@on_both_releases
def test_a_server_that_is_down_does_not_mean_there_is_none(release):
    said = completed(next(r for r in records(release, "61_server_down") if r.exit == 255))
    with pytest.raises(SchedulerError) as caught:
        Pbs().parse_find(said, "a")
    assert "Connection refused" in str(caught.value.said)


def run_find(folder: Path, ids: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """The find command, with a qselect that prints `ids` and a qstat that shows its arguments."""
    (folder / "qselect").write_text(f"#!/bin/sh\nprintf '{ids}'; echo $@ >&2; exit {code}\n")
    (folder / "qstat").write_text('#!/bin/sh\necho "qstat $@"\n')
    for name in ("qselect", "qstat"):
        (folder / name).chmod(0o755)
    return subprocess.run(
        Pbs().find_command("a"),
        env={"PATH": f"{folder}:{os.defpath}"},
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_only_the_users_own_jobs_are_described(tmp_path):
    me = subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip()
    (tmp_path / "21.pbs-login").touch()  # which the id of an array would match as a pattern
    done = run_find(tmp_path, "1.pbs-login\\n2[1].pbs-login\\n")
    assert done.stdout == "qstat -f 1.pbs-login 2[1].pbs-login\n"
    assert done.stderr.strip() == f"-u {me}"


def test_without_jobs_nobody_is_asked_for_those_of_others(tmp_path):
    """``qstat -f`` alone would describe every job of the site."""
    done = run_find(tmp_path, "")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_listing_that_fails_is_no_empty_listing(tmp_path):
    assert run_find(tmp_path, "", 255).returncode == 255


def test_every_id_has_a_qdel_of_its_own(tmp_path):
    """`qdel LIVE UNKNOWN` ended the whole server, eight times of eight, and exited with 0."""
    qdel = tmp_path / "qdel"
    qdel.write_text('#!/bin/sh\necho "qdel $@" >&2; [ "$1" != 5.a ] || exit 153\n')
    qdel.chmod(0o755)
    (command,) = Pbs().cancel_commands(["4.a", "5.a", "6[1].a"])
    done = subprocess.run(
        command, env={"PATH": f"{tmp_path}:{os.defpath}"}, capture_output=True, text=True
    )
    assert done.stderr == "qdel 4.a\nqdel 5.a\nqdel 6[1].a\n"
    assert done.returncode == 153, "the fault of one is not lost in the others' success"
    assert Pbs().cancel_commands([]) == []
    assert len(Pbs().cancel_commands([f"{number}.a" for number in range(101)])) == 2


def test_one_job_that_is_not_deleted_counts_among_others_that_are_over():
    gone = "qdel: Unknown Job Id 5.a\nqdel: Job has finished 6.a\n"
    Pbs().parse_cancel(Completed.of(["qdel"], 35, "", gone))
    with pytest.raises(SchedulerError):
        text = gone + "qdel: Unauthorized Request  7.a\n"
        Pbs().parse_cancel(Completed.of(["qdel"], 35, "", text))


@pytest.mark.parametrize("release", RELEASES)
def test_the_server_did_die_of_two_ids(release):
    """What the rule above is for, as it was recorded."""
    seen = records(release, "59_qdel_list")
    died = [
        before.command
        for before, after in itertools.pairwise(seen)
        if before.command.startswith("qdel") and after.exit == 255
    ]
    assert died
    assert all(len(command.split()) > 2 for command in died)


@on_both_releases
@pytest.mark.parametrize(
    ("topic", "fragments", "exit"),
    [
        ("25_qdel", ("again",), 35),
        ("25_qdel", ("qdel 99999",), 153),
        ("28_state_E", ("deleting a job in E",), 168),
    ],
)
def test_deleting_what_is_over_or_ending_is_no_error(release, topic, fragments, exit):
    said = completed(the_record(release, topic, *fragments))
    assert said.exit == exit
    Pbs().parse_cancel(said)


def test_a_job_whose_node_is_down_is_not_deleted():
    said = completed(the_record(RELEASES[0], "62_node_down", "whose node is down"))
    with pytest.raises(SchedulerError) as caught:
        Pbs().parse_cancel(said)
    assert "Server could not connect to MOM" in str(caught.value.said)
    assert "force" in str(caught.value.hint)


@on_both_releases
def test_a_job_is_not_deleted_while_the_server_is_down(release):
    record = next(r for r in records(release, "61_server_down") if r.command.startswith("qdel"))
    with pytest.raises(SchedulerError) as caught:
        Pbs().parse_cancel(completed(record))
    assert "Connection refused" in str(caught.value.said)


def test_another_users_job_is_not_deleted():
    said = Completed.of(["qdel"], 159, "", "qdel: Unauthorized Request  7.pbs-login\n")
    with pytest.raises(SchedulerError, match="did not delete"):
        Pbs().parse_cancel(said)
