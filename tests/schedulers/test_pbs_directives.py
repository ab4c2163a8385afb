"""What hpclaunch writes into a script for PBS, and what PBS would refuse."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.schedulers.base import JobSpec
from hpclaunch.schedulers.pbs import Pbs
from hpclaunch.units import Memory, Walltime
from tests.schedulers.replay_pbs import RELEASES
from tests.transcripts.reader import records

pytestmark = pytest.mark.pure

PLAIN = JobSpec(name="s-1", log="/home/a/job.log", walltime=Walltime(5400))
LARGE = JobSpec(
    name="hpclaunch-s-1",
    log="/scratch/my dir/job.log",
    walltime=Walltime(100 * 3600 + 61),
    nodes=4,
    tasks_per_node=2,
    cores=8,
    memory=Memory.parse("1.5 GB"),
    gpus=2,
    queue="main",
    account="proj1",
    extra=("-l filesystems=home:eagle", "-W umask=027"),
)


def spec(**changes: object) -> JobSpec:
    return JobSpec(**{**PLAIN.__dict__, **changes})  # type: ignore[arg-type]


def test_a_small_job_has_these_directives_in_this_order():
    assert Pbs().directives(PLAIN) == [
        "#PBS -N s-1",
        "#PBS -j oe",
        "#PBS -o /dev/null",
        "#PBS -l walltime=01:30:00",
        "#PBS -l select=1:ncpus=1:mpiprocs=1",
        "#PBS -r n",
        "#PBS -m n",
    ]


def test_a_large_job_has_these_directives_in_this_order():
    assert Pbs(chunk=("model=mil_ait",)).directives(LARGE) == [
        "#PBS -N hpclaunch-s-1",
        "#PBS -j oe",
        "#PBS -o /dev/null",
        "#PBS -l walltime=100:01:01",
        "#PBS -l select=4:ncpus=16:mpiprocs=2:mem=1431mb:ngpus=2:model=mil_ait",
        "#PBS -l place=scatter",
        "#PBS -q main",
        "#PBS -A proj1",
        "#PBS -r n",
        "#PBS -m n",
        "#PBS -l filesystems=home:eagle",
        "#PBS -W umask=027",
    ]


def test_torque_has_nodes_and_the_memory_of_all_of_them():
    lines = Pbs(dialect="torque", chunk=("bigmem",)).directives(LARGE)
    assert "#PBS -l nodes=4:ppn=16:gpus=2:bigmem" in lines
    assert f"#PBS -l mem={4 * 1431}mb" in lines
    assert not [line for line in lines if "select" in line or "place" in line]


def test_totals_are_cores_and_memory_of_the_whole_job():
    lines = Pbs(dialect="totals").directives(LARGE)
    assert {"#PBS -l ncpus=64", "#PBS -l ngpus=8", f"#PBS -l mem={4 * 1431}mb"} <= set(lines)
    assert not [line for line in lines if "select" in line or "place" in line]
    assert "#PBS -l place=excl" in Pbs(dialect="totals", place="excl").directives(LARGE)
    with pytest.raises(ValueError, match="totals have no chunks"):
        Pbs(dialect="totals", chunk=("model=x",))


@pytest.mark.parametrize("dialect", ["pbs", "torque", "totals"])
@pytest.mark.parametrize("memory_as", ["whole", "none"])
def test_memory_that_comes_with_the_node_is_not_asked_for(dialect, memory_as):
    job = JobSpec(**{**LARGE.__dict__, "memory_as": memory_as})
    assert not [line for line in Pbs(dialect=dialect).directives(job) if "mem" in line]


@pytest.mark.parametrize(
    ("charge_by", "line"),
    [("-A", "#PBS -A p1"), ("-P", "#PBS -P p1"), ("group_list", "#PBS -W group_list=p1")],
)
def test_the_account_is_named_the_way_the_site_wants_it(charge_by, line):
    assert line in Pbs(charge_by=charge_by).directives(spec(account="p1"))


def test_a_place_of_the_profile_goes_before_ours():
    assert "#PBS -l place=pack:excl" in Pbs(place="pack:excl").directives(LARGE)


def test_memory_is_never_less_than_asked():
    (line,) = [one for one in Pbs().directives(spec(memory=Memory(2**20 + 1))) if "select" in one]
    assert line.endswith(":mem=2mb")


def test_no_job_is_run_twice_and_no_mail_is_sent():
    assert {"#PBS -r n", "#PBS -m n"} <= set(Pbs().directives(PLAIN))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "takes no job named"),
        ({"name": "a b"}, "takes no job named"),
        ({"name": "a/b"}, "takes no job named"),
        ({"name": "a:b"}, "takes no job named"),
        ({"name": "a#b"}, "takes no job named"),
        ({"name": "ä"}, "takes no job named"),
        ({"name": "a\nb"}, "takes no job named"),
        ({"name": "n" * 231}, "takes no job named"),
        ({"queue": "x y"}, "queue without blanks"),
        ({"queue": "x\n#PBS -A other"}, "queue without blanks"),
        ({"account": "it's"}, "account without blanks"),
        ({"account": ""}, "account without blanks"),
        ({"qos": "high"}, "no QOS"),
        ({"extra": ("-l a=b\nreboot",)}, "one line"),
        ({"extra": ("-l a=\0",)}, "NUL"),
        ({"extra": ("select=2",)}, "no option"),
        ({"copies": 3}, "array"),
        ({"memory": Memory(1), "memory_as": "core"}, "memory"),
    ],
)
def test_what_pbs_could_not_read_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        Pbs().directives(spec(**changes))


@pytest.mark.parametrize("release", RELEASES)
def test_a_name_that_pbs_refused_is_refused_here_and_one_that_it_took_is_not(release):
    """The records hold a name each: -N and one word, in quotes or not."""
    seen = set()
    for record in records(release, "40_errors"):
        words = record.command.partition("qsub -N ")[2]
        name = words.strip("\"'")
        if not words or " -" in words or name in ("-x", "a:b.c_d-e+f@g"):
            continue
        accepted = record.exit == 0
        seen.add(accepted)
        if accepted:
            assert Pbs().directives(spec(name=name)), name
        else:
            with pytest.raises(ValueError, match="takes no job named"):
                Pbs().directives(spec(name=name))
    assert seen == {True, False}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dialect": "sge"}, "dialect"),
        ({"charge_by": "-B"}, "charge_by"),
        ({"dialect": "torque", "place": "pack"}, "no place"),
        ({"options": ("--clusters=c5",)}, "PBS_SERVER"),
    ],
)
def test_settings_that_are_none_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Pbs(**settings)


def test_a_chunk_of_the_profile_is_one_word():
    with pytest.raises(ValueError, match="part of a chunk"):
        Pbs(chunk=("model=a b",)).directives(PLAIN)


names = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1)


@given(name=names, queue=names, extra=names)
def test_bash_takes_every_directive_for_a_comment(name, queue, extra):
    try:
        lines = Pbs().directives(spec(name=name, queue=queue, extra=(f"-l{extra}",)))
    except ValueError:
        return
    assert all(line.startswith("#PBS -") and "\n" not in line for line in lines)


def test_never_with_the_whole_environment():
    """``qsub -V`` of 23.06.06 passes nothing, silently."""
    for release in RELEASES:
        assert "-V" not in Pbs().submit_command(PLAIN), release
    assert not [line for line in Pbs().directives(LARGE) if line.startswith(("#PBS -V", "#PBS -v"))]


def run_submit(pbs: Pbs, folder: Path, umask: int, **environment: str) -> str:
    """What a qsub in `folder` is given."""
    (folder / "qsub").write_text('#!/bin/sh\necho "$@" "${PBS_DPREFIX-unset}"; cat\n')
    (folder / "qsub").chmod(0o755)
    return subprocess.run(
        pbs.submit_command(PLAIN),
        env={"PATH": f"{folder}:{os.defpath}", **environment},
        input="the script\n",
        capture_output=True,
        text=True,
        check=True,
        umask=umask,
    ).stdout


@pytest.mark.parametrize(("umask", "told"), [(0o022, "022"), (0o077, "077"), (0o2, "002")])
def test_the_users_own_umask_goes_to_the_job(tmp_path, umask, told):
    """PBS gives it 077 otherwise, and what a notebook writes may be meant for a group."""
    assert run_submit(Pbs(), tmp_path, umask) == f"-f -W umask={told} unset\nthe script\n"


def test_the_users_own_prefix_of_directives_does_not_count(tmp_path):
    assert run_submit(Pbs(), tmp_path, 0o22, PBS_DPREFIX="#QSUB").startswith(
        "-f -W umask=022 unset"
    )


def test_torques_f_is_another_option(tmp_path):
    assert run_submit(Pbs(dialect="torque"), tmp_path, 0o22).startswith("-W umask=022 unset")


@pytest.mark.parametrize(
    ("log", "written"),
    [("/{}/it's %j.log", "it's %j.log"), ("/{}/logs 100%/", "logs 100%/7.pbs-login.log")],
)
def test_the_job_writes_its_own_log_from_its_first_line_on(tmp_path, log, written):
    """PBS keeps output on the node until the end, so there is nothing to follow."""
    (tmp_path / "logs 100%").mkdir()
    (tmp_path / "submitted from").mkdir()
    one = spec(log=log.format(str(tmp_path).lstrip("/")))
    lines = [*Pbs().prologue(one), "echo written; echo too >&2; pwd"]
    environment = {"PBS_JOBID": "7.pbs-login", "PBS_O_WORKDIR": f"{tmp_path}/submitted from"}
    done = subprocess.run(["bash", "-c", "\n".join(lines)], env=environment, capture_output=True)
    assert done.stdout == done.stderr == b""
    assert (tmp_path / written).read_text() == f"written\ntoo\n{tmp_path}/submitted from\n"


def test_a_log_that_is_there_already_is_kept(tmp_path):
    """It is made by the submit, for nobody else to read."""
    log = tmp_path / "job.log"
    log.touch(mode=0o600)
    line = Pbs().prologue(spec(log=str(log)))[0]
    subprocess.run(["bash", "-c", f"umask 022; {line}; echo x"], check=True)
    assert (log.read_text(), log.stat().st_mode & 0o777) == ("x\n", 0o600)


def test_a_job_that_cannot_write_its_log_ends():
    line = Pbs().prologue(spec(log="/proc/none/job.log"))[0]
    done = subprocess.run(["bash", "-c", f"{line}\necho ran"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")


def test_a_relative_log_is_refused():
    with pytest.raises(ValueError, match="absolute"):
        Pbs().prologue(spec(log="job.log"))


def test_a_site_that_refuses_to_be_asked_for_memory_is_not_asked():
    job = spec(memory=Memory(2**30), memory_as="none")
    assert not [line for line in Pbs().directives(job) if "mem" in line]
    assert [line for line in Pbs().directives(spec(memory=Memory(2**30))) if "mem" in line]
