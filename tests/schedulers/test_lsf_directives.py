"""What hpclaunch writes into a script for LSF: minutes, units of memory, one requirement."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.schedulers.base import JobSpec
from hpclaunch.schedulers.lsf import Lsf
from hpclaunch.schedulers.lsf_directives import MemoryRule
from hpclaunch.units import Memory, Walltime
from tests.transcripts.reader import records

pytestmark = pytest.mark.pure

RELEASE = "volclava-2.2.0-beta"
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
    account="proj 1",
    extra=("-G climate", '-R "select[type==any] order[mem]"', "-x"),
)


def spec(**changes: object) -> JobSpec:
    return JobSpec(**{**PLAIN.__dict__, **changes})  # type: ignore[arg-type]


def test_a_small_job_has_these_directives_in_this_order():
    assert Lsf().directives(PLAIN) == [
        "#BSUB -J s-1",
        "#BSUB -o /dev/null",
        "#BSUB -W 90",
        "#BSUB -n 1",
        '#BSUB -R "span[hosts=1]"',
    ]


@pytest.mark.parametrize("memory_as", ["whole", "none"])
def test_memory_that_comes_with_the_host_is_not_asked_for(memory_as):
    lines = Lsf().directives(spec(memory=Memory.parse("4 GB"), memory_as=memory_as))
    assert '#BSUB -R "span[hosts=1]"' in lines


def test_a_large_job_has_these_directives_in_this_order():
    assert Lsf().directives(LARGE) == [
        "#BSUB -J hpclaunch-s-1",
        "#BSUB -o /dev/null",
        "#BSUB -W 6002",
        "#BSUB -n 64",
        '#BSUB -R "select[type==any] order[mem] span[ptile=16] rusage[mem=1431]"',
        "#BSUB -q main",
        '#BSUB -P "proj 1"',
        '#BSUB -gpu "num=2"',
        "#BSUB -G climate",
        "#BSUB -x",
    ]


def test_r_is_given_once():
    """A second one is refused by volclava, as it was recorded."""
    (record,) = records(RELEASE, "40_errors_multiR")
    assert record.stdin.count("-R") == 2
    assert "the -R option was used more than once" in record.stderr
    job = spec(memory=Memory(2**30), extra=("-R 'select[fs]'", "-Rorder[mem]"))
    lines = [line for line in Lsf().directives(job) if line.startswith("#BSUB -R")]
    assert lines == ['#BSUB -R "select[fs] order[mem] span[hosts=1] rusage[mem=1024]"']


@pytest.mark.parametrize(
    ("seconds", "minutes"), [(60, 1), (61, 2), (30, 1), (3600, 60), (86400, 1440)]
)
def test_the_walltime_is_in_minutes_and_never_shorter_than_asked(seconds, minutes):
    assert f"#BSUB -W {minutes}" in Lsf().directives(spec(walltime=Walltime(seconds)))


@pytest.mark.parametrize(
    ("unit", "per", "number"),
    [
        ("MB", "host", 4096),
        ("KB", "host", 4 * 2**20),
        ("GB", "host", 4),
        ("TB", "host", 1),
        ("MB", "task", 512),
        ("GB", "task", 1),
        ("MB", "job", 8192),
        ("GB", "job", 8),
    ],
)
def test_memory_is_a_bare_number_in_the_unit_of_the_site(unit, per, number):
    """Two hosts with 8 slots each get 4 GiB each; a unit behind the number is a syntax error."""
    job = spec(nodes=2, cores=8, memory=Memory(4 * 2**30))
    (line,) = [one for one in Lsf((), unit, per).directives(job) if "rusage" in one]
    assert line == f'#BSUB -R "span[ptile=8] rusage[mem={number}]"'
    refused = [one for one in records(RELEASE, "40_errors") if "rusage[mem=1GB]" in one.command]
    assert [one.exit for one in refused] == [255]


@given(
    memory=st.integers(1, 2**45),
    hosts=st.integers(1, 64),
    slots=st.integers(1, 256),
    unit=st.sampled_from(["KB", "MB", "GB", "TB"]),
    per=st.sampled_from(["host", "task", "job"]),
)
def test_each_host_is_granted_at_least_what_was_asked(memory, hosts, slots, unit, per):
    number = MemoryRule(unit, per).number(Memory(memory), hosts, slots)
    size = {"KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}[unit]
    granted = number * size * {"host": 1, "task": slots, "job": 1 / hosts}[per]
    assert granted >= memory
    assert granted < memory + size * max(slots, 1) + 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "takes no job named"),
        ({"name": "arr[1-3]"}, "takes no job named"),
        ({"name": "a*"}, "takes no job named"),
        ({"name": "a\nb"}, "takes no job named"),
        ({"name": "n" * 300}, "takes no job named"),
        ({"queue": 'x"y'}, "without quotes"),
        ({"queue": "x\n#BSUB -P other"}, "without quotes"),
        ({"account": "a\\b"}, "without quotes"),
        ({"account": ""}, "without quotes"),
        ({"qos": "high"}, "no QOS"),
        ({"extra": ("-G a\nreboot",)}, "one line"),
        ({"extra": ("-G \0",)}, "NUL"),
        ({"extra": ("climate",)}, "no option"),
        ({"extra": ('-R select[a=="b"]',)}, "double quotes"),
        ({"copies": 3}, "array"),
        ({"memory": Memory(1), "memory_as": "core"}, "memory"),
    ],
)
def test_what_lsf_could_not_read_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        Lsf().directives(spec(**changes))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"memory_unit": "GiB"}, "memory_unit"),
        ({"memory_per": "core"}, "memory_per"),
        ({"options": ("-m c5",)}, "profile.lsf"),
    ],
)
def test_settings_that_are_none_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Lsf(**settings)


def test_nothing_is_asked_for_that_another_lsf_would_misread():
    """volclava takes ``-oo FILE`` and ``-env none`` apart: the last word becomes the command."""
    for option in ("-oo x.log", "-env none", "-app nosuch", "-outdir /tmp"):
        (record,) = [
            one for one in records(RELEASE, "40_errors") if one.command.endswith(f"bsub {option}")
        ]
        assert record.exit == 0, "accepted, silently"
    used = {line.split()[1] for line in Lsf().directives(spec(memory=Memory(2**30), account="a"))}
    assert used == {"-J", "-o", "-W", "-n", "-R", "-P"}
    assert not [word for word in Lsf().submit_command(PLAIN) if word in ("-env", "-oo")]


def test_what_hides_the_answer_or_waits_for_the_job_is_removed():
    command = Lsf().submit_command(PLAIN)
    for name in ("BSUB_QUIET", "BSUB_BLOCK", "BSUB_STDERR"):
        place = command.index(name)
        assert command[place - 1] == "-u" and place < command.index("bsub")


def test_no_command_waits_for_ever():
    """They do, for a master that is down: a bsub would submit a job hours later."""
    lsf = Lsf()
    commands = [
        lsf.submit_command(),
        lsf.status_command(["1"]),
        lsf.history_command(["1"]),
        lsf.find_command("x"),
        *lsf.cancel_commands(["1"]),
    ]
    for command in commands:
        assert command[:2] == ["timeout", "50"]
    hanging = [one for one in records(RELEASE, "61_master_down") if "still trying" in one.stderr]
    assert len(hanging) >= 3 and all("timeout" in one.command for one in hanging)


@pytest.mark.parametrize(
    ("log", "written"), [("/{}/it's.log", "it's.log"), ("/{}/logs 100%/", "logs 100%/7.log")]
)
def test_the_job_writes_its_own_log_from_its_first_line_on(tmp_path, log, written):
    """LSF's output file is a mail with the whole script in it, and comes when all is over."""
    (tmp_path / "logs 100%").mkdir()
    lines = Lsf().prologue(spec(log=log.format(str(tmp_path).lstrip("/"))))
    done = subprocess.run(
        ["bash", "-c", "\n".join([*lines, "echo written; echo too >&2"])],
        env={"LSB_JOBID": "7"},
        capture_output=True,
    )
    assert done.stdout == done.stderr == b""
    assert (tmp_path / written).read_text() == "written\ntoo\n"
    mail = next(one for one in records(RELEASE, "11_output") if "at the end" in one.note).stdout
    assert mail.startswith("Sender: LSF System")


names = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1)


@given(name=names, queue=names, extra=names)
def test_bash_takes_every_directive_for_a_comment(name, queue, extra):
    try:
        lines = Lsf().directives(spec(name=name, queue=queue, extra=(f"-G{extra}",)))
    except ValueError:
        return
    assert all(line.startswith("#BSUB -") and "\n" not in line for line in lines)


def test_a_site_that_refuses_to_be_asked_for_memory_is_not_asked():
    job = spec(memory=Memory(2**30), memory_as="none")
    assert not [line for line in Lsf().directives(job) if "mem" in line]
    assert [line for line in Lsf().directives(spec(memory=Memory(2**30))) if "mem" in line]
