"""A site's own lines and blocks in the scripts of jobs: they run, and cannot break a job's end."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from hpclaunch.cli import main
from hpclaunch.errors import HpclaunchError, ProfileError
from hpclaunch.node.daskconfig import prologue
from hpclaunch.node.spec import session_from
from hpclaunch.plan import Plan
from hpclaunch.request import Program, Request
from hpclaunch.script import agent_spec
from hpclaunch.sessions.book import Book
from hpclaunch.templates import OFFERED
from tests.pure.plans import NONCE, Job, fake_interpreter, job_in, plan_of
from tests.pure.sites import SLURM, user_toml, write_toml

BEFORE = 'printf "%s\\0" before >>"$RECORD"'
AFTER = 'printf "%s\\0" after "$1" >>"$RECORD"'
AGENT = """#!/bin/bash
trap 'printf "%s\\0" told >>"$RECORD"; exit 143' TERM
printf '%s\\0' agent >>"$RECORD"
while :; do sleep 0.05; done
"""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return job_in(tmp_path)


@pytest.fixture
def python(tmp_path: Path) -> str:
    """An interpreter that ends with exit code 3."""
    text = "#!/bin/bash\nprintf '%s\\0' agent >>\"$RECORD\"\nexit 3\n"
    return str(fake_interpreter(tmp_path / "bin" / "python", text))


def plan_with(
    python: str,
    prologue: tuple[str, ...] = (BEFORE,),
    epilogue: tuple[str, ...] = (AFTER,),
    **environment: Any,
) -> Plan:
    scheduler = {"kind": "slurm", "prologue": prologue, "epilogue": epilogue}
    return plan_of(
        scheduler=scheduler,
        environments={"default": {"python": python, **environment}},
        dask={"memory": "1 GB"},
    )


def test_the_lines_run_before_the_modules_and_after_everything(job: Job, python: str) -> None:
    done = job.run(plan_with(python, modules=["gcc"]))
    assert (done.stderr, done.returncode) == ("", 3)
    assert job.heard() == ["before", "module", "load", "gcc", "agent", "after", "3"]
    assert job.exit_file() == {"nonce": NONCE, "exit": 3}


@pytest.mark.parametrize(
    "line", ["false", "exit 9", "set -e; false", "no-such-command", "cd /no/where", "kill $BASHPID"]
)
def test_an_epilogue_does_not_change_the_exit_code(job: Job, python: str, line: str) -> None:
    assert job.run(plan_with(python, epilogue=(line,))).returncode == 3
    assert job.exit_file() == {"nonce": NONCE, "exit": 3}


@pytest.mark.parametrize("line", ["set -eu", "false", "unset HOME", "cd /"])
def test_a_prologue_cannot_keep_a_job_from_its_last_word(job: Job, python: str, line: str) -> None:
    assert job.run(plan_with(python, prologue=(line,))).returncode == 3
    assert job.heard() == ["agent", "after", "3"]


def test_the_epilogue_runs_where_the_job_could_not_begin(job: Job, python: str) -> None:
    broken = {"BASH_FUNC_module%%": "() { return 1; }"}
    assert job.run(plan_with(python, modules=["gcc"]), **broken).returncode == 126
    assert job.heard() == ["before", "after", "126"]
    job.record.unlink()
    assert job.run(plan_with("/no/python")).returncode == 127
    assert job.heard() == ["before", "after", "127"]


def started(job: Job, tmp_path: Path, plan: Plan, word: str) -> subprocess.Popen[bytes]:
    """The job, as soon as it has written a word."""
    script = tmp_path / "job.sh"
    script.write_text(job.script(plan))
    process = subprocess.Popen(["bash", script], env=job.environment())
    deadline = time.monotonic() + 20
    while word not in job.heard():
        assert time.monotonic() < deadline, "the job did not start"
        time.sleep(0.02)
    return process


def test_the_epilogue_runs_after_a_job_that_was_cancelled(job: Job, tmp_path: Path) -> None:
    plan = plan_with(str(fake_interpreter(tmp_path / "agent", AGENT)))
    process = started(job, tmp_path, plan, "agent")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 143
    assert job.heard() == ["before", "agent", "told", "after", "143"]
    assert job.exit_file() == {"nonce": NONCE, "exit": 143}


def test_the_epilogue_runs_where_the_job_is_cancelled_before_all_is_ready(
    job: Job, tmp_path: Path, python: str
) -> None:
    plan = plan_with(python, prologue=(BEFORE, "for n in {1..40}; do sleep 0.05; done"))
    process = started(job, tmp_path, plan, "before")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 143
    assert job.heard() == ["before", "after", "143"]
    assert job.exit_file() == {"nonce": NONCE, "exit": 143}


def test_another_cancellation_does_not_cut_the_epilogue_short(
    job: Job, tmp_path: Path, python: str
) -> None:
    slow = (AFTER, "sleep 0.5", 'printf "%s\\0" done >>"$RECORD"')
    process = started(job, tmp_path, plan_with(python, epilogue=slow), "after")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) in (3, -signal.SIGTERM)
    deadline = time.monotonic() + 20
    while job.heard()[-1] != "done":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert job.exit_file() == {"nonce": NONCE, "exit": 3}


@pytest.mark.parametrize("code", [0, 5])
def test_worker_jobs_have_both_and_keep_their_exit_code(job: Job, python: str, code: int) -> None:
    epilogue = ('printf "%s\\0" after "${scratch:+gone}" >>"$RECORD"',)
    session = session_from(str(job.session), agent_spec(plan_with(python, epilogue=epilogue)))
    lines = [*prologue(session, "/lib"), f"(exit {code})"]
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        env=job.environment(TMPDIR=str(job.session)),
        capture_output=True,
        text=True,
    )
    assert (done.stderr, done.returncode) == ("", code)
    assert job.heard() == ["before", "after", "gone"]
    assert list(job.session.iterdir()) == []


# Templates of a site's own


def own(tmp_path: Path, text: str) -> Plan:
    file = tmp_path / "own.sh.j2"
    file.write_text(text)
    return plan_of(templates={"session": str(file)})


HEAD = '{% extends "session.sh.j2" %}\n'


def test_every_offered_block_can_be_filled(job: Job, tmp_path: Path, python: str) -> None:
    blocks = "".join(
        f'{{% block {name} %}}printf "%s\\0" {name} "$1" >>"$RECORD"\n{{{{ super() }}}}'
        "{% endblock %}\n"
        for name in OFFERED
        if name != "wrapper"
    )
    wrapper = "{% block wrapper %}env MARK={{ plan.name | quote }} {% endblock %}"
    plan = own(tmp_path, HEAD + blocks + wrapper)
    fake = '#!/bin/bash\nprintf "%s\\0" agent "$MARK" >>"$RECORD"\nexit 3\n'
    fake_interpreter(Path(python), fake)
    done = job.run(replace_python(plan, python))
    assert (done.stderr, done.returncode) == ("", 3)
    assert job.heard() == ["prologue", "", "environment", "", "agent", "big-1", "epilogue", "3"]
    assert job.exit_file() == {"nonce": NONCE, "exit": 3}


def replace_python(plan: Plan, python: str) -> Plan:
    from tests.pure.plans import with_environment

    return with_environment(plan, python)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#!/bin/bash\necho hello\n", "does not extend the template of hpclaunch"),
        ('{% extends "batch.sh.j2" %}', 'line 1: must be {% extends "session.sh.j2" %}, once'),
        ('\n{% extends name ~ "x" %}', 'line 2: must be {% extends "session.sh.j2" %}, once'),
        (HEAD + "{% block agent %}x{% endblock %}", "line 2: there is no block 'agent' to fill"),
        (HEAD + "{% block finish %}{% endblock %}", "line 2: there is no block 'finish' to fill"),
        (HEAD + "echo hello\n", "fills no block, so it changes nothing"),
        (HEAD + "\n{% block epilogue %}", "line 3: Unexpected end of template"),
        (HEAD + "{% block epilogue %}\n{{ x y }}{% endblock %}", "line 3: expected token"),
        (HEAD + "{% block epilogue %}\n{{ plan.nmae }}{% endblock %}", "line 3: "),
        (HEAD + "{% block epilogue %}\n\n{{ secrets }}{% endblock %}",
         "line 4: 'secrets' is undefined"),
        (HEAD + "{% block epilogue %}\n{{ plan.__class__.__mro__ }}{% endblock %}",
         "line 3: access to attribute '__class__' of 'Plan' object is unsafe."),
        (HEAD + "{% block epilogue %}\n{% include '/etc/passwd' %}{% endblock %}", "line 3: "),
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_used_is_told_with_file_and_line(
    job: Job, tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(ProfileError) as caught:
        job.script(own(tmp_path, text))
    assert str(tmp_path / "own.sh.j2") in caught.value.what
    assert words in caught.value.what
    assert isinstance(caught.value, HpclaunchError) and caught.value.exit_code == 1


def test_a_template_that_is_not_there_is_told(job: Job, tmp_path: Path) -> None:
    plan = plan_of(templates={"session": str(tmp_path / "none.j2")})
    with pytest.raises(ProfileError, match=r"none\.j2 cannot be read"):
        job.script(plan)


def test_a_bad_template_is_told_before_anything_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.sh.j2"
    file.write_text(HEAD + "{% block epilogue %}{{ nothing }}{% endblock %}")
    profile = write_toml(tmp_path / "big.toml", {**SLURM, "templates": {"session": str(file)}})
    assert main(("start", str(profile), "--no-browser", "--detach")) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"error: {file}, line 2: 'nothing' is undefined"
    assert list(Book()) == []


def test_a_batch_has_a_template_of_its_own(job: Job, tmp_path: Path) -> None:
    file = tmp_path / "own.sh.j2"
    file.write_text(
        '{% extends "batch.sh.j2" %}{% block wrapper %}nice {% endblock %}', encoding="utf-8"
    )
    tables = {"templates": {"batch": str(file)}, "dask": {"memory": "1 GB"}}
    batch = plan_of(Request(program=Program("/run.py", (), b"1")), **tables)
    assert 'nice "$python" -m hpclaunch.node.batch "$session" &' in job.script(batch)
    assert "nice" not in job.script(plan_of(**tables))


def test_a_template_lies_beside_the_file_that_names_it(tmp_path: Path) -> None:
    """The profile, or everybody's own user.toml."""
    from hpclaunch.plan import make_plan
    from hpclaunch.sites.catalog import load

    profile = write_toml(tmp_path / "big.toml", {**SLURM, "templates": {"session": "a.j2"}})
    plan = make_plan(load(str(profile)), Request(), name="b", nonce=NONCE)
    assert plan.template == str(tmp_path / "a.j2")
    file = user_toml({"big": {"templates": {"session": "mine.j2"}}})
    plan = make_plan(load(str(profile)), Request(), name="b", nonce=NONCE)
    assert plan.template == str(file.parent / "mine.j2")
