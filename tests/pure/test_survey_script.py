"""survey.sh on login nodes of all kinds: it asks, bears what hangs, and leaves nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hpclaunch.survey.report import Report
from hpclaunch.survey.take import read_survey
from tests.pure.remote import command

NEEDED = ("awk", "sed", "grep", "cat", "mktemp", "rm", "tr", "id", "uname", "hostname", "date",
          "sort", "head", "tail", "df", "sleep", "kill", "env", "dirname", "sh", "bash", "stat",
          "printf", "timeout")  # fmt: skip


class Node:
    """A login node with the programs that a test gives it."""

    def __init__(self, shell: str, folder: Path) -> None:
        self.shell, self.home, self.bin = shell, folder / "home", folder / "bin"
        self.temporary = folder / "tmp"
        for one in (self.home, self.bin, self.temporary):
            one.mkdir()
        for name in NEEDED:
            found = shutil.which(name)
            if found:
                (self.bin / name).symlink_to(found)

    def program(self, name: str, text: str, folder: Path | None = None) -> None:
        """Put a program of sh on PATH, or into another folder."""
        file = (folder or self.bin) / name
        file.parent.mkdir(exist_ok=True)
        file.unlink(missing_ok=True)  # never through a link to the machine's own program
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        """All that the script inherits."""
        return {
            "PATH": str(self.bin),
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "HPCLAUNCH_SURVEY_SECONDS": "1",
        }

    def ask(self, *pythons: str, **variables: str) -> Report:
        """Run the script to its end."""
        shell = shutil.which(self.shell)
        assert shell is not None
        done = subprocess.run(
            [shell, *command(self.shell, "survey.sh", *pythons)[1:]],
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert list(self.temporary.iterdir()) == []
        self.text = done.stdout
        report = Report.parse(done.stdout)
        assert report.complete
        return report


@pytest.fixture
def node(shell: str, tmp_path: Path) -> Node:
    return Node(shell, tmp_path)


def test_a_bare_machine_answers_and_nothing_is_left(node):
    before = sorted(node.home.parent.rglob("*"))
    survey = read_survey((node.ask(), node.text)[1])
    assert (survey.home, survey.host) == (str(node.home), os.uname().nodename)
    assert survey.scheduler is None
    assert [one.variable for one in survey.filesystems] == ["HOME", "TMPDIR"]
    assert (survey.filesystems[0].path, survey.filesystems[0].writable) == (str(node.home), True)
    assert survey.module_system == ""
    assert sorted(node.home.parent.rglob("*")) == before


def test_what_a_command_says_is_framed_line_by_line(node):
    node.program("scontrol", "printf 'PartitionName=p State=UP\\n@ end\\n= 7'; echo bad >&2")
    node.program("sinfo", "echo slurm 1.2.3")
    answer = node.ask().answers["slurm.partitions"]
    assert (answer.out, answer.err) == ("PartitionName=p State=UP\n@ end\n= 7", "bad")
    assert (answer.command, answer.exit) == ("scontrol show partition -o", 0)


@pytest.mark.parametrize("has_timeout", [True, False])
def test_a_scheduler_that_hangs_is_asked_once(node, has_timeout):
    if not has_timeout:
        (node.bin / "timeout").unlink()
    calls = node.home / "calls"
    for name in ("lsid", "bqueues", "bhosts", "lshosts", "bparams", "bmgroup"):
        node.program(name, f"echo {name} >>{calls}; exec sleep 30")
    began = time.monotonic()
    report = node.ask()
    assert time.monotonic() - began < 20
    assert calls.read_text() == "lsid\n"
    assert all(answer.exit not in (0, None) for answer in report.named("lsf").values())
    assert "not asked" in report.answers["lsf.queues"].err
    assert report.answers["files.HOME"].good


def test_without_timeout_the_status_of_a_command_is_its_own(node):
    (node.bin / "timeout").unlink()
    node.program("scontrol", "exit 3")
    node.program("sinfo", "echo slurm 1.2.3")
    report = node.ask()
    assert report.answers["slurm.config"].exit == 3
    assert report.line("slurm.version") == "slurm 1.2.3"


def test_a_scheduler_that_only_login_shells_find_gets_a_prologue(node):
    hidden = node.home / "slurm"
    node.program("sinfo", "echo slurm-wlm 22.05.8", hidden)
    node.program("scontrol", "echo PartitionName=compute State=UP", hidden)
    (node.home / ".bash_profile").write_text(
        f"PATH={node.bin}:{hidden}\nexport LSF_ENVDIR=/opt/lsf SLURM_CONF='a b'\n"
        "export PATH SLURM_JWT=ey.secret\n"
    )
    report = node.ask()
    survey = read_survey(node.text)
    assert survey.scheduler == "slurm"
    assert report.line("slurm.version") == "slurm-wlm 22.05.8"
    first, *rest = survey.prologue
    assert first == f"PATH=$PATH:{hidden}; export PATH"
    assert rest == ["LSF_ENVDIR=/opt/lsf; export LSF_ENVDIR"]
    assert "secret" not in node.text


def test_a_prologue_does_nothing_to_the_variables_of_the_script(node):
    """Whatever login files set; what is removed at the end is the script's own directory."""
    hidden, precious = node.home / "slurm", node.home / "precious"
    precious.mkdir()
    node.program("sinfo", "echo slurm-wlm 22.05.8", hidden)
    node.program("scontrol", "echo PartitionName=compute State=UP", hidden)
    profile = node.home / "profile.sh"
    profile.write_text(f"tmp={precious}\nlimit=0\nhung=' slurm '\nPATH=$PATH:{hidden}\nfalse\n")
    text = command(node.shell, "survey.sh")[2].replace("/etc/profile.d/*.sh", str(profile))
    text = text.replace("grep -Eqi 'slurm", "grep -Eqi 'tmp|slurm")
    shell = shutil.which(node.shell)
    assert shell is not None
    done = subprocess.run(
        [shell, "-c", text, "survey.sh"], env=node.environment, capture_output=True, text=True
    )
    assert precious.is_dir() and list(node.temporary.iterdir()) == []
    survey = read_survey(done.stdout)
    assert survey.prologue == (f". {profile}",)
    assert [queue.name for queue in survey.queues] == ["compute"]


def test_directories_that_variables_name_are_looked_at_and_no_other_variable(node):
    scratch = node.home / "scratch"
    scratch.mkdir()
    (node.home / ".bash_profile").write_text(
        f"export PATH={node.bin} SCRATCH={scratch} MY_SECRET=hunter2 WORKLIST=/a:/b TMPDIR=/no\n"
    )
    node.ask()
    survey = read_survey(node.text)
    found = {one.variable: one.path for one in survey.filesystems}
    assert found == {"HOME": str(node.home), "SCRATCH": str(scratch)}
    assert "hunter2" not in node.text


def test_a_python_that_is_asked_for_is_looked_at_first(node):
    node.program("python", "echo python=3.12.1; echo prefix=/x; echo jupyterlab=4.0.0", node.home)
    (node.home / "miniforge3" / "bin").mkdir(parents=True)
    node.program("python", "echo python=3.9.0; echo prefix=/y", node.home / "miniforge3" / "bin")
    report = node.ask("~/python", "/no/such/python")
    mine, *others = read_survey(node.text).environments
    assert (mine.python, mine.versions) == (f"{node.home}/python", {"jupyterlab": "4.0.0"})
    assert f"{node.home}/miniforge3/bin/python" in [one.python for one in others]
    (lost,) = [one for one in report.answers.values() if one.command.startswith("/no/such")]
    assert lost.exit == 127
    assert not any(one.python == "/no/such/python" for one in others)


def test_nothing_is_submitted_and_only_questions_are_asked(node):
    calls = node.home / "calls"
    for name in ("sbatch", "srun", "salloc", "qsub", "bsub", "qdel", "scancel", "bkill", "ssh"):
        node.program(name, f"echo {name} >>{calls}")
    for name in ("sinfo", "scontrol", "sacctmgr", "pbsnodes", "qstat", "bqueues", "lshosts"):
        node.program(name, f'echo {name} "$1" "$2" >>{calls}')
    node.ask()
    asked = set(calls.read_text().splitlines())
    assert {line.split()[0] for line in asked} == {
        *("sinfo", "scontrol", "sacctmgr", "pbsnodes", "qstat", "bqueues", "lshosts")
    }
    assert {line for line in asked if line.startswith("scontrol")} == {
        *("scontrol show config", "scontrol show partition", "scontrol show node")
    }


def test_an_interrupt_leaves_nothing(node):
    node.program("sinfo", "exec sleep 30")
    node.program("scontrol", "exec sleep 30")
    shell = shutil.which(node.shell)
    assert shell is not None
    process = subprocess.Popen(
        [shell, *command(node.shell, "survey.sh")[1:]],
        env={**node.environment, "HPCLAUNCH_SURVEY_SECONDS": "30"},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    deadline = time.monotonic() + 20
    while not list(node.temporary.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode != 0
    assert list(node.temporary.iterdir()) == []


def test_where_nothing_can_be_written_it_says_so(node):
    shell = shutil.which(node.shell)
    assert shell is not None
    done = subprocess.run(
        [shell, *command(node.shell, "survey.sh")[1:]],
        env={**node.environment, "TMPDIR": str(node.home / "nowhere")},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 1
    assert "no temporary directory" in done.stderr
