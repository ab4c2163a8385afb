"""``hpclaunch demo`` as a person uses it: up, a session, Ctrl-C, and nothing is left."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import psutil
import pytest

from hpclaunch.demo.modes import REFUSAL
from tests.node.live import REPOSITORY
from tests.sites.conftest import NO_ADDRESS
from tests.sites.place import Demo, nothing_is_left
from tests.support.launch import Laptop, eventually, processes_with

pytestmark = [pytest.mark.local, pytest.mark.timeout(240), NO_ADDRESS]


@pytest.fixture
def demo(request: pytest.FixtureRequest, laptop: Laptop) -> Iterator[Demo]:
    """A site that is up, SLURM's where a test does not say."""
    found = Demo(laptop, getattr(request, "param", "slurm"))
    yield found
    found.end()
    nothing_is_left(found.directory)


@pytest.mark.parametrize(("kind", "transport"), [("slurm", "openssh"), ("pbs", "paramiko")])
def test_ctrl_c_takes_the_site_down_with_the_sessions_on_it(
    laptop: Laptop, kind: str, transport: str
) -> None:
    child = pexpect.spawn(
        sys.executable,
        ["-m", "hpclaunch", "demo", "--scheduler", kind],
        env=laptop.environment | {"TERM": "xterm"},
        encoding="utf-8",
        timeout=60,
        dimensions=(40, 300),
    )
    child.expect(r"(/\S+/site\.toml)\r\n")
    profile = child.match[1]
    child.expect(rf"hpclaunch start {profile} --workers 2\r\n")
    child.expect(rf"ssh -F (\S+) hpclaunch-demo +#.*{'qsub' if kind == 'pbs' else 'sbatch'}")
    child.expect("Ctrl-C")
    document = laptop.start(profile, "--name", "s", "--set", f"login.transport={transport}")
    assert document["job"]["scheduler"] == kind
    child.sendintr()
    child.expect("session s is stopped")
    child.expect("the site is gone")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    nothing_is_left(Path(profile).parent)
    assert laptop.sessions()["s"]["state"] == "ended"
    eventually(lambda: not processes_with(str(laptop.home)), what="no process of the laptop")


@pytest.mark.parametrize("demo", ["pbs"], indirect=True)
def test_site_init_describes_it_so_that_nothing_needs_an_edit(laptop: Laptop, demo: Demo) -> None:
    config = str(demo.directory / "ssh_config")
    done = laptop.run("site", "init", "hpclaunch-demo", "--ssh-config", config, "--name", "mine")
    assert done.returncode == 0, done.stderr
    checked = laptop.run("site", "check", "mine", "--no-job")
    python = f"{demo.directory}/home/environment/bin/python"
    assert f"holds ({python} " in checked.stdout, checked.stdout
    assert checked.returncode == 0, checked.stdout


def test_a_second_interrupt_waits_for_no_session_and_leaves_nothing_either(laptop: Laptop) -> None:
    demo = Demo(laptop, "lsf")
    demo.fake.hold()
    laptop.spawn("start", demo.profile, "--name", "s", "--detach", "--no-browser")
    eventually(lambda: laptop.sessions().get("s", {}).get("job"), what="its job is there")
    (demo.directory / "bin" / "bkill").write_text("#!/bin/sh\nsleep 600\n")
    demo.signal(signal.SIGINT)
    eventually(lambda: processes_with(f"{demo.directory}/bin/bkill"), what="it is being stopped")
    assert "the site is gone" in demo.end()
    nothing_is_left(demo.directory)
    assert laptop.sessions()["s"]["state"] == "ended"
    eventually(lambda: not processes_with(str(laptop.home)), what="no process of the laptop")


def test_a_job_that_ignores_all_signals_ends_with_the_site(laptop: Laptop) -> None:
    demo = Demo(laptop, "lsf")
    job = "trap '' TERM INT; while :; do sleep 1; done"
    assert "Job <1> is submitted" in demo.ssh("bsub", stdin=f"#!/bin/bash\n{job}\n").stdout
    lives = psutil.Process(int(str(demo.fake.jobs["1"]["pid"])))
    assert "the site is gone" in demo.end()
    eventually(lambda: not lives.is_running(), what="it is killed")
    nothing_is_left(demo.directory)


def test_a_terminal_that_closes_takes_it_down_too(laptop: Laptop) -> None:
    demo = Demo(laptop, "pbs")
    demo.signal(signal.SIGHUP)
    eventually(lambda: not demo.directory.exists(), what="its files are gone")
    demo.end()
    nothing_is_left(demo.directory)


def test_nobody_gets_in_without_the_key(demo: Demo, tmp_path: Path) -> None:
    assert stat.S_IMODE(demo.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((demo.directory / "key").stat().st_mode) == 0o600
    listening = [one for one in demo.connections() if one.status == psutil.CONN_LISTEN]
    assert {one.laddr.ip for one in listening} == {"127.0.0.1"}
    assert demo.ssh("true").returncode == 0
    other = demo.ssh("true", user="somebody")
    assert other.returncode == 255 and "Permission denied" in other.stderr
    (demo.directory / "key").rename(tmp_path / "key")
    without = demo.ssh("true")
    assert without.returncode == 255 and "Permission denied" in without.stderr


def test_commands_have_their_streams_exit_codes_and_a_home_of_their_own(demo: Demo) -> None:
    done = demo.ssh("cat; echo words >&2; exit 7", stdin="said\n" * 100_000)
    assert (done.returncode, done.stdout) == (7, "said\n" * 100_000)
    assert done.stderr == "words\n"
    assert demo.ssh("kill -TERM $$").returncode == 128 + signal.SIGTERM
    assert demo.ssh("pwd; echo $HOME").stdout.split() == [f"{demo.directory}/home"] * 2
    assert demo.ssh("bash -lc 'command -v sbatch'").stdout == f"{demo.directory}/bin/sbatch\n"
    shell = demo.ssh(stdin="command -v squeue\nexit 3\n")
    assert (shell.returncode, shell.stdout) == (3, f"{demo.directory}/bin/squeue\n")


def test_a_person_has_a_terminal_there(demo: Demo) -> None:
    child = pexpect.spawn(
        "ssh", demo.argv(), encoding="utf-8", timeout=30, env={**os.environ, "TERM": "xterm"}
    )
    child.setwinsize(33, 77)
    child.sendline("PS1=; stty -echo; tty; stty size; echo $TERM")
    child.expect("/dev/pts/.*33 77\r\nxterm\r\n")
    child.setwinsize(44, 88)
    child.sendline("sleep 0.3; stty size")
    child.expect("44 88\r\n")
    child.sendline("""exec sh -c 'echo rea""dy; sleep 60'""")
    child.expect("ready\r\n")
    child.sendintr()  # the terminal itself makes a signal of it
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 128 + signal.SIGINT


def test_a_place_where_nobody_listens_is_told_and_harms_nothing(demo: Demo) -> None:
    refused = demo.ssh(options=("-W", "127.0.0.1:1"))
    assert refused.returncode == 255 and "open failed: connect failed" in refused.stderr
    assert demo.ssh("true").returncode == 0


def test_slurms_commands_answer_people_as_they_are_used_to(demo: Demo) -> None:
    script = "#!/bin/bash\n#SBATCH -J mine --partition=big -t 5\nsleep 60\n"
    assert demo.ssh("cat >job.sh", stdin=script).returncode == 0
    submitted = demo.ssh("sbatch --time=1-00 job.sh && sbatch -o out <job.sh")
    assert submitted.stdout == "Submitted batch job 1\nSubmitted batch job 2\n"
    assert demo.fake.spool.jobs()[0].options["walltime"] == 86400
    heads, first, second = demo.ssh("squeue").stdout.splitlines()
    assert heads.split()[:5] == ["JOBID", "PARTITION", "NAME", "USER", "ST"]
    assert [line.split()[:3] for line in (first, second)] == [
        ["1", "big", "mine"],
        ["2", "big", "mine"],
    ]
    assert demo.ssh("scancel 1 2").returncode == 0
    eventually(lambda: not demo.fake.alive, what="both are ended")
    *_, last = demo.ssh("sacct -j 2").stdout.splitlines()
    assert last.split() == ["2", "mine", "big", "1", "CANCELLED", "0:15"]
    assert demo.ssh("ls").stdout.split() == ["environment", "job.sh", "out", "slurm-1.out"]


@pytest.mark.parametrize("demo", ["pbs"], indirect=True)
def test_the_scheduler_misbehaves_as_it_is_told(laptop: Laptop, demo: Demo) -> None:
    assert demo.ssh("misbehave", "refuse", "delay=0.1").returncode == 0
    assert f"(on: {REFUSAL['pbs']})" in demo.ssh("misbehave").stdout
    refused = demo.ssh("qsub", stdin="true\n")
    assert (refused.returncode, refused.stderr) == (159, REFUSAL["pbs"] + "\n")
    demo.ssh("behave; misbehave hold='not today'")
    job = demo.ssh("qsub", stdin="true\n").stdout.strip()
    assert "comment = not today" in demo.ssh("qstat", "-f", job).stdout
    assert demo.ssh("behave").returncode == 0
    eventually(lambda: demo.fake.spool.course(job).is_over, what="it starts, and ends")
    assert "(on" not in demo.ssh("misbehave").stdout
    wrong = demo.ssh("misbehave", "sing")
    assert wrong.returncode == 2 and "there is no mode 'sing'" in wrong.stderr


def test_a_directory_that_is_named_stays_and_is_never_used_twice(
    laptop: Laptop, tmp_path: Path
) -> None:
    folder = tmp_path / "my site"
    demo = Demo(laptop, "lsf", "--directory", str(folder), "--mode", "hold=Wait")
    assert demo.fake.spool.mode("hold") == "Wait"
    assert demo.ssh("echo notes > kept; bjobs").returncode == 254  # no unfinished job
    demo.end()
    assert (folder / "home" / "kept").read_text() == "notes\n"
    again = laptop.run("demo", "--directory", str(folder))
    assert again.returncode == 2 and "is not empty" in again.stderr
    odd = laptop.run("demo", "--directory", str(tmp_path / "100%"))
    assert odd.returncode == 2 and not (tmp_path / "100%").exists()
    wrong = laptop.run("demo", "--mode", "delay=long")
    assert wrong.returncode == 2 and "delay is told in seconds, not 'long'" in wrong.stderr


@pytest.mark.long
def test_the_session_tests_run_on_a_site_that_is_named(laptop: Laptop, demo: Demo) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", f"--site={demo.profile}", "-q", "-k", "waits or outside"],
        cwd=REPOSITORY,
        env=laptop.environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout
    assert "a real scheduler cannot be told to misbehave" in done.stdout
    assert "1 passed, 1 skipped" in done.stdout
