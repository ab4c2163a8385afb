"""A batch job's agent and ranks on this machine: MPI for real, one node."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import signal
import stat
import sys
import textwrap
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from hpclaunch.node.layout import Layout
from hpclaunch.node.processes import descendants
from tests.node.live import Live, agent, make_session
from tests.support.launch import eventually

pytestmark = pytest.mark.local

GB = 10**9
LIMIT = 90.0
"""Seconds for a batch job on a busy machine."""


BLOCK = {
    "nodes": 1, "workers_per_node": 1, "others": 2, "threads": 1,
    "memory": 3 * GB, "launcher": None,
}  # fmt: skip


@contextlib.contextmanager
def batch(
    folder: Path,
    script: str,
    *arguments: str,
    extra: dict[str, str] | None = None,
    timeout: float = 60,
    name: str = "run.py",
    spoil: str | None = None,
    insecure: bool = False,
    **fields: Any,
) -> Iterator[Live]:
    """A batch job of one worker that runs `script`, which lies on the site."""
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    (work / name).write_text(textwrap.dedent(script))
    block = {**BLOCK, **{key: fields.pop(key) for key in list(fields) if key in BLOCK}}
    spec = {"program": str(work / name), "arguments": arguments, **fields}
    directory = make_session(
        folder / "session",
        root_dir=str(work),
        batch=spec,
        block=block,
        start_timeout=timeout,
        insecure_dask=insecure,
    )
    if spoil is not None:
        (directory / spoil).mkdir(parents=True)
    with agent(directory, folder / "home", module="batch", **(extra or {})) as running:
        yield running


def over(live: Live) -> tuple[int, str]:
    """The agent's exit code and the job's log, once it has ended."""
    code = live.process.wait(LIMIT)
    return code, live.log


COMPUTES = """
    import json, os, sys
    from pathlib import Path
    from distributed import Client
    import beside

    def square(x):
        return x * x + beside.ZERO

    class Own:
        pass

    if __name__ == "__main__":
        client = Client()
        found = {
            "argv": sys.argv,
            "path": sys.path[0],
            "cwd": os.getcwd(),
            "file": __file__,
            "main": sys.modules["__main__"].square is square,
            "own": type(client.submit(Own).result()).__module__,
            "sum": sum(client.gather(client.map(square, range(100)))),
            "scheduler": client.scheduler.address,
            "limits": [one["memory_limit"] for one in client.scheduler_info()["workers"].values()],
            "elsewhere": client.submit(os.getpid).result() != os.getpid(),
        }
        print(json.dumps(found), flush=True)
"""


def test_a_script_finds_its_cluster_and_itself_as_if_python_ran_it(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "beside.py").write_text("ZERO = 0\n")
    with batch(tmp_path, COMPUTES, "--alpha", "a b") as live:
        code, log = over(live)
    assert code == 0, log
    found = json.loads(next(line for line in log.splitlines() if line.startswith("{")))
    work = str(tmp_path / "work")
    assert found["argv"] == [f"{work}/run.py", "--alpha", "a b"]
    assert (found["path"], found["cwd"], found["file"]) == (work, work, f"{work}/run.py")
    assert found["main"] and found["own"] == "__main__"
    assert found["sum"] == sum(x * x for x in range(100))
    assert found["scheduler"].startswith("tls://127.0.0.1:")
    assert found["limits"] == [GB], "three ranks share the node's memory"
    assert found["elsewhere"]

    told = live.json(Layout.ENDING)
    assert (told["exit"], told["nonce"]) == (0, "0123456789ab")
    assert live.json(Layout.RENDEZVOUS)["dask"] == {
        "mode": "mpi", "scheduler": found["scheduler"], "workers": 1, "problem": None,
    }  # fmt: skip
    kept = live.directory / Layout.PROGRAM / "run.py"
    assert kept.read_text() == (tmp_path / "work" / "run.py").read_text()
    assert not any((live.directory / name).exists() for name in Layout.SECRETS)
    assert not (live.directory / Layout.FAILURE).exists()


def test_plain_tcp_is_had_by_those_who_ask_for_it(tmp_path: Path) -> None:
    script = """
        from distributed import Client
        if __name__ == "__main__":
            client = Client()
            print(client.submit(abs, -1).result(), client.scheduler.address,
                  *client.scheduler_info()["workers"])
    """
    with batch(tmp_path, script, insecure=True) as live:
        code, log = over(live)
    assert code == 0, log
    (told,) = [line.split() for line in log.splitlines() if line.startswith("1 ")]
    assert [one[:16] for one in told[1:]] == ["tcp://127.0.0.1:"] * 2


ENDINGS = {
    "raises": ("def f():\n    raise KeyError('broken')\nf()\n", 1),
    "exits": ("import sys\nsys.exit(3)\n", 3),
    "says": ("import sys\nsys.exit('no data today')\n", 1),
    "syntax": ("def f(:\n", 1),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_the_scripts_own_exit_code_is_the_jobs(tmp_path: Path, name: str) -> None:
    script, wanted = ENDINGS[name]
    with batch(tmp_path, script) as live:
        code, log = over(live)
    assert code == wanted, log
    assert live.json(Layout.ENDING)["exit"] == wanted
    assert not (live.directory / Layout.FAILURE).exists()
    if name == "raises":
        trace = log[log.index("Traceback") :]
        assert trace.splitlines()[1].endswith('run.py", line 3, in <module>'), trace
        assert "KeyError: 'broken'" in trace and "runpy" not in trace and "hpclaunch" not in trace
    if name == "says":
        assert "no data today" in log and "Traceback" not in log
    if name == "syntax":
        assert "SyntaxError" in log and 'run.py", line 1' in log


def test_a_script_that_ends_while_its_tasks_run_ends_the_job_at_once(tmp_path: Path) -> None:
    script = """
        import time
        from distributed import Client
        future = Client().submit(time.sleep, 600)
        while not future.client.processing() or not any(future.client.processing().values()):
            time.sleep(0.05)
        print("raised at", time.time(), flush=True)
        raise ValueError("enough")
    """
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    with batch(tmp_path, script, extra={"TMPDIR": str(scratch)}) as live:
        code, log = over(live)
        ended = time.time()
    assert code == 1 and "ValueError: enough" in log
    raised = float(log.partition("raised at ")[2].split()[0])
    assert ended - raised < 30, log
    assert "did not leave" not in log and not list(scratch.glob("*")), log


CELLS = [
    "from distributed import Client\nprint('sum', Client().submit(sum, [1, 2]).result())",
    "import os, sys\n(os.getcwd(), sys.executable)",
    "raise KeyError('broken')",
    "print('never')",
]


def test_a_notebook_is_saved_up_to_the_cell_that_fails(tmp_path: Path) -> None:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    extra = {"TMPDIR": str(scratch)}
    with batch(tmp_path, nbformat.writes(made), name="one.ipynb", extra=extra) as live:
        code, log = over(live)
    assert code == 1, log
    assert "sum 3\n" in log and "KeyError" in log and "never" not in log.partition("saved")[0]
    work = tmp_path / "work"
    cells = nbformat.read(work / "one.out.ipynb", as_version=4).cells
    assert cells[0].outputs[0].text == "sum 3\n"
    where = ast.literal_eval(cells[1].outputs[0].data["text/plain"])
    assert where == (str(work), sys.executable)
    assert cells[2].outputs[0].ename == "KeyError"
    assert cells[3].outputs == [] and cells[3].execution_count is None
    page = (work / "one.html").read_text()
    assert "sum 3" in page and "KeyError" in page
    assert live.json(Layout.ENDING)["outputs"] == [f"{work}/one.out.ipynb", f"{work}/one.html"]
    assert nbformat.read(work / "one.ipynb", as_version=4) == made, "the original is as it was"
    assert {file.name for file in work.iterdir()} == {"one.ipynb", "one.out.ipynb", "one.html"}
    assert list(scratch.iterdir()) == []


PIDS = """
    import os, time
    from pathlib import Path
    from distributed import Client
    client = Client()
    folder = Path({folder!r})
    pids = {{0: client.run_on_scheduler(os.getpid), 1: os.getpid(),
            2: next(iter(client.run(os.getpid).values()))}}
    for number, pid in pids.items():
        (folder / str(number)).write_text(str(pid))
    (folder / "all").touch()
    time.sleep(600)
"""


@contextlib.contextmanager
def running(tmp_path: Path, **extra: str) -> Iterator[tuple[Live, dict[int, int]]]:
    """A batch job whose script goes on and on, and the processes of its ranks."""
    folder = tmp_path / "pids"
    folder.mkdir()
    with batch(tmp_path, PIDS.format(folder=str(folder)), extra=extra) as live:
        eventually(lambda: (folder / "all").exists() or live.process.poll(), timeout=LIMIT)
        assert live.process.poll() is None, live.log
        yield live, {number: int((folder / str(number)).read_text()) for number in range(3)}


@pytest.mark.parametrize("number", [0, 2])
def test_a_rank_that_is_killed_ends_the_job(tmp_path: Path, number: int) -> None:
    with running(tmp_path) as (live, pids):
        os.kill(pids[number], signal.SIGKILL)
        code, log = over(live)
        left = [pid for pid in pids.values() if Path(f"/proc/{pid}").exists()]
    assert code == 17, log
    failure = live.json(Layout.FAILURE)
    assert failure["cause"] == "rank-died"
    assert failure["what"] == "a rank ended (EXIT CODE: 9); with one rank all of them end"
    assert left == []


def test_a_job_that_is_asked_to_end_leaves_nothing_and_no_word_of_the_script(
    tmp_path: Path,
) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    with running(tmp_path, TMPDIR=str(scratch)) as (live, pids):
        made = list(scratch.glob("hpclaunch-*"))
        assert len(made) == 3, "one for each rank"
        assert {stat.S_IMODE(one.stat().st_mode) for one in made} == {0o700}
        children = descendants(live.process.pid)
        assert live.end(seconds=25) == 128 + signal.SIGTERM
    assert [pid for pid in {*children, *pids.values()} if Path(f"/proc/{pid}").exists()] == []
    assert list(scratch.glob("hpclaunch-*")) == []
    assert not (live.directory / Layout.ENDING).exists()
    assert not (live.directory / Layout.FAILURE).exists()


def test_a_rank_that_cannot_begin_does_not_let_the_others_wait(tmp_path: Path) -> None:
    with batch(tmp_path, "print('never')", spoil="workers/rank-2.log") as live:
        code, log = over(live)
    assert code == 15, log
    assert live.json(Layout.FAILURE)["cause"] == "mpi-failed"
    assert "IsADirectoryError" in log and "never" not in log


def failed(live: Live) -> dict[str, Any]:
    """The failure of a batch job that never came to its script."""
    code, log = over(live)
    failure: dict[str, Any] = live.json(Layout.FAILURE)
    assert code != 0
    assert failure["hint"] and "Traceback" not in failure["what"], log
    return failure


def stand_in(folder: Path, name: str, text: str) -> Path:
    """A program of that name that does something else."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


ALONE = """#!/bin/bash
for word; do shift; case $word in --ntasks=*) ranks=${word#*=} ;; --kill*) break ;; esac; done
for ((rank = 0; rank < ranks; rank++)); do "$@" & done
wait
"""


def test_ranks_that_think_they_are_alone_are_told_of_the_launcher(tmp_path: Path) -> None:
    srun = stand_in(tmp_path, "srun", ALONE)
    with batch(tmp_path, "print('never')", launcher=[str(srun)]) as live:
        failure = failed(live)
    assert failure["cause"] == "mpi-mismatch"
    assert failure["what"].startswith("3 ranks were started, but each thinks that there are 1")
    assert "MPICH" in failure["what"] and "[mpi] launcher" in failure["hint"]
    assert "never" not in live.log


def test_ranks_that_never_meet_are_given_up(tmp_path: Path) -> None:
    srun = stand_in(tmp_path, "srun", "#!/bin/sh\nexec sleep 600\n")
    with batch(tmp_path, "", launcher=[str(srun)], timeout=3) as live:
        failure = failed(live)
    assert failure["cause"] == "mpi-hangs" and "within 3 s" in failure["what"]


def test_a_launcher_that_ends_before_the_script_begins_is_told(tmp_path: Path) -> None:
    words = '#!/bin/sh\necho "srun: error: Couldn\'t find the specified plugin name" >&2; exit 1\n'
    srun = stand_in(tmp_path, "srun", words)
    with batch(tmp_path, "", launcher=[str(srun)]) as live:
        failure = failed(live)
    assert failure["cause"] == "mpi-failed"
    assert "Couldn't find the specified plugin" in live.log


def test_what_is_missing_is_told_before_any_rank_is_started(tmp_path: Path) -> None:
    with batch(tmp_path / "a", "", launcher=["no-such-launcher"]) as live:
        launcher = failed(live)
    assert launcher["cause"] == "no-launcher" and "no-such-launcher" in launcher["what"]
    with batch(tmp_path / "b", "", program="/no/such/script.py") as live:
        script = failed(live)
    assert script["cause"] == "no-script" and "/no/such/script.py" in script["what"]
    with batch(tmp_path / "c", "", memory=10**15) as live:
        memory = failed(live)
    assert memory["cause"] == "over-committed" and "1000000.0 GB" in memory["what"]
    hidden = tmp_path / "hidden"
    (hidden / "mpi4py").mkdir(parents=True)
    (hidden / "mpi4py" / "__init__.py").write_text(
        "class rc: pass\ndef __getattr__(name):\n"
        "    raise ImportError('libmpi.so.12: cannot open shared object file')\n"
    )
    path = f"{hidden}{os.pathsep}{Path(__file__).parents[2]}"
    with batch(tmp_path / "d", "", extra={"PYTHONPATH": path}) as live:
        library = failed(live)
    assert library["cause"] == "no-mpi" and "libmpi.so.12" in library["said"]


def test_an_environment_without_dask_mpi_is_told_by_name(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    python = str(tmp_path / "bare" / "bin" / "python")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "run.py").touch()
    work = tmp_path / "work"
    spec = {"program": str(work / "run.py"), "arguments": []}
    directory = make_session(tmp_path / "session", root_dir=str(work), batch=spec, block=BLOCK)
    with agent(directory, tmp_path / "home", python=python, module="batch") as live:
        failure = failed(live)
    assert failure["cause"] == "no-mpi"
    assert f"of {python} has no mpi4py and no dask-mpi" in failure["what"]
    assert sys.executable not in failure["what"]
