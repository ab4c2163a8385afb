"""What hpclaunch writes into a script is what Slurm reads from it."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.schedulers.base import JobSpec
from hpclaunch.schedulers.slurm import Slurm
from hpclaunch.schedulers.slurm_directives import directive, options
from hpclaunch.units import Memory, Walltime
from tests.schedulers.sbatch_reader import read_directives

pytestmark = pytest.mark.pure

PLAIN = JobSpec(name="s-1", log="/home/a/job.log", walltime=Walltime(5400))
# What a line of a script and an argv can hold.
texts = st.text(st.characters(exclude_characters="\n\0", exclude_categories=("Cs",)))
names = texts.filter(bool)


def spec(**changes: object) -> JobSpec:
    return JobSpec(**{**PLAIN.__dict__, **changes})  # type: ignore[arg-type]


def test_a_small_job_has_these_directives_in_this_order():
    assert Slurm().directives(PLAIN) == [
        "#SBATCH --job-name=s-1",
        "#SBATCH --output=/home/a/job.log",
        "#SBATCH --time=01:30:00",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --cpus-per-task=1",
        "#SBATCH --no-requeue",
    ]


def test_a_large_job_has_these_directives_in_this_order():
    large = JobSpec(
        name="it's mine",
        log="/scratch/my dir/100%/job.log",
        walltime=Walltime(100 * 3600 + 61),
        nodes=4,
        tasks_per_node=2,
        cores=8,
        memory=Memory.parse("1.5 GB"),
        gpus=2,
        queue="compute",
        account="proj 1",
        qos="normal",
        extra=("--constraint=cpu&ssd", "--exclusive", "-d afterok:1"),
    )
    assert Slurm().directives(large) == [
        """#SBATCH --job-name='it'"'"'s mine'""",
        "#SBATCH --output='/scratch/my dir/100%%/job.log'",
        "#SBATCH --time=100:01:01",
        "#SBATCH --nodes=4",
        "#SBATCH --ntasks-per-node=2",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --mem=1431M",
        "#SBATCH --gpus-per-node=2",
        "#SBATCH --partition=compute",
        "#SBATCH --account='proj 1'",
        "#SBATCH --qos=normal",
        "#SBATCH --no-requeue",
        "#SBATCH --constraint='cpu&ssd'",
        "#SBATCH --exclusive",
        "#SBATCH '-d afterok:1'",
    ]


def test_memory_is_never_less_than_asked():
    lines = Slurm().directives(spec(memory=Memory(10 * 2**20 + 1)))
    assert "#SBATCH --mem=11M" in lines


@given(name=names, queue=texts, account=texts, value=texts)
def test_slurm_reads_any_text_exactly_as_it_was_given(name, queue, account, value):
    job = spec(name=name, queue=queue, account=account, extra=(f"--comment={value}", f"-x{value}"))
    script = "#!/bin/bash\n" + "\n".join(Slurm().directives(job)) + "\necho run\n"
    assert read_directives(script) == options(job)


@given(option=texts.map("-".__add__))
def test_a_directive_is_one_line_and_one_argument(option):
    line = directive(option)
    assert "\n" not in line
    assert read_directives(line) == [option]


@given(name=names, value=texts)
def test_bash_takes_every_directive_for_a_comment(name, value):
    lines = Slurm().directives(spec(name=name, queue=value))
    assert all(line.startswith("#") for line in lines)


def test_bash_runs_nothing_from_a_hostile_name(tmp_path):
    hostile = f"x'; touch {tmp_path}/a; `touch {tmp_path}/b` $(touch {tmp_path}/c) \\"
    script = "#!/bin/bash\n" + "\n".join(Slurm().directives(spec(name=hostile, queue=hostile)))
    ran = subprocess.run(["bash"], input=script, capture_output=True, text=True, check=True)
    assert ran.stdout == ran.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_percent_sign_in_the_log_is_no_replacement_symbol():
    assert "--output=/a/%%j/50%%%%.log" in options(spec(log="/a/%j/50%%.log"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "a\nb"}, "newline"),
        ({"name": "a\0b"}, "NUL"),
        ({"queue": "x\n#SBATCH --uid=0"}, "newline"),
        ({"extra": ("--comment=a\nb",)}, "newline"),
        ({"log": "/a/b\nc.log"}, "newline"),
        ({"name": ""}, "name"),
        ({"log": "job.log"}, "absolute"),
        ({"log": ""}, "absolute"),
        ({"log": "/a/b\\c.log"}, "backslash"),
        ({"extra": ("cpu",)}, "no option"),
        ({"extra": ("",)}, "no option"),
    ],
)
def test_what_slurm_could_not_read_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        Slurm().directives(spec(**changes))


@pytest.mark.parametrize(
    ("copies", "array", "log"), [(1, [], "/l%%g/%j.log"), (3, ["--array=0-2"], "/l%%g/%A_%a.log")]
)
def test_copies_of_a_job_are_an_array_with_a_log_for_each(copies, array, log):
    spec = JobSpec("n", "/l%g/", Walltime(60), copies=copies)
    said = options(spec)
    assert [option for option in said if option.startswith("--array")] == array
    assert f"--output={log}" in said
    assert array == [] or array[0] in Slurm().submit_command(spec)


def test_no_job_is_requeued():
    """A second run of the same job would begin in a directory that is used already."""
    assert "#SBATCH --no-requeue" in Slurm().directives(PLAIN)


def test_the_users_environment_does_not_change_what_was_planned():
    """SBATCH_ACCOUNT and the like beat directives, and are beaten by the command line."""
    job = spec(account="proj1", queue="short")
    command = Slurm().submit_command(job)
    assert command[command.index("sbatch") + 2 :] == options(job)


@pytest.mark.parametrize("variable", ["SBATCH_WAIT", "SBATCH_ARRAY_INX", "SBATCH_ERROR"])
def test_variables_that_no_option_can_beat_are_removed(variable):
    command = Slurm().submit_command(PLAIN)
    place = command.index(variable)
    assert command[place - 1] == "-u" and place < command.index("sbatch")


def test_cluster_options_go_on_every_command():
    slurm = Slurm(("--clusters=c5",))
    commands = [
        slurm.submit_command(),
        slurm.status_command(["1"]),
        slurm.history_command(["1"]),
        slurm.find_command("x"),
        *slurm.cancel_commands(["1"]),
    ]
    programs = ["sbatch", "squeue", "sacct", "squeue", "scancel"]
    for command, program in zip(commands, programs, strict=True):
        assert command[command.index(program) + 1] == "--clusters=c5"


@pytest.mark.parametrize("option", ["--clusters=c3,c4", "-Mc3,c4", "--clusters=all", "-Mall"])
def test_a_job_id_of_several_clusters_would_mean_nothing(option):
    with pytest.raises(ValueError, match="one cluster"):
        Slurm((option,))


def test_an_option_and_its_value_are_one_word():
    with pytest.raises(ValueError, match="one word"):
        Slurm(("-M", "c5"))
