"""The batch scripts of typical sessions, word for word, as they are submitted.

``pytest tests/pure/test_golden_scripts.py --golden-update`` writes them anew; review the diff.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from hpclaunch.plan import make_plan
from hpclaunch.request import Program, Request
from hpclaunch.schedulers.kinds import batch_scheduler
from hpclaunch.schedulers.local import Local
from hpclaunch.script import render_session
from hpclaunch.sites.catalog import load
from hpclaunch.units import Memory, Walltime
from tests.pure.plans import NONCE

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
DOCKER = str(ROOT / "docker" / "slurm" / "site.toml")
PBS, LSF, OF_KINDS = (
    str(ROOT / "tests" / "profiles" / f"{name}.toml") for name in ("pbs", "lsf", "kinds")
)

# What differs from machine to machine on the site `local`.
HERE = ("environments.default.python=/home/alice/project/.venv/bin/python",)
BASES = {"local": "/home/alice/.local/share/hpclaunch"}
LOCAL = Local(python="/home/alice/project/.venv/bin/python", spool="/home/alice/jobs")
RICH = (
    "environments.default.modules=['gcc/13.2', 'netcdf-mpi']",
    "environments.default.setup=['export OMP_NUM_THREADS=1', 'ulimit -c 0']",
    "environments.default.python=~/my envs/climate/bin/python",
    "scheduler.directives=['--constraint=cpu&ssd', '--licenses=scratch,home', '--exclusive']",
    "paths.base=/scratch/100% mine/hpclaunch",
)
HOOKS = (
    "scheduler.prologue=['ulimit -s unlimited', 'export http_proxy=http://proxy:3128']",
    "scheduler.epilogue=['echo \"ended with $1\"', 'rm -rf \"/local/$SLURM_JOB_ID\"']",
)
OWN = f"templates.session={ROOT / 'tests' / 'profiles' / 'own.sh.j2'}"
KINDS = ("venv", "conda", "conda-by-module", "micromamba", "pixi", "container", "singularity")

SESSIONS: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "local": ("local", HERE, {}),
    "local-without-dask": ("local", HERE, {"dask": "none"}),
    "docker": (DOCKER, (), {}),
    "docker-with-workers": (DOCKER, (), {"workers": 2, "account": "proj1"}),
    "docker-mpi": (DOCKER, (), {"dask": "mpi", "nodes": 2, "workers": 4}),
    "docker-batch": (
        DOCKER,
        (),
        {"nodes": 2, "workers_per_node": 1, "program": Program("/laptop/run.py", (), b"1")},
    ),
    "pbs": (PBS, (), {"workers": 2, "account": "proj1"}),
    "pbs-batch": (
        PBS,
        ("scheduler.pbs.place=scatter:excl",),
        {"nodes": 2, "workers_per_node": 1, "program": Program("/laptop/run.py", (), b"1")},
    ),
    "lsf": (LSF, (), {"workers": 2, "account": "proj1"}),
    "lsf-batch": (
        LSF,
        ("scheduler.lsf.memory_per=host",),
        {"nodes": 2, "workers_per_node": 1, "program": Program("/laptop/run.py", (), b"1")},
    ),
    **{f"kinds-{kind}": (OF_KINDS, (), {"environment": kind, "workers": 2}) for kind in KINDS},
    "kinds-container-batch": (
        OF_KINDS,
        (),
        {"environment": "container", "nodes": 2, "program": Program("/laptop/run.py", (), b"1")},
    ),
    "docker-hooks": (DOCKER, HOOKS, {"workers": 2}),
    "lsf-hooks": (LSF, HOOKS, {}),
    "docker-own-template": (DOCKER, (*HOOKS, OWN), {}),
    "docker-rich": (
        DOCKER,
        RICH,
        {
            "account": "proj 1",
            "queue": "compute",
            "walltime": Walltime(36 * 1800),
            "nodes": 2,
            "cores": 4,
            "memory": Memory.parse("6.5 GB"),
            "workers": 4,
        },
    ),
}


def rendered(name: str) -> str:
    """The script of one of the sessions."""
    site, settings, wishes = SESSIONS[name]
    loaded = load(site, settings)
    plan = make_plan(loaded, Request(**wishes), name=f"{loaded.site.name}-1", nonce=NONCE)
    base = loaded.site.paths.base or "~/"
    if base.startswith("~/"):
        base = BASES.get(loaded.site.name, "/home/alice/.hpclaunch")
    local = loaded.site.scheduler.kind == "local"
    return render_session(
        plan,
        LOCAL if local else batch_scheduler(plan.scheduler, (), plan.scheduler_quirks),
        session_dir=f"{base}/sessions/{plan.directory}",
        lib_dir=f"{base}/lib/0.1.0-0123456789ab",
    )


@pytest.mark.parametrize("name", SESSIONS)
def test_the_script_is_the_golden_one(name, request):
    file = GOLDEN / f"{name}.sh"
    script = rendered(name)
    if request.config.getoption("--golden-update"):
        file.write_text(script)
    assert script == file.read_text(), f"if this is meant: pytest {__file__} --golden-update"


def test_there_is_no_golden_script_without_a_session():
    assert {file.stem for file in GOLDEN.glob("*.sh")} == set(SESSIONS)


@pytest.mark.parametrize("name", SESSIONS)
def test_bash_can_read_the_script(name):
    done = subprocess.run(["bash", "-n"], input=rendered(name), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", SESSIONS)
def test_no_secret_and_no_token_is_in_a_script(name):
    """Schedulers keep scripts where others may read them."""
    script = rendered(name)
    assert "token" not in script.lower() and "BEGIN" not in script
