"""Jobs on this machine, with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from hpclaunch.errors import SchedulerError, SubmitError
from hpclaunch.node.localjob_members import orphans
from hpclaunch.node.localjob_supervisor import GRACE
from hpclaunch.schedulers.base import JobSpec, JobState, JobStatus
from hpclaunch.schedulers.local import Local
from hpclaunch.shell import Completed
from hpclaunch.units import Walltime
from tests.support.launch import signal_each

pytestmark = [pytest.mark.local, pytest.mark.timeout(90)]
needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")

SOON = GRACE - 2
"""Seconds for what happens at once; only what does not hear takes until `GRACE`."""
S, H = JobState, "HPCLAUNCH_TEST_MARK"


@dataclass
class Site:
    """A spool, and what a session would do with it."""

    scheduler: Local
    cwd: Path
    mark: str

    def run(self, argv: list[str], stdin: str = "") -> Completed:
        ran = subprocess.run(
            argv,
            input=stdin.encode(),
            capture_output=True,
            cwd=self.cwd,
            env={**os.environ, H: self.mark},
            timeout=30,
            check=False,
        )
        return Completed.of(argv, ran.returncode, ran.stdout.decode(), ran.stderr.decode())

    @property
    def log(self) -> Path:
        return self.cwd / "job.log"

    def submit(self, body: str, *, name: str = "j", seconds: int = 60, log: str = "") -> str:
        spec = JobSpec(name=name, log=log or str(self.log), walltime=Walltime(seconds))
        script = "\n".join(["#!/bin/bash", *self.scheduler.directives(spec), body, ""])
        said = self.run(self.scheduler.submit_command(spec), script)
        return self.scheduler.parse_submit(said)

    def status(self, job_id: str) -> JobStatus:
        said = self.run(self.scheduler.status_command([job_id]))
        return self.scheduler.parse_status(said, [job_id])[job_id]

    def find(self, name: str) -> list[str]:
        return self.scheduler.parse_find(self.run(self.scheduler.find_command(name)), name)

    def cancel(self, *ids: str) -> None:
        for command in self.scheduler.cancel_commands(ids):
            self.scheduler.parse_cancel(self.run(command))

    def wait_end(self, job_id: str, seconds: float = 30) -> JobStatus:
        wait_until(lambda: self.status(job_id).state.is_final, seconds)
        return self.status(job_id)

    def wait_log(self, text: str) -> None:
        wait_until(lambda: self.log.exists() and text in self.log.read_text())

    def job_file(self, job_id: str, name: str) -> Path:
        return Path(self.scheduler.spool) / "jobs" / job_id / name

    def processes(self) -> list[int]:
        """Processes that this site's jobs left, whatever their session and parent."""
        entry = f"{H}={self.mark}".encode()
        found = []
        for directory in Path("/proc").iterdir():
            try:
                marked = entry in (directory / "environ").read_bytes().split(b"\0")
                state = (directory / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if marked and state != "Z":
                found.append(int(directory.name))
        return found


def wait_until(is_so: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    cwd = tmp_path / "work dir"
    cwd.mkdir()
    site = Site(Local(sys.executable, str(tmp_path / "spool")), cwd, uuid.uuid4().hex)
    yield site
    signal_each(site.processes(), signal.SIGKILL)


def test_a_job_runs_where_and_as_it_was_submitted(site):
    job_id = site.submit("echo out in $PWD; echo err >&2; cat; exit 0")
    status = site.wait_end(job_id)
    assert (status.state, status.exit_code, status.signal) == (S.DONE, 0, None)
    assert site.log.read_text() == f"out in {site.cwd}\nerr\n"
    assert site.log.stat().st_mode & 0o777 == 0o600
    assert status.ends_at is not None
    assert status.nodes == (os.uname().nodename,)


def test_a_running_job_tells_when_its_walltime_is_over(site):
    before = time.time()
    job_id = site.submit("echo up; sleep 60", seconds=3600)
    site.wait_log("up")
    status = site.status(job_id)
    assert status.state is S.RUNNING
    assert before + 3599 < status.ends_at.timestamp() < time.time() + 3601


def test_submit_and_cancel_return_at_once(site):
    """The answer is read to its end, so no job may hold the command's streams."""
    begun = time.monotonic()
    job_id = site.submit("trap '' TERM; while :; do sleep 1; done")
    site.cancel(job_id)
    assert time.monotonic() - begun < SOON
    assert site.status(job_id).state in (S.RUNNING, S.ENDING)


@pytest.mark.parametrize(
    ("body", "code", "number"),
    [("exit 3", 3, None), ("nosuchcommand", 127, None), ("kill -9 $$", None, 9)],
)
def test_how_a_job_failed_is_told(site, body, code, number):
    status = site.wait_end(site.submit(body))
    assert (status.state, status.exit_code, status.signal) == (S.FAILED, code, number)


# A child in a session of its own, an orphan, an orphan in a session of its own, a process group
# of its own, a stopped process, and one more generation.
ESCAPES = """
setsid sleep 301 &
(sleep 302 &)
(setsid nohup sleep 303 >/dev/null 2>&1 &)
set -m; sleep 304 & set +m
sleep 305 & kill -STOP $!
bash -c 'setsid bash -c "sleep 306; true" & wait' &
sleep 0.3; echo up
"""


@needs_proc
@pytest.mark.parametrize("last", ["wait", "trap 'echo asked; exit 5' TERM; sleep 60 & wait"])
def test_after_a_cancel_no_process_of_the_job_is_left(site, last):
    job_id = site.submit(ESCAPES + last)
    site.wait_log("up")
    assert len(site.processes()) >= 9
    site.cancel(job_id)
    assert site.wait_end(job_id, SOON).state is S.CANCELLED, "also a stopped process hears"
    wait_until(lambda: site.processes() == [], SOON)
    assert ("asked" in site.log.read_text()) == ("asked" in last)


@needs_proc
def test_after_its_end_no_process_of_the_job_is_left(site):
    job_id = site.submit(ESCAPES + "exit 4")
    status = site.wait_end(job_id)
    assert (status.state, status.exit_code) == (S.FAILED, 4)
    wait_until(lambda: site.processes() == [], SOON)


@needs_proc
def test_a_job_that_does_not_hear_is_killed_after_the_grace(site):
    """Cancelled, and over its walltime: two jobs at one time."""
    body = (
        "trap '' TERM; (trap '' TERM; exec setsid sleep 300) & echo up; while :; do sleep 1; done"
    )
    late = site.submit(body, name="late", seconds=1)
    gone = site.submit(body, name="gone", log=str(site.cwd / "gone.log"))
    wait_until(lambda: "up" in (site.cwd / "gone.log").read_text())
    begun = time.monotonic()
    site.cancel(gone)
    wait_until(lambda: site.status(late).state is S.ENDING)
    statuses = [site.wait_end(late), site.wait_end(gone)]
    assert GRACE <= time.monotonic() - begun < GRACE + 20, "the child sleeps for 300 s"
    assert [status.state for status in statuses] == [S.TIMEOUT, S.CANCELLED]
    assert [status.signal for status in statuses] == [signal.SIGKILL, signal.SIGKILL]
    wait_until(lambda: site.processes() == [], SOON)


def test_a_walltime_ends_a_job_that_hears(site):
    begun = time.monotonic()
    status = site.wait_end(site.submit("sleep 300", seconds=1))
    assert status.state is S.TIMEOUT
    assert 1 <= time.monotonic() - begun < 1 + SOON


def test_cancelling_again_or_what_never_was_is_no_error(site):
    job_id = site.submit("sleep 300")
    site.cancel(job_id, "99")
    assert site.wait_end(job_id).state is S.CANCELLED
    site.cancel(job_id)
    assert site.status(job_id).state is S.CANCELLED
    assert site.status("99").state is S.LOST


def test_cancelling_a_job_that_ended_well_does_not_change_that(site):
    job_id = site.submit("true")
    assert site.wait_end(job_id).state is S.DONE
    site.cancel(job_id)
    assert site.status(job_id).state is S.DONE


def test_only_live_jobs_of_exactly_this_name_are_found(site):
    hostile = "it's $(id) `x` \\ |,\t☃ "
    done = site.submit("true", name=hostile)
    site.wait_end(done)
    live = [site.submit("sleep 60", name=hostile) for _ in range(2)]
    site.submit("sleep 60", name=hostile.strip())
    assert site.find(hostile) == live
    assert site.find("nosuch") == []


def test_nobody_else_can_read_the_spool(site):
    job_id = site.submit("echo up; sleep 60")
    site.wait_log("up")
    site.cancel(job_id)
    site.wait_end(job_id)
    spool = Path(site.scheduler.spool)
    for path in (spool, *spool.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("shebang", ["#!/no/such/interpreter", "#!/etc/passwd"])
def test_a_job_that_cannot_be_started_is_refused_and_not_on_record(site, shebang):
    text = f"{shebang}\n#HPCLAUNCH --job-name=a --output={site.cwd / 'x'!s} --time=00:01:00\n"
    text = text.replace("work dir", "'work dir'")
    said = site.run(site.scheduler.submit_command(), text)
    with pytest.raises(SubmitError) as caught:
        site.scheduler.parse_submit(said)
    assert shebang[2:] in str(caught.value.said)
    assert site.find("a") == [] and site.status("1").state is S.LOST


def test_a_log_that_cannot_be_written_is_refused(site):
    with pytest.raises(SubmitError) as caught:
        site.submit("true", log="/no/such/directory/job.log")
    assert "/no/such/directory/job.log: No such file or directory" in str(caught.value.said)
    assert site.status("1").state is S.LOST


def test_many_submissions_at_once_get_an_id_each(site):
    with ThreadPoolExecutor(6) as pool:
        logs = [str(site.cwd / f"{number}.log") for number in range(6)]
        ids = list(pool.map(lambda log: site.submit(f"echo {log}", log=log), logs))
    assert sorted(ids, key=int) == [str(number) for number in range(1, 7)]
    for job_id, log in zip(ids, logs, strict=True):
        assert site.wait_end(job_id).state is S.DONE
        assert Path(log).read_text() == f"{log}\n"


@needs_proc
def test_a_job_whose_supervisor_was_killed_is_still_told_and_cancelled(site):
    job_id = site.submit(ESCAPES + "wait")
    site.wait_log("up")
    supervisor = json.loads(site.job_file(job_id, "start.json").read_text())["supervisor"]
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: "supervising process was killed" in site.status(job_id).reason)
    assert site.status(job_id).state is S.RUNNING
    assert site.find("j") == [job_id]
    site.cancel(job_id)
    assert site.wait_end(job_id).state is S.CANCELLED
    wait_until(lambda: site.processes() == [], SOON)


def kill_all(site: Site, job_id: str) -> None:
    signal_each(site.processes(), signal.SIGKILL)
    wait_until(lambda: site.processes() == [], 5)


@needs_proc
def test_a_job_that_was_killed_with_its_supervisor_has_failed(site):
    job_id = site.submit("echo up; sleep 60")
    site.wait_log("up")
    kill_all(site, job_id)
    status = site.status(job_id)
    assert (status.state, status.reason) == (S.FAILED, "its supervising process was killed")
    assert site.find("j") == []


@needs_proc
@pytest.mark.parametrize(("field", "state"), [("boot", S.NODE_FAILED), ("host", S.UNKNOWN)])
def test_a_job_of_an_earlier_boot_or_another_machine_is_told_as_such(site, field, state):
    job_id = site.submit("echo up; sleep 60")
    site.wait_log("up")
    kill_all(site, job_id)
    record = site.job_file(job_id, "job.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), field: "another"}))
    assert site.status(job_id).state is state
    if field == "host":
        with pytest.raises(SchedulerError, match="not cancelled") as caught:
            site.cancel(job_id)
        assert "another" in str(caught.value.said)


@needs_proc
def test_a_process_id_that_was_used_again_is_not_killed(site):
    """Nobody holds the job's lock, so the recorded process id means nothing."""
    job_id = site.submit("echo up; sleep 60")
    site.wait_log("up")
    kill_all(site, job_id)
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as innocent:
        try:
            start = site.job_file(job_id, "start.json")
            pids = {"supervisor": innocent.pid, "session": innocent.pid}
            start.write_text(json.dumps({**json.loads(start.read_text()), **pids}))
            site.cancel(job_id)
            assert site.status(job_id).state is S.FAILED
            time.sleep(0.3)
            assert innocent.poll() is None
        finally:
            innocent.kill()


def test_the_record_of_an_ended_job_is_kept_for_thirty_days(site):
    ended, live = site.submit("true"), site.submit("echo up; sleep 60")
    site.wait_end(ended)
    site.wait_log("up")
    for days, kept in ((29, True), (31, False)):
        for job_id in (ended, live):
            age = time.time() - days * 86400
            os.utime(site.job_file(job_id, "."), (age, age))
        latest = site.submit("true")
        assert (site.status(ended).state is not S.LOST) == kept
        assert site.status(live).state is S.RUNNING
    assert int(latest) == 4, "an id is not used again"


def test_a_file_of_the_user_does_not_stand_in_for_pythons_own(site):
    for name in ("json.py", "subprocess.py", "random.py"):
        (site.cwd / name).write_text("raise SystemExit('wrong module')\n")
    assert site.wait_end(site.submit("true")).state is S.DONE


@needs_proc
def test_a_job_starts_with_clean_signals_and_no_open_files(site):
    spec = JobSpec(name="a", log=str(site.log), walltime=Walltime(60))
    body = "grep -E 'SigIgn|SigBlk' /proc/self/status; ls /proc/$$/fd"
    script = "\n".join(["#!/bin/bash", *site.scheduler.directives(spec), body, ""])

    def ignore() -> None:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})

    with Path("/dev/null").open("rb") as stray:
        os.set_inheritable(stray.fileno(), True)
        ran = subprocess.run(
            site.scheduler.submit_command(),
            input=script.encode(),
            capture_output=True,
            preexec_fn=ignore,
            close_fds=False,
            check=True,
        )
    site.wait_end(ran.stdout.decode().strip().partition("|")[2])
    lines = site.log.read_text().split("\n")
    # Signals 32 and 33 are the C library's own; no program can set them.
    masks = [int(line.split()[1], 16) & ~(0b11 << 31) for line in lines[:2]]
    assert masks == [0, 0]
    assert lines[2:-1] == ["0", "1", "2", "255"], "255 is bash's own"


@pytest.mark.parametrize(
    "words", [[], ["SPOOL"], ["SPOOL", "status"], ["SPOOL", "dance"], ["SPOOL", "find", "a", "b"]]
)
def test_wrong_usage_is_told(site, words, tmp_path):
    words = [word.replace("SPOOL", str(tmp_path / "spool")) for word in words]
    said = site.run([sys.executable, "-m", "hpclaunch.node.localjob", *words])
    assert said.exit == 2
    assert "SPOOL submit" in said.stderr


@pytest.mark.parametrize("job_id", ["../1", "abc", "0", "-1", ""])
def test_what_is_no_id_is_refused(site, job_id):
    said = site.run(site.scheduler.status_command([job_id]))
    assert said.exit == 1 and "no job id" in said.stderr


def test_where_marks_cannot_be_read_the_session_tells_the_jobs_processes(site, monkeypatch):
    """As on macOS."""
    monkeypatch.setattr(sys, "platform", "darwin")
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as outside:
        body = "setsid sleep 61 & sleep 62 & echo up; wait"
        with subprocess.Popen(
            ["bash", "-c", body], start_new_session=True, stdout=subprocess.PIPE
        ) as leader:
            try:
                assert leader.stdout is not None
                leader.stdout.readline()
                time.sleep(0.2)  # setsid has become sleep
                found = orphans("/no/such/job", leader.pid)
                names = subprocess.check_output(
                    ["ps", "-o", "args=", "-p", ",".join(str(pid) for pid in found)], text=True
                )
                assert sorted(line.split()[-1] for line in names.splitlines()) == [
                    "61",
                    "62",
                    "wait",
                ]
                assert outside.pid not in found
            finally:
                signal_each(orphans("/no/such/job", leader.pid), signal.SIGKILL)
                outside.kill()
    wait_until(lambda: orphans("/no/such/job", leader.pid) == [], 5)
