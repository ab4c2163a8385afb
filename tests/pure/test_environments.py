"""The kinds of environments: what their jobs do, run by bash with programs that stand in."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpclaunch.errors import PlanError, ProfileError
from hpclaunch.export import DaskExport
from hpclaunch.node.daskconfig import Place, prologue, settings
from hpclaunch.node.spec import Session, session_from
from hpclaunch.plan import Plan
from hpclaunch.request import Program, Request
from hpclaunch.script import agent_spec
from tests.pure.plans import NONCE, Job, fake_interpreter, job_in, plan_of
from tests.pure.sites import load_content, slurm_with

DASK = {"workers": 1, "memory": "1 GB"}
CONDA = """#!/bin/bash
[ "$1 $2" = "shell.posix activate" ] || { echo "usage: $*" >&2; exit 2; }
[ -d "$3" ] || { echo "EnvironmentLocationNotFound: Not a conda environment: $3" >&2; exit 1; }
cat <<END
PS1='(env) '
export PATH='$3/bin:$PATH'
export CONDA_PREFIX='$3'
. "$3/etc/conda/activate.d/gdal-activate.sh"
END
"""
MAMBA = """#!/bin/bash
[ "$1 $2 $4 $5" = "shell activate --shell bash" ] || { echo "usage: $*" >&2; exit 2; }
place=$MAMBA_ROOT_PREFIX/envs/$3
[ -d "$place" ] || { echo "critical libmamba Cannot activate, prefix does not exist" >&2; exit 1; }
cat <<END
export PATH='$place/bin:$PATH'
export CONDA_PREFIX='$place'
. '$place/etc/conda/activate.d/gdal-activate.sh'
END
"""
PIXI = """#!/bin/bash
[ "$*" = "shell-hook --environment lab --shell bash --frozen --no-install" ] || exit 2
[ -f pixi.toml ] || { echo "could not find pixi.toml" >&2; exit 1; }
cat <<END
export PATH="$PWD/.pixi/envs/lab/bin:$PATH"
export CONDA_PREFIX="$PWD/.pixi/envs/lab"
. "$PWD/.pixi/envs/lab/etc/conda/activate.d/gdal-activate.sh"
END
"""
# As GDAL's own script: its last command fails where nothing is to be done.
ACTIVATE_D = 'export GDAL_DATA="$CONDA_PREFIX/share/gdal"\n[ -n "$NO_SUCH" ] && export A=1\n'
INTERPRETER = """#!/bin/bash
printf '%s\\0' "$0" "$GDAL_DATA" "$@" >"$RECORD"
exit 3
"""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return job_in(tmp_path)


def env_in(place: Path) -> Path:
    """A conda-like environment: an interpreter, and a script that activation has to run."""
    fake_interpreter(place / "bin" / "python", INTERPRETER)
    script = place / "etc" / "conda" / "activate.d" / "gdal-activate.sh"
    script.parent.mkdir(parents=True)
    script.write_text(ACTIVATE_D)
    return place


def plan_with(request: Request | None = None, **environment: Any) -> Plan:
    return plan_of(request, environments={"default": environment}, dask=DASK)


def conda_of(tmp_path: Path) -> tuple[dict[str, Any], Path]:
    fake_interpreter(tmp_path / "forge" / "bin" / "conda", CONDA)
    place = env_in(tmp_path / "my envs" / "gdal")
    return {"conda": {"env": str(place), "root": str(tmp_path / "forge")}}, place


def micromamba_of(tmp_path: Path) -> tuple[dict[str, Any], Path]:
    program = fake_interpreter(tmp_path / "bin" / "micromamba", MAMBA)
    place = env_in(tmp_path / "root" / "envs" / "gdal")
    root = str(tmp_path / "root")
    return {"conda": {"env": "gdal", "program": str(program), "root": root}}, place


def mamba_of(tmp_path: Path) -> tuple[dict[str, Any], Path]:
    fake_interpreter(tmp_path / "root" / "bin" / "mamba", MAMBA)
    place = env_in(tmp_path / "root" / "envs" / "gdal")
    root = str(tmp_path / "root")
    return {"conda": {"env": "gdal", "program": "mamba", "root": root}}, place


def pixi_of(tmp_path: Path) -> tuple[dict[str, Any], Path]:
    program = fake_interpreter(tmp_path / "bin" / "pixi", PIXI)
    project = tmp_path / "my project"
    place = env_in(project / ".pixi" / "envs" / "lab")
    (project / "pixi.toml").touch()
    table = {"project": str(project), "environment": "lab", "program": str(program)}
    return {"pixi": table}, place


KINDS = pytest.mark.parametrize("kind", [conda_of, micromamba_of, mamba_of, pixi_of])


@KINDS
def test_a_job_runs_the_scripts_of_the_activation_and_the_environments_python(
    job: Job, tmp_path: Path, kind: Any
) -> None:
    table, place = kind(tmp_path)
    done = job.run(plan_with(**table))
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 3)
    program, gdal, *rest = job.heard()
    assert (program, gdal) == (f"{place}/bin/python", f"{place}/share/gdal")
    assert rest == ["-m", "hpclaunch.node.agent", str(job.session)]


@KINDS
def test_worker_jobs_and_a_notebooks_own_clusters_are_activated_the_same_way(
    job: Job, tmp_path: Path, kind: Any
) -> None:
    table, place = kind(tmp_path)
    session = session_from(str(job.session), agent_spec(plan_with(**table)))
    lines = prologue(session, "/lib")
    configured = settings(session, Place("10.0.0.1", "/x/python", "/lib", "/tmp/n"))
    assert configured["jobqueue"]["slurm"]["job-script-prologue"] == lines
    text = "\n".join([*lines, 'echo "$GDAL_DATA"', "command -v python"])
    done = bash(job, text)
    assert (done.stdout.split("\n")[:2], done.stderr) == (
        [f"{place}/share/gdal", f"{place}/bin/python"],
        "",
    )


def bash(job: Job, text: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run lines of a worker job."""
    surroundings = {**job.environment(TMPDIR=str(job.session)), **variables}
    return subprocess.run(
        ["bash", "-c", text], env=surroundings, capture_output=True, text=True, timeout=30
    )


@KINDS
def test_an_environment_that_is_not_there_is_the_jobs_last_word(
    job: Job, tmp_path: Path, kind: Any
) -> None:
    table, place = kind(tmp_path)
    plan = plan_with(**table)
    place.rename(tmp_path / "elsewhere")
    done = job.run(plan)
    assert done.returncode == 126
    assert job.exit_file() == {"nonce": NONCE, "exit": 126}
    assert "hpclaunch: the " in done.stderr and " here (" in done.stderr
    assert job.heard() == []
    session = session_from(str(job.session), agent_spec(plan))
    worker = bash(job, "\n".join([*prologue(session, "/lib"), "echo went on"]))
    assert (worker.returncode, worker.stdout) == (126, "")
    assert "hpclaunch: the " in worker.stderr


def test_a_program_that_is_not_there_is_the_jobs_last_word(job: Job, tmp_path: Path) -> None:
    done = job.run(plan_with(conda={"env": "x", "root": "/no/forge"}))
    assert done.returncode == 126
    assert "the conda environment x cannot be activated here" in done.stderr


def test_an_environment_without_python_never_falls_back_to_another(
    job: Job, tmp_path: Path
) -> None:
    """PATH has one, of course."""
    table, place = conda_of(tmp_path)
    (place / "bin" / "python").unlink()
    done = job.run(plan_with(**table))
    assert done.returncode == 126
    assert "has no Python, or is not here" in done.stderr


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    place = tmp_path / "my venvs" / "lab"
    fake_interpreter(place / "bin" / "python", INTERPRETER)
    (place / "bin" / "activate").write_text(f'export VIRTUAL_ENV="{place}" GDAL_DATA=of-venv\n')
    return place


def test_a_virtual_environment_is_activated_and_its_own_python_runs(job: Job, venv: Path) -> None:
    done = job.run(plan_with(venv=str(venv)))
    assert (done.stderr, done.returncode) == ("", 3)
    assert job.heard()[:2] == [f"{venv}/bin/python", "of-venv"]


def test_a_virtual_environment_below_home_is_found_there(job: Job, venv: Path) -> None:
    done = job.run(plan_with(venv="~/lab"), HOME=str(venv.parent))
    assert (done.stderr, done.returncode) == ("", 3)


def test_a_virtual_environment_that_is_not_there_is_the_jobs_last_word(job: Job) -> None:
    done = job.run(plan_with(venv="/no/venv"))
    assert (done.returncode, job.exit_file()["exit"]) == (126, 126)
    assert "the virtual environment /no/venv cannot be activated here" in done.stderr


# Images

APPTAINER = """#!/bin/bash
# As the real one: what is bound must be there, and its variables win inside.
[ "$1" = exec ] || exit 2
shift
while [ "${1#-}" != "$1" ]; do
    printf '%s\\0' "$1" >>"$RECORD"
    if [ "$1" = --bind ]; then
        printf '%s\\0' "$2" >>"$RECORD"
        [ -e "${2%%:*}" ] || { echo "FATAL: mount source $2 doesn't exist" >&2; exit 255; }
        shift
    fi
    shift
done
printf '%s\\0' image "$1" "$APPTAINERENV_PYTHONPATH" "$APPTAINER_BIND" >>"$RECORD"
shift
PYTHONPATH=$APPTAINERENV_PYTHONPATH exec "$@"
"""


@pytest.fixture
def image(tmp_path: Path) -> dict[str, Any]:
    """The table of an image whose Python writes down how it is called."""
    program = fake_interpreter(tmp_path / "bin" / "apptainer", APPTAINER)
    (tmp_path / "my image.sif").touch()
    python = fake_interpreter(
        tmp_path / "inside" / "python",
        '#!/bin/bash\nprintf "%s\\0" python "$PYTHONPATH" "$@" >>"$RECORD"\nexit 3\n',
    )
    table = {"image": str(tmp_path / "my image.sif"), "options": ["--nv"]}
    table |= {"command": [str(program), "exec"], "binds": [f"{tmp_path}:/data:ro"]}
    return {"container": table, "python": str(python)}


def test_the_agent_runs_inside_and_sees_the_sessions_directories(
    job: Job, tmp_path: Path, image: dict[str, Any]
) -> None:
    done = job.run(plan_with(**image), PYTHONPATH="/of/the/node", TMPDIR=str(tmp_path))
    assert (done.stderr, done.returncode) == ("", 3)
    heard = job.heard()
    binds = [heard[at + 1] for at, word in enumerate(heard) if word == "--bind"]
    assert binds[:3] == [f"{tmp_path}:/data:ro", str(job.lib), str(job.session)]
    assert heard[0] == "--nv"
    assert heard[heard.index("image") :] == [
        *("image", str(tmp_path / "my image.sif"), str(job.lib), ""),
        *("python", str(job.lib), "-m", "hpclaunch.node.agent", str(job.session)),
    ]
    assert not list(tmp_path.glob("hpclaunch-*"))  # what was for orders is gone


def test_worker_jobs_run_inside_and_see_their_scratch(
    job: Job, tmp_path: Path, image: dict[str, Any]
) -> None:
    session = session_from(str(job.session), agent_spec(plan_with(**image)))
    place = Place("10.0.0.1", image["python"], str(job.lib), "/tmp/n")
    own = settings(session, place)["jobqueue"]["slurm"]
    done = bash(job, "\n".join([*own["job-script-prologue"], f"{own['python']} -m worker"]))
    assert (done.stderr, done.returncode) == ("", 3)
    heard = job.heard()
    bound = heard[heard.index("image") + 3]
    assert bound.startswith(f"{job.session}/hpclaunch-") and not Path(bound).exists()
    assert heard[-4:] == ["python", str(job.lib), "-m", "worker"]


def test_an_image_or_a_program_that_is_not_there_is_the_jobs_last_word(
    job: Job, tmp_path: Path, image: dict[str, Any]
) -> None:
    (tmp_path / "my image.sif").unlink()
    done = job.run(plan_with(**image))
    assert (done.returncode, job.exit_file()["exit"]) == (126, 126)
    assert "my image.sif is not here" in done.stderr
    done = job.run(plan_with(container={"image": "/x.sif", "command": ["no-apptainer", "exec"]}))
    assert done.returncode == 126
    assert "the program no-apptainer is not here" in done.stderr


def test_an_exported_configuration_has_workers_in_the_image() -> None:
    plan = plan_with(Request(workers=1), container={"image": "~/my x.sif", "binds": ["/scratch"]})
    own = yaml.safe_load(DaskExport(plan, "big.toml", "/home/ann/d").text())["jobqueue"]["slurm"]
    image = "--bind /scratch --bind /home/ann/d \"$HOME\"/'my x.sif' python3"
    assert own["python"] == f"apptainer exec {image}"
    for name in ("DASK_CONFIG", "DASK_TEMPORARY_DIRECTORY"):
        assert f'export APPTAINERENV_{name}="${name}"' in own["job-script-prologue"]


def test_an_exported_configuration_activates_the_environment() -> None:
    plan = plan_with(Request(workers=1), venv="~/my venv")
    own = yaml.safe_load(DaskExport(plan, "big.toml", "/home/ann/d").text())["jobqueue"]["slurm"]
    assert own["python"] == "\"$HOME\"/'my venv/bin/python'"
    assert own["job-script-prologue"][0].startswith(". \"$HOME\"/'my venv'/bin/activate || {")


def test_ranks_in_an_image_need_a_launcher_outside_of_it(image: dict[str, Any]) -> None:
    image = {"container": {"image": "/x.sif"}}
    program = Request(program=Program("/run.py", (), b"1"))
    assert plan_with(program, **image).container is not None
    pbs = {"scheduler": {"kind": "pbs"}, "environments": {"default": image}, "dask": DASK}
    with pytest.raises(PlanError, match="does not say by what") as caught:
        plan_of(program, **pbs)
    assert caught.value.hint and "mpi.launcher" in caught.value.hint
    assert plan_of(program, **pbs, mpi={"launcher": ["/opt/mpi/bin/mpirun"]}).block is not None


def test_a_directory_that_cannot_be_bound_is_refused(image: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=r"cannot see /work/a,b: .* no comma"):
        plan_of(environments={"default": image}, paths={"base": "/work/a,b"})


def test_what_the_node_is_told_of_the_image_is_the_whole_table() -> None:
    image = {"image": "~/x.sif", "options": ["--nv"], "binds": ["/scratch"]}
    spec = json.loads(json.dumps(agent_spec(plan_with(container=image))))
    session = session_from("/s", spec)
    assert session.container is not None
    told = {key: getattr(session.container, key) for key in ("image", "options", "binds")}
    assert told == {"image": "~/x.sif", "options": ("--nv",), "binds": ("/scratch",)}
    assert isinstance(session, Session) and session.container.command == ("apptainer", "exec")


# What a profile may say


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"venv": "/v", "conda": {"env": "x"}},
         "[environments.default] venv: an environment is of one kind, and this one has conda too"),
        ({"pixi": {"project": "/p"}, "container": {"image": "/i"}},
         "[environments.default] container: an environment is of one kind, and this one has pixi "
         "too"),
        ({"venv": "/v", "python": "/p"},
         "[environments.default] python: is that of the venv environment; leave it out"),
        ({"conda": {"env": "x", "program": "anaconda"}},
         "[environments.default] conda: its program must be conda, mamba or micromamba, or a path "
         "to one"),
        ({"venv": "venvs/x"},
         "[environments.default] venv: must be an absolute path, or begin with ~/ for the home on "
         "the site (it is 'venvs/x')"),
        ({"container": {"image": "docker://pangeo/notebook"}},
         "[environments.default.container] image: must be an absolute path, or begin with ~/ for "
         "the home on the site (it is 'docker://pangeo/notebook')"),
        ({"container": {"image": "/i", "options": ["--cleanenv"]}},
         "[environments.default.container] options: --cleanenv would hide the job from what runs "
         "in the image (it is ['--cleanenv'])"),
        ({"container": {"image": "/i", "binds": ["scratch"]}},
         "[environments.default.container] binds number 1: must be DIRECTORY, DIRECTORY:INSIDE or "
         "DIRECTORY:INSIDE:ro, no comma (it is 'scratch')"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_a_fault_of_the_profile(
    tmp_path: Path, environment: dict[str, Any], words: str
) -> None:
    content = slurm_with(environments={"default": environment})
    with pytest.raises(ProfileError) as caught:
        load_content(tmp_path, content)
    assert caught.value.what.endswith(f"big.toml: {words}")


def test_everybodys_own_values_stand_in_the_places_of_environments() -> None:
    tables = {"values": {"project": "p1"}, "environments": {"default": {"venv": "/w/{project}/v"}}}
    assert plan_of(**tables).python == "/w/p1/v/bin/python"
    with pytest.raises(PlanError, match="venv in default"):
        plan_of(environments={"default": {"venv": "/w/{project}/v"}})
