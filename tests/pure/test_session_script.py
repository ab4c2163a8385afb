"""The batch script of a session, run by bash: hostile values do nothing and arrive unchanged."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpclaunch.errors import PlanError
from hpclaunch.schedulers.slurm import Slurm
from hpclaunch.script import agent_spec, render_session
from tests.pure.hostile import EVIL, arguments, lines, names
from tests.pure.plans import NONCE, fake_interpreter, job_in, plan_of, with_environment

PLAN = plan_of()
# What a path in a SLURM directive can hold; anything else is refused (see below).
plain_names = names.filter(lambda name: "\n" not in name and "\\" not in name)
options = lines.map("--comment=".__add__)


@settings(max_examples=50)
@given(
    python=names,
    modules=st.lists(arguments, max_size=3),
    session=plain_names,
    lib=names.filter(lambda name: ":" not in name),
    queue=lines,
    account=lines,
    extra=st.lists(options, max_size=2),
)
@example(
    "a;touch pwned", list(EVIL), "$(touch pwned)", "`touch pwned`", "'; touch pwned #", "\\", []
)
def test_hostile_values_arrive_unchanged_and_do_nothing(
    python, modules, session, lib, queue, account, extra
):
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        job = job_in(folder, session, lib)
        interpreter = fake_interpreter(folder / "bin" / python)
        plan = with_environment(PLAN, interpreter, modules=modules)
        plan = replace(
            plan, job=replace(plan.job, queue=queue, account=account, extra=tuple(extra))
        )
        before = tree(folder)
        done = job.run(plan, PYTHONPATH="/before")
        assert (done.stdout, done.stderr, done.returncode) == ("", "", 3)
        assert job.heard() == [
            *(word for module in modules for word in ("module", "load", module)),
            *("python", str(job.session), f"{job.lib}:/before"),
            *("-m", "hpclaunch.node.agent", str(job.session)),
        ]
        assert job.exit_file() == {"nonce": NONCE, "exit": 3}
        assert tree(folder) - before == {
            *(job.record, job.record.with_name("job.sh"), job.session / "exit.json")
        }


def tree(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@settings(max_examples=50)
@given(name=lines.filter(lambda name: "/" not in name and len(name.encode()) < 200))
@example("~")
@example("a b's")
def test_a_python_below_the_home_directory_is_found_there(name):
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        job = job_in(folder)
        fake_interpreter(folder / "home" / f"x{name}")
        done = job.run(with_environment(PLAN, f"~/x{name}"), HOME=str(folder / "home"))
        assert (done.stderr, done.returncode) == ("", 3)


@given(modules=st.lists(arguments, min_size=1, max_size=3))
@example(list(EVIL))
def test_worker_jobs_load_the_same_modules(modules):
    plan = plan_of(dask={"workers": 1, "memory": "1 GB"})
    spec = agent_spec(with_environment(plan, "python3", modules=modules))
    with tempfile.TemporaryDirectory() as scratch:
        job = job_in(Path(scratch))
        text = "\n".join(spec["dask"]["setup"])
        subprocess.run(["bash", "-s"], input=text.encode(), env=job.environment(), check=True)
        assert job.heard() == [word for one in modules for word in ("module", "load", one)]


@pytest.mark.parametrize("session", ["/a\nb", "/a\\b"])
def test_a_directory_that_slurm_cannot_write_to_is_refused(session):
    with pytest.raises(PlanError, match="cannot be described to slurm"):
        render_session(PLAN, Slurm(), session_dir=session, lib_dir="/lib")


@pytest.mark.parametrize("field", ["queue", "account"])
def test_a_second_line_in_a_directive_is_refused(field):
    plan = replace(PLAN, job=replace(PLAN.job, **{field: "x\n#SBATCH --uid=0"}))
    with pytest.raises(PlanError, match="newline"):
        render_session(plan, Slurm(), session_dir="/s", lib_dir="/lib")
