"""Commands of the node for what runs inside an image, through the job's own script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hpclaunch.node import outside
from hpclaunch.node.outside import commands_of, go_outside, order_text
from hpclaunch.plan import Plan
from tests.node.live import REPOSITORY
from tests.pure.plans import Job, fake_interpreter, job_in, plan_of

pytestmark = pytest.mark.local

# The stand-in for Apptainer hides what is the node's, and nothing else.
APPTAINER = """#!/bin/bash
[ "$1" = exec ] || exit 2
shift
while [ "${1#-}" != "$1" ]; do [ "$1" = --bind ] && shift; shift; done
shift
PATH=/usr/bin:/bin PYTHONPATH=$APPTAINERENV_PYTHONPATH exec "$@"
"""
QSUB = """#!/bin/bash
echo "in $PWD: $*"
echo "to the user" >&2
printf '%s ' "$PBS_TOLD" "$PBS_NOT_TOLD" "$(command -v qstat)"
cat
exit 7
"""
SLEEPER = """#!/bin/bash
trap 'echo told >>"$RECORD"; exit 9' TERM
echo $$ >>"$RECORD"
while :; do sleep 0.05; done
"""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = job_in(tmp_path)
    for name, text in (("qsub", QSUB), ("qstat", SLEEPER), ("apptainer", APPTAINER)):
        fake_interpreter(tmp_path / "node bin" / name, text)
    return job


def plan_that(tmp_path: Path, code: str) -> Plan:
    """A session whose agent is some code, in an image."""
    (tmp_path / "image.sif").touch()
    inner = tmp_path / "inner.py"
    inner.write_text(
        "import os, subprocess, sys, time\nfrom hpclaunch.node import outside\n" + code
    )
    python = fake_interpreter(
        tmp_path / "inside" / "python", f'#!/bin/bash\nexec "{sys.executable}" "{inner}"\n'
    )
    image = {"image": str(tmp_path / "image.sif")}
    return plan_of(environments={"default": {"container": image, "python": str(python)}})


def run(job: Job, tmp_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    (job.lib / "hpclaunch").symlink_to(REPOSITORY / "hpclaunch")
    path = f"{tmp_path / 'node bin'}:{os.defpath}"
    return job.run(
        plan_that(tmp_path, code), PATH=path, TMPDIR=str(tmp_path), PBS_NOT_TOLD="x", PBS_TOLD="y"
    )


CALL = """
outside.go_outside(outside.commands_of("pbs"), os.environ)
here = {name: value for name, value in os.environ.items() if name != "PBS_NOT_TOLD"}
said = subprocess.run(
    ["qsub", "it's", "$(reboot)"], input="a script\\n", env=here, cwd="/usr",
    capture_output=True, text=True, timeout=20,
)
import json
print(json.dumps([said.returncode, said.stdout, said.stderr]))
sys.exit(4)
"""


def test_a_command_gets_and_gives_what_it_would_on_the_node(job: Job, tmp_path: Path) -> None:
    done = run(job, tmp_path, CALL)
    assert (done.stderr, done.returncode) == ("", 4)
    code, out, err = json.loads(done.stdout)
    assert code == 7
    assert out == f"in /usr: it's $(reboot)\ny  {tmp_path}/node bin/qstat a script\n"
    assert err == "to the user\n"
    assert not list(tmp_path.glob("hpclaunch-*"))


MANY = """
outside.go_outside(["echo-all"], os.environ)
from concurrent.futures import ThreadPoolExecutor
big = "x" * 300_000
def one(number):
    said = subprocess.run(["echo-all"], input=f"{number} {big}", capture_output=True, text=True)
    return said.stdout == f"{number} {big}" and said.returncode == 0
with ThreadPoolExecutor(4) as pool:
    print(all(pool.map(one, range(8))))
"""


def test_many_commands_at_a_time_are_kept_apart(job: Job, tmp_path: Path) -> None:
    fake_interpreter(tmp_path / "node bin" / "echo-all", "#!/bin/bash\nexec cat\n")
    done = run(job, tmp_path, MANY)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


END = """
outside.go_outside(outside.commands_of("pbs"), os.environ)
asked = subprocess.Popen(["qstat"])
record = os.environ["RECORD"]
deadline = time.monotonic() + 20
while not os.path.exists(record) and time.monotonic() < deadline:
    time.sleep(0.02)
"""


def test_a_signal_reaches_the_command_outside(job: Job, tmp_path: Path) -> None:
    done = run(job, tmp_path, END + "asked.terminate()\nsys.exit(asked.wait(20))\n")
    assert (done.stderr, done.returncode) == ("", 9)
    assert job.record.read_text().splitlines()[1:] == ["told"]


def test_no_command_is_left_when_the_job_ends(job: Job, tmp_path: Path) -> None:
    """Even where who has called it was killed."""
    done = run(job, tmp_path, END + "asked.kill()\nasked.wait()\n")
    assert done.returncode == 0
    number = int(job.record.read_text().splitlines()[0])
    deadline = time.monotonic() + 20
    while Path(f"/proc/{number}").exists():
        assert time.monotonic() < deadline, "it still runs"
        time.sleep(0.05)
    assert not list(tmp_path.glob("hpclaunch-*"))


def test_where_nobody_serves_a_command_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(outside.DIRECTORY, str(tmp_path))
    assert outside.main(["sbatch", "x"]) == 126
    os.mkfifo(tmp_path / "orders")
    assert outside.main(["sbatch", "x"]) == 126
    said = capfd.readouterr().err.splitlines()
    assert all(line.startswith("sbatch: the node does not listen to this image") for line in said)
    assert [one.name for one in tmp_path.iterdir()] == ["orders"]


def test_outside_of_an_image_nothing_is_changed() -> None:
    surroundings = {"PATH": "/bin"}
    go_outside(["sbatch"], surroundings)
    assert surroundings == {"PATH": "/bin"}


def test_the_launcher_and_ssh_are_outside_too(tmp_path: Path) -> None:
    names = commands_of("pbs", ["/opt/mpi/bin/mpirun", "--x"], ssh=True)
    assert {"qsub", "/opt/mpi/bin/mpirun", "ssh"} <= set(names)
    surroundings: dict[str, Any] = {"PATH": "/bin", outside.DIRECTORY: str(tmp_path)}
    go_outside(names, surroundings)
    assert surroundings["PATH"] == f"{tmp_path}/bin:/bin"
    shim = (tmp_path / "bin" / "mpirun").read_text()
    assert shim.endswith(' /opt/mpi/bin/mpirun "$@"\n')


@pytest.mark.parametrize("word", ["a b", "$(touch pwned)", "`x`", "it's", "-n", "a\nb", ""])
def test_words_arrive_as_they_are(tmp_path: Path, word: str) -> None:
    text = order_text(["printf", "%s|", word], {"DASK_X": word, "PATH": "/no"}, str(tmp_path))
    done = subprocess.run(
        ["bash", "-c", text.replace("exec ", 'printf "%s|" "$DASK_X"; exec ')],
        capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    assert done.stdout == f"{word}|{word}|"
    assert not list(tmp_path.iterdir())
