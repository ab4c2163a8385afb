"""The make-believe schedulers answer as the real ones were recorded, line by line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpclaunch.demo.pbs_text import wrapped
from hpclaunch.errors import SubmitError
from hpclaunch.schedulers.base import JobSpec, JobState
from hpclaunch.schedulers.kinds import KINDS, batch_scheduler
from hpclaunch.schedulers.pbs_rows import rows_of
from hpclaunch.shell import Completed
from hpclaunch.units import Walltime
from tests.clusters.fakes import Fake
from tests.schedulers.replay import the_record
from tests.schedulers.replay_pbs import described
from tests.transcripts.reader import records

pytestmark = [pytest.mark.local, pytest.mark.timeout(60)]

PBS, LSF = "openpbs-23.06.06", "volclava-2.2.0-beta"


class Site:
    """A make-believe scheduler, and a home directory to submit from."""

    def __init__(self, fake: Fake, home: Path) -> None:
        self.fake, self.home = fake, home
        self.quirks: dict[str, str] = {}
        (home / "w").mkdir(parents=True)

    def run(self, argv: list[str], stdin: str = "", **more: str) -> Completed:
        """Run a command."""
        environment = {**os.environ, "PATH": self.fake.path, "HOME": str(self.home), **more}
        done = subprocess.run(
            argv,
            cwd=self.home / "w",
            env={"LANG": "C.UTF-8", **environment},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=20,
        )
        return Completed.of(argv, done.returncode, done.stdout, done.stderr)

    def shell(self, line: str, stdin: str = "", **more: str) -> Completed:
        """Run a line as it was recorded."""
        return self.run(["bash", "-c", line.replace("/home/alice", str(self.home))], stdin, **more)

    def until(self, check: Callable[[], object]) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + 20
        while not check():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def over(self, job: str) -> None:
        """Wait until a job is over."""
        self.until(lambda: self.fake.spool.course(job).is_over)


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    found = Site(Fake.install(tmp_path / "fake", request.param), tmp_path / "home")
    yield found
    found.fake.kill()
    errors = found.fake.state / "errors"
    assert not errors.exists() or errors.read_text() == ""


on = pytest.mark.parametrize
ON_PBS = on("site", ["pbs"], indirect=True)
ON_LSF = on("site", ["lsf"], indirect=True)


# PBS: names of attributes in order, and all values but times and numbers that differ anyway.

MOVING = {"ctime", "mtime", "qtime", "etime", "stime", "obittime", "history_timestamp",
          "session_id", "estimated.start_time", "resources_used.walltime"}  # fmt: skip
PLACES = {"Error_Path", "Output_Path", "Variable_List", "jobdir", "Submit_arguments", "Job_Owner"}


def shape(text: str) -> list[tuple[str, str]]:
    """What a description of a job says, without what is another time's or place's."""
    (row,) = rows_of(text)
    shown = []
    for name, value in row.fields.items():
        if name == "session_id":  # it is known once the node has reported
            continue
        if name in MOVING or name in PLACES:
            value = re.sub(r"\S", "", name)
        value = re.sub(r"at \w{3} \w{3} \d+ at \d+:\d+", "at T", value)
        shown.append((name, re.sub(r"by \w+@", "by U@", value)))
    return shown


GATED = "echo early; until [ -e go ]; do sleep 0.05; done; echo late"
LONG = "echo up; for i in $(seq 600); do sleep 1; done"
SUBMITS = {
    "run": ("-N run -l select=1:ncpus=2 -j oe -k oed -o /home/alice/w/run.log", LONG),
    "big": ("-N big -l select=2:ncpus=4 -l walltime=00:20:00", "sleep 30"),
    "held": ("-N held -h", "sleep 30"),
    "f3": ("-j oe -k oed -o /home/alice/w/f3.log -N f3", "echo out; exit 3"),
    "del": ("-j oe -k oed -o /home/alice/w/del.log -N del", LONG),
    "del2": ("-j oe -k oed -o /home/alice/w/del2.log -N del2 -h", LONG),
}


@ON_PBS
@on(
    ("topic", "name", "nth"),
    [
        ("20_state_R", "run", 0),
        ("21_state_Q", "big", 0),
        ("22_state_H", "held", 0),
        ("30_failed", "f3", -1),
        ("25_qdel_2", "del", -1),
        ("25_qdel_2", "del2", -1),
    ],
)
def test_a_job_is_described_as_openpbs_describes_it(
    site: Site, topic: str, name: str, nth: int
) -> None:
    one, said = described(PBS, topic, name, nth)
    options, script = SUBMITS[name]
    if name == "big":
        site.fake.hold()
    told = site.shell(f"qsub {options}", script)
    assert (told.stdout, told.stderr) == ("1.pbs-login\n", "")
    if name.startswith("del"):
        assert site.shell("qdel 1.pbs-login") == Completed.of(["bash", "-c", "qdel 1.pbs-login"], 0)
    if name in ("f3", "del", "del2"):
        site.over("1.pbs-login")
    shown = site.shell("qstat -x -f 1.pbs-login")
    assert shape(shown.stdout) == shape(said.stdout)
    assert shown.stdout.startswith("Job Id: 1.pbs-login\n    Job_Name = ")
    assert shown.stdout.endswith("\n    Submit_Host = pbs-login\n\n")
    of_both = batch_scheduler("pbs", ())
    theirs = of_both.parse_status(said, [one])[one]
    ours = of_both.parse_status(shown, ["1.pbs-login"])["1.pbs-login"]
    assert (ours.state, ours.word, ours.exit_code, ours.signal, ours.nodes) == (
        theirs.state, theirs.word, theirs.exit_code, theirs.signal, theirs.nodes,
    )  # fmt: skip


def test_long_values_are_broken_where_openpbs_breaks_them() -> None:
    compared = 0
    for release in (PBS, "openpbs-master-2026-04"):
        for topic in ("10_qsub_stdin", "13_multinode", "20_state_R", "21_state_Q", "55_widths"):
            for record in records(release, topic):
                if not re.fullmatch(r"qstat (-x )?-f [\d.a-z-]+", record.command):
                    continue
                (row,) = rows_of(record.stdout)
                lines = [wrapped(f"    {name} = ", text) for name, text in row.fields.items()]
                assert (
                    "\n".join([f"Job Id: {row.id}", *lines, "", ""])
                    == record.stdout.rstrip("\n") + "\n\n"
                )
                compared += 1
    assert compared >= 10


@ON_PBS
def test_pbs_denies_jobs_as_it_was_recorded(site: Site) -> None:
    recorded = the_record(PBS, "40_errors", "qstat 999999")
    told = site.shell("qstat -f 999999")
    assert (told.exit, told.stdout, told.stderr) == (recorded.exit, "", recorded.stderr)
    assert site.shell("qsub", "true").exit == 0
    site.over("1.pbs-login")
    recorded = the_record(PBS, "24_state_E", "finished, without -x")
    told = site.shell("qstat -f 1.pbs-login")
    words = recorded.stderr.replace("14.pbs-login", "1.pbs-login")
    assert (told.exit, told.stderr) == (recorded.exit, words)
    for fragments, job in ((("again",), "1.pbs-login"), (("qdel 99999",), "99999.pbs-login")):
        recorded = the_record(PBS, "25_qdel", *fragments)
        told = site.shell(f"qdel {job}")
        assert told.exit == recorded.exit
        assert told.stderr.split(" ")[:3] == recorded.stderr.split(" ")[:3]
    site.fake.spool.set_mode("forget", "")
    recorded = the_record(PBS, "60_no_history", "while it runs")
    told = site.shell("qstat -x -f 1.pbs-login")
    assert (told.exit, told.stdout) == (0, "")
    assert told.stderr == recorded.stderr.replace("101.pbs-login", "1.pbs-login")


@ON_PBS
def test_a_pbs_server_dies_of_a_known_and_an_unknown_job_in_one_command(site: Site) -> None:
    for _ in range(2):
        assert site.shell("qsub", LONG).exit == 0
    assert site.shell("qdel 99 1.pbs-login").exit == 153, "the other way round it lives"
    assert site.shell("qdel 1.pbs-login 99").exit == 0
    recorded = next(r for r in records(PBS, "61_server_down") if r.command == "qstat")
    told = site.shell("qstat -f 2")
    assert (told.exit, told.stderr) == (recorded.exit, recorded.stderr)


@ON_PBS
def test_a_pbs_server_outlives_what_we_ask_of_it(site: Site) -> None:
    """The same jobs, as hpclaunch deletes them."""
    jobs = [submit(site, "sleep 30") for _ in range(2)]
    ours = batch_scheduler("pbs", ())
    for command in ours.cancel_commands([jobs[0], "99.pbs-login", jobs[1]]):
        ours.parse_cancel(site.run(command))
    for job in jobs:
        site.over(job)
        assert state_of(site, job)[0] is JobState.CANCELLED


@ON_PBS
def test_pbs_runs_a_job_at_home_with_an_environment_of_its_own(site: Site) -> None:
    script = "#!/bin/bash\npwd; echo $PBS_O_WORKDIR $PBS_JOBID [$MINE] $NCPUS; umask"
    site.shell("qsub -k oed -j oe -o /home/alice/log -l select=1:ncpus=2", script, MINE="secret")
    site.over("1.pbs-login")
    home = str(site.home)
    shown = (site.home / "log").read_text().split("\n")
    assert shown[:2] == [home, f"{home}/w 1.pbs-login [] 2"]


# LSF: line by line, with times, places and names of hosts and users taken out.


def masked(text: str, home: Path | None, job: str) -> list[str]:
    """The lines of a description, without what is another time's or place's."""
    text = re.sub(r"\n {21}", "", text)  # where lines are broken depends on the names in them
    if home is not None:
        text = text.replace(str(home), "/home/alice")
    text = re.sub(r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d", "T", text)
    text = re.sub(r"lsf-c\d", "HOST", text.replace(f"Job <{job}>", "Job <7>"))
    text = re.sub(r"(User|administrator) <\w+>", r"\1 <U>", text)
    text = re.sub(r"(Pid|Starting \(Pid) <?\d+>?", r"\1 N", text)
    text = re.sub(r"CPU time used is [\d.]+", "CPU time used is N", text)
    text = re.sub(r"Output File <\S+>", "", text)
    text = re.sub(r"Execution CWD <[^>]*>", "Execution CWD", text)
    return [re.sub(r", *;", ";", line) for line in text.rstrip().split("\n")]


LSF_SUBMITS = {
    "x3": ("-o /home/alice/w/x3.log -J x3", "echo out; exit 3"),
    "ok": ("-o /home/alice/w/ok.log -J ok", "echo fine"),
    "run": ("-o /home/alice/w/run.log -J run",
            'trap "echo got TERM; exit 3" TERM; echo up; for i in $(seq 600); do sleep 1; done'),
    "pend": ("-o /home/alice/w/pend.log -J pend -n 4", "sleep 1"),
    "psusp": ("-o /home/alice/w/ps.log -J psusp -H", "sleep 1"),
}  # fmt: skip


@ON_LSF
@on(
    ("topic", "command", "name"),
    [
        ("27_state_EXIT", "bjobs -UF 44", "x3"),
        ("27_state_EXIT", "bhist -l 44", "x3"),
        ("26_state_DONE", "bjobs -UF 43", "ok"),
        ("20_state_RUN", "bjobs -UF 33", "run"),
        ("21_state_PEND", "bjobs -UF 35", "pend"),
        ("22_state_PSUSP", "bjobs -UF 40", "psusp"),
        ("25_bkill", "bjobs -UF 35", "pend"),
    ],
)
def test_a_job_is_described_as_volclava_describes_it(
    site: Site, topic: str, command: str, name: str
) -> None:
    found = [one for one in records(LSF, topic) if one.command == command]
    recorded, job = found[0], command.split()[-1]
    options, script = LSF_SUBMITS[name]
    if name in ("pend", "psusp"):
        site.fake.hold()
    told = site.shell(f"bsub {options}", script)
    assert told.stdout == "Job <1> is submitted to default queue <normal>.\n"
    if topic == "25_bkill":
        told = site.shell("bkill 1")
        assert told.stdout == "Job <1> is being terminated\n"
    if name in ("x3", "ok"):
        site.over("1")
    shown = site.shell(command.replace(job, "1"))
    assert shown.exit == recorded.exit
    assert masked(shown.stdout, site.home, "1") == masked(recorded.stdout, None, job)
    theirs, ours = (
        batch_scheduler("lsf", ()).parse_status(said, [one])[one]
        for said, one in ((Completed.of([], 0, recorded.stdout), job), (shown, "1"))
    )
    assert (ours.state, ours.word, ours.reason, ours.exit_code) == (
        theirs.state, theirs.word, theirs.reason, theirs.exit_code,
    )  # fmt: skip


@ON_LSF
def test_lsf_denies_jobs_as_it_was_recorded(site: Site) -> None:
    for topic, command in (
        ("40_errors", "bjobs 999999"),
        ("40_errors", "bhist -l 999999"),
        ("40_errors", "bjobs -J nosuch"),
        ("25_bkill", "bkill 999999"),
    ):
        recorded = next(r for r in records(LSF, topic) if r.command.split(";")[0] == command)
        told = site.shell(command)
        echoed = re.search(r"rc=(\d+)", recorded.stdout)
        assert told.exit == (int(echoed[1]) if echoed else recorded.exit)
        assert told.stderr == recorded.stderr
    assert site.shell("bsub", "true").exit == 0
    site.over("1")
    assert site.shell("bkill 1").stderr == "Job <1>: Job has already finished\n"
    site.fake.spool.set_mode("forget", "")
    assert site.shell("bjobs 1").stderr == "Job <1> is not found\n"
    assert "Done successfully" in site.shell("bhist -l 1").stdout


@ON_LSF
@on(
    "options",
    ['-R "rusage[mem=1GB]"', "-W abc", "-o"],
)
def test_lsf_refuses_what_it_was_recorded_to_refuse(site: Site, options: str) -> None:
    command = f"cd ~/w && bsub {options}"
    recorded = next(r for r in records(LSF, "40_errors") if r.command == command)
    told = site.shell(f"bsub {options}", "echo hi")
    assert (told.exit, told.stderr.split("\n")[0]) == (255, recorded.stderr.split("\n")[0])


@ON_LSF
def test_lsf_hangs_when_its_master_is_down(site: Site) -> None:
    site.fake.silence(True)
    told = site.shell("timeout 0.5 bjobs; echo rc=$?")
    recorded = next(r for r in records(LSF, "61_master_down") if "bjobs" in r.command)
    assert told.stdout == recorded.stdout
    assert told.stderr.split("\n")[0] == recorded.stderr.split("\n")[0]


@ON_LSF
def test_a_run_limit_is_told_by_the_exit_code_alone(site: Site) -> None:
    """USR2, as it was recorded; the limit is shortened, LSF's own is a minute at least."""
    site.shell("bsub -J rl2 -W 1", "echo up; sleep 300")
    begun = site.fake.spool.note_of("1", "begun")
    assert begun is not None
    os.killpg(begun["pid"], 12)
    site.over("1")
    told = site.shell("bjobs -UF 1")
    assert "Exited with exit code 140." in told.stdout
    recorded = [r for r in records(LSF, "28_runlimit") if r.command == "bjobs -UF 116"][-1]
    assert "Exited with exit code 140." in recorded.stdout
    assert batch_scheduler("lsf", ()).parse_status(told, ["1"])["1"].state is JobState.TIMEOUT


@ON_LSF
def test_the_output_of_a_job_is_a_mail_at_the_end(site: Site) -> None:
    """That is why jobs write their own log."""
    script = "echo start; date; for i in 1 2 3 4 5 6; do echo line $i; echo eline $i >&2; sleep 2; "
    script = script.replace("sleep 2", "sleep 0.1") + "done; echo end\n"
    site.shell("bsub -J out1 -o /home/alice/w/out1.log", script)
    site.over("1")
    recorded = next(r for r in records(LSF, "11_output") if r.note == "at the end").stdout

    def bare(text: str, home: str) -> list[str]:
        text = text.replace(home, "/home/alice").replace("sleep 0.1", "sleep 2")
        text = re.sub(r"\w{3} \w{3} [ \d]\d .*\d{4}", "T", text)
        text = re.sub(r"lsf-c\d", "HOST", re.sub(r"user <\w+>", "user <U>", text))
        return re.sub(r"Job \d+:", "Job 7:", text).rstrip().split("\n")

    shown = (site.home / "w" / "out1.log").read_text()
    assert bare(shown, str(site.home)) == bare(recorded, "/home/alice")
    site.shell("bsub -J out1 -o /home/alice/w/out1.log", "echo second")
    site.over("2")
    again = (site.home / "w" / "out1.log").read_text()
    assert again.startswith(shown) and again.count("Sender: LSF System") == 2
    site.shell("bsub -J late -o /home/alice/w/late", GATED)
    assert not (site.home / "w" / "late").exists(), "while it runs"
    (site.home / "w" / "go").touch()
    site.over("3")
    assert (site.home / "w" / "late").read_text().endswith("follows:\n\nearly\nlate\n\n")


@ON_PBS
def test_the_output_of_a_job_lies_on_the_node_until_the_end(site: Site) -> None:
    site.shell("qsub -N late -j oe", f"cd w; {GATED}")
    assert not (site.home / "w" / "late.o1").exists()
    (site.home / "w" / "go").touch()
    site.over("1.pbs-login")
    assert (site.home / "w" / "late.o1").read_text() == "early\nlate\n"


@on("site", ["slurm"], indirect=True)
def test_slurm_denies_jobs_as_it_was_recorded(site: Site) -> None:
    release = "slurm-22.05"
    recorded = next(r for r in records(release, "40_errors") if "Invalid job id" in r.stderr)
    told = site.shell("squeue --jobs=999999")
    assert (told.exit, told.stderr) == (recorded.exit, recorded.stderr)
    site.fake.silence(True)
    recorded = the_record(release, "62_ctld_down", "squeue")
    told = site.shell("squeue --jobs=1")
    assert (told.exit, told.stdout, told.stderr) == (recorded.exit, "", recorded.stderr)


# All of them


def spec(log: str, **more: object) -> JobSpec:
    return JobSpec(**{"name": "a", "log": log, "walltime": Walltime(600), **more})  # type: ignore[arg-type]


def submit(site: Site, body: str, **more: object) -> str:
    """Submit a script as hpclaunch does; returns the id."""
    ours = batch_scheduler(site.fake.kind, (), site.quirks)
    job = spec(f"{site.home}/job.log", **more)
    lines = ["#!/bin/bash", *ours.directives(job), *ours.prologue(job), body, ""]
    return ours.parse_submit(site.run(ours.submit_command(job), "\n".join(lines)))


def state_of(site: Site, job: str) -> tuple[JobState, str]:
    """State and reason, with a look at the history where the queue knows nothing."""
    ours = batch_scheduler(site.fake.kind, ())
    status = ours.parse_status(site.run(ours.status_command([job])), [job])[job]
    command = ours.history_command([job])
    if status.state in (JobState.LOST, JobState.UNKNOWN) and command:
        past = ours.parse_history(site.run(command), [job])[job]
        status = past if past.state.is_final else status
    return status.state, status.reason


EVERYWHERE = on("site", list(KINDS), indirect=True)


@ON_LSF
def test_a_bsub_that_reads_no_script_gets_a_file(site: Site) -> None:
    site.quirks = {"script": "argument"}
    job = submit(site, 'sleep 0.2; echo "it\'s $LSB_JOBNAME"', extra=("-R select[type == any]",))
    site.over(job)
    assert (site.home / "job.log").read_text() == "it's a\n"
    (file,) = site.home.glob("script-*")
    told = site.fake.jobs[job]
    assert told["script"] == f"/bin/bash {file}", "not what came on stdin"
    assert told["options"]["requirement"] == "select[type == any] span[hosts=1]"  # type: ignore[index]
    assert told["options"]["walltime"] == 600  # type: ignore[index]
    ours = batch_scheduler("lsf", (), site.quirks)
    refused = site.run(ours.submit_command(spec("/none/a.log")))
    assert "/none" in refused.stderr and "2" not in site.fake.jobs
    with pytest.raises(SubmitError, match="LSF refused the job"):
        ours.parse_submit(refused)


@EVERYWHERE
def test_a_job_runs_writes_its_own_log_and_is_found(site: Site) -> None:
    job = submit(site, "echo written; pwd; sleep 30")
    ours = batch_scheduler(site.fake.kind, ())
    log = site.home / "job.log"
    site.until(lambda: log.exists() and log.read_text().count("\n") == 2)
    assert log.read_text() == f"written\n{site.home}/w\n", "while it runs"
    assert state_of(site, job)[0] is JobState.RUNNING
    assert ours.parse_find(site.run(ours.find_command("a")), "a") == [job]
    assert ours.parse_find(site.run(ours.find_command("b")), "b") == []
    for command in ours.cancel_commands([job]):
        ours.parse_cancel(site.run(command))
    site.until(lambda: state_of(site, job)[0] is JobState.CANCELLED)
    for command in ours.cancel_commands([job]):
        ours.parse_cancel(site.run(command))


@EVERYWHERE
def test_a_job_that_fails_has_failed(site: Site) -> None:
    job = submit(site, "exit 3")
    site.over(job)
    assert state_of(site, job)[0] is JobState.FAILED


@on("site", ["slurm", "pbs"], indirect=True)
def test_a_job_whose_walltime_is_over_has_timed_out(site: Site) -> None:
    """LSF's shortest is a minute; see the test of its run limit."""
    job = submit(site, "sleep 60", walltime=Walltime(1))
    site.over(job)
    assert state_of(site, job)[0] is JobState.TIMEOUT


@EVERYWHERE
def test_a_job_that_is_held_back_waits_with_its_reason(site: Site) -> None:
    site.fake.hold("Dependency condition invalid or never satisfied")
    job = submit(site, "true")
    state, reason = state_of(site, job)
    assert (state, reason.split(":")[0]) == (
        JobState.QUEUED,
        "Dependency condition invalid or never satisfied",
    )
    site.fake.release()
    site.over(job)
    assert state_of(site, job)[0] is JobState.DONE


@EVERYWHERE
def test_a_scheduler_that_does_not_answer_says_nothing(site: Site) -> None:
    job = submit(site, "sleep 30")
    site.fake.silence(True)
    ours = batch_scheduler(site.fake.kind, ())
    argv = ours.status_command([job])
    if site.fake.kind == "lsf":
        argv[1] = "0.5"  # it hangs; our own patience is longer
    assert ours.parse_status(site.run(argv), [job])[job].state is JobState.UNKNOWN
    site.fake.silence(False)
    assert state_of(site, job)[0] is JobState.RUNNING


@EVERYWHERE
def test_a_job_that_dies_of_itself_and_one_that_shows_late(site: Site) -> None:
    spool = site.fake.spool
    spool.set_mode("die", "1")
    spool.set_mode("lag", "1000")
    job = submit(site, "sleep 30")
    ours = batch_scheduler(site.fake.kind, ())
    assert ours.parse_find(site.run(ours.find_command("a")), "a") == [], "not shown yet"
    site.until(lambda: spool.note_of(job, "ended"))
    begun, ended = (spool.note_of(job, kind) for kind in ("begun", "ended"))
    assert begun is not None and ended is not None
    spool.set_mode("lag", str(time.time() - (begun["time"] + ended["time"]) / 2))
    shown = spool.course(job)
    assert shown.begun is not None and not shown.is_over, "it is over, and seems to run"
    spool.set_mode("lag", None)
    assert state_of(site, job)[0] is JobState.FAILED


@EVERYWHERE
def test_chatter_and_refusals_are_told_from_ids(site: Site) -> None:
    site.fake.chatter("NOTE: 3 hours of maintenance\n")
    job = submit(site, "true")
    site.over(job)
    site.fake.refuse("the moon is in the wrong phase")
    with pytest.raises(Exception, match="refused") as caught:
        submit(site, "true")
    assert getattr(caught.value, "said", "") == "the moon is in the wrong phase"


def test_commands_run_where_the_interpreters_name_has_blanks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "it's mine" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    site = Site(Fake.install(tmp_path / "fake", "slurm"), tmp_path / "home")
    assert site.run(["squeue", "--noheader"]) == Completed.of(["squeue", "--noheader"], 0)
    assert "JOBID" in site.run(["squeue", "--name=two words"]).stdout


# What a site tells of itself: for a survey.

OF_SITES = [
    ("pbs", PBS, "01_server", "qstat -B -f", "qstat -Bf"),
    ("pbs", PBS, "02_queues", "qstat -Q -f", "qstat -Qf"),
    ("pbs", PBS, "03_nodes", "pbsnodes -a", "pbsnodes -av"),
    ("lsf", LSF, "00_version", "lsid", "lsid"),
    ("lsf", LSF, "00_version", "lshosts -w", "lshosts -w"),
    ("lsf", LSF, "02_queues", "bqueues -l", "bqueues -l"),
    ("lsf", LSF, "03_hosts", "bhosts -w", "bhosts -w"),
    ("lsf", LSF, "03_hosts", "bparams -l", "bparams -l"),
    ("slurm", "slurm-22.05", "01_site", "sinfo -V", "sinfo --version"),
]


@on(("site", "release", "topic", "recorded", "asked"), OF_SITES, indirect=["site"])
def test_a_site_tells_of_itself_in_recorded_lines(
    site: Site, release: str, topic: str, recorded: str, asked: str
) -> None:
    """Of fewer queues, perhaps, but each line as it was."""
    real = next(one.stdout for one in records(release, topic) if one.command == recorded)
    done = site.shell(asked)
    assert (done.exit, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) > 0 and set(lines) <= set(real.splitlines())


@on("site", ["slurm"], indirect=True)
def test_slurm_tells_of_partitions_in_recorded_words(site: Site) -> None:
    real = [one.stdout for one in records("slurm-22.05", "01_site")]
    words = {word for text in real for word in text.split()}
    for asked in ("scontrol show partition -o", "scontrol show node -o"):
        said = set(site.shell(asked).stdout.split())
        assert len(said) > 5
        # The recorded site has other partitions besides, and lets fewer nodes into the short one.
        assert {one for one in said - words if not one.startswith("Partitions=")} == set()
    rows = site.shell("sinfo -h -o '%P|%D|%c|%m|%G'").stdout.splitlines()
    assert rows == ["compute*|2|4|8000|(null)", "short|2|4|8000|(null)"]


@ON_LSF
def test_lsf_hangs_when_its_master_is_down_whatever_is_asked(site: Site) -> None:
    site.fake.silence(True)
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["bqueues", "-l"], env={**os.environ, "PATH": site.fake.path}, timeout=1)
