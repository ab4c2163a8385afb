"""environment.sh makes an environment as a job does, and doctor.sh looks and leaves nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hpclaunch.errors import CommandTimeout
from hpclaunch.sessions.environments import Interpreter, look_at_environments
from hpclaunch.shell import Completed
from hpclaunch.sites.catalog import LoadedSite
from hpclaunch.sites.model import Site
from tests.pure.remote import run, tree
from tests.pure.sites import slurm_with

MODULE = '() { echo "loading $2"; [ "$2" != broken ] && export LOADED="$LOADED $2"; }'


@dataclass
class Here:
    """This machine as a login node with a command ``module``."""

    variables: dict[str, str] = field(default_factory=dict)

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0) -> Completed:
        done = subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            timeout=timeout,
            env={"PATH": "/usr/bin:/bin", "BASH_FUNC_module%%": MODULE, **self.variables},
        )
        return Completed.of(argv, done.returncode, done.stdout.decode(), done.stderr.decode())


def look(environment: dict[str, object], **variables: str) -> Interpreter:
    return look_at_environments(Here(variables), site_with(default=environment))["default"]


def site_with(**environments: object) -> LoadedSite:
    site = Site.model_validate(slurm_with(environments=environments, values={"group": "g1"}))
    return LoadedSite(site, Path("site.toml"))


def test_an_environment_says_what_it_has():
    found = look({"python": sys.executable, "modules": ["gcc", "a b"], "setup": ["echo chatter"]})
    assert (found.python, found.lack) == (sys.executable, "")
    assert found.packages["jupyterlab"]
    assert found.version == ".".join(map(str, sys.version_info[:3]))


def test_modules_and_lines_run_as_in_a_job(tmp_path):
    log = tmp_path / "log"
    setup = ["set -eu", "if true; then", f'  echo "$LOADED" >{log}', "fi", "cat", "false || true"]
    assert look({"python": sys.executable, "modules": ["gcc", "mpi"], "setup": setup}).lack == ""
    assert log.read_text() == " gcc mpi\n"


def test_a_python_below_the_home_directory(tmp_path):
    (tmp_path / "my python").symlink_to(sys.executable)
    assert look({"python": "~/my python"}, HOME=str(tmp_path)).lack == ""


def test_environments_of_a_kind_are_made_as_jobs_make_them(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "g1"], check=True)
    python = look({"venv": f"{tmp_path}/{{group}}"}).python
    assert python == f"{tmp_path}/g1/bin/python"
    lack = look({"venv": f"{tmp_path}/none"}).lack
    assert lack.startswith(
        f"hpclaunch: the virtual environment {tmp_path}/none cannot be activated"
    )

    program, image = tmp_path / "apptainer", tmp_path / "i mage.sif"
    program.write_text('#!/bin/sh\necho "$1 $2" >&2\nshift 2\nexec "$@"\n')
    program.chmod(0o700)
    container = {"image": str(image), "command": [str(program), "exec"]}
    lack = look({"container": container, "python": sys.executable}).lack
    assert lack.startswith(f"hpclaunch: the image {image} is not here")
    image.touch()
    assert look({"container": container, "python": sys.executable}).python == sys.executable


@pytest.mark.parametrize(
    ("environment", "lack"),
    [
        ({"modules": ["gcc", "broken"]}, "the module broken cannot be loaded here"),
        ({"python": "/no/such/python"}, "the interpreter /no/such/python is not here"),
        ({"python": "/bin/echo"}, "its answer is not ours: '-\\n'"),
        ({"setup": ["exit 3"]}, "exit code 3"),
    ],
)
def test_what_is_wrong_with_an_environment_is_told(environment, lack):
    assert look(environment) == Interpreter(lack=lack)


def test_a_login_node_that_is_silent_says_nothing_of_its_environments():
    class Silent(Here):
        def run(
            self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
        ) -> Completed:
            raise CommandTimeout("no answer within 90 s")

    found = look_at_environments(Silent(), site_with(default={}))["default"]
    assert found == Interpreter(lack="no answer within 90 s", answered=False)


def place(shell: str, base: Path) -> dict[str, str]:
    said = run(shell, "doctor.sh", base)
    assert (said.returncode, said.stderr) == (0, b"")
    return dict(line.split("=", 1) for line in said.stdout.decode().splitlines())


def test_the_doctor_looks_and_leaves_nothing(shell, tmp_path):
    base = tmp_path / "b ase"
    (base / "sessions" / "s-0123abcd").mkdir(parents=True)
    base.chmod(0o700)
    before = tree(tmp_path)
    facts = place(shell, base)
    assert tree(tmp_path) == before
    assert facts["mode"] == "drwx------"
    assert facts["session"] == "s-0123abcd"
    assert facts["writable"] == "yes"
    assert int(facts["room"].split()[0]) == pytest.approx(
        shutil.disk_usage(tmp_path).free / 1024, rel=0.2
    )


def test_a_place_that_is_not_there_yet_is_judged_by_what_is_above(shell, tmp_path):
    facts = place(shell, tmp_path / "a" / "b")
    assert facts["writable"] == "yes"
    assert "mode" not in facts
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_says_why(shell):
    assert "writable" in (facts := place(shell, Path("/proc/no/such")))
    assert facts["writable"] != "yes"
