"""What starts the ranks of a job, and what launchers say of a rank's death."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpclaunch.node.failure import Failure
from hpclaunch.node.outside import DIRECTORY
from hpclaunch.node.ranks import command, death, hosts, role, surroundings_of
from hpclaunch.node.spec import Block

pytestmark = pytest.mark.pure

FILE = "/s/hosts"
MPICH, OPEN_MPI = "MPICH Version: 4.3.2", "Open MPI v4.1.4, package: Debian OpenMPI"


def block(nodes: int, launcher: tuple[str, ...] | None = None) -> Block:
    return Block(nodes, 2, 2, 1, 10**9, launcher)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A PATH with launchers of each kind that say what they are."""
    for name, words in (
        ("srun", "slurm 22.05"),
        ("mpiexec", "HYDRA build details:\n    Version: 4.3.2"),
        ("mpirun", "mpirun (Open MPI) 4.1.4"),
        ("prun", "something else"),
    ):
        file = tmp_path / name
        file.write_text(f"#!/bin/sh\necho '{words}'\n")
        file.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("library", "more", "wanted"),
    [
        (MPICH, {}, ["srun", "--mpi=pmi2"]),
        (OPEN_MPI, {}, ["srun", "--mpi=pmix"]),
        ("Intel(R) MPI Library 2021.9", {}, ["srun", "--mpi=pmi2"]),
        ("MPI VERSION    : CRAY MPICH version 8.1", {}, ["srun"]),
        ("Something new", {}, ["srun"]),
        (MPICH, {"SLURM_MPI_TYPE": "pmix"}, ["srun"]),
    ],
)
def test_srun_speaks_to_the_library_as_it_wants_to_be_spoken_to(path, library, more, wanted):
    surroundings = {"PATH": str(path), "SLURM_JOB_ID": "7", **more}
    argv, _ = command(block(1), library, surroundings, ["localhost"], FILE)
    assert argv[: len(wanted)] == wanted and not argv[len(wanted)].startswith("--mpi")
    assert "--ntasks=4" in argv and "--nodes=1" in argv and "--kill-on-bad-exit=1" in argv
    assert not any("distribution" in word for word in argv)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        # as 26.05 of Debian says it, 22.05, and something that is no list
        ("echo 'MPI plugin types are...'; printf '\\t%s\\n' none cray_shasta pmi2", "mpiexec"),
        ("{ echo 'MPI plugin types are...'; printf '\\t%s\\n' pmix pmi2 none; } >&2", "srun"),
        ("echo 'srun: error: no such thing' >&2; exit 1", "srun"),
    ],
)
def test_a_library_that_srun_does_not_speak_to_is_started_by_its_own_launcher(
    path, monkeypatch, said, wanted
):
    monkeypatch.setattr("sys.executable", "/no/such/environment/bin/python")
    (path / "srun").write_text(f"#!/bin/sh\n{said}\n")
    (path / "mpiexec").write_text("#!/bin/sh\necho 'mpiexec (OpenRTE) 4.1.4'\n")
    surroundings = {"PATH": f"{path}:/usr/bin:/bin", "SLURM_JOB_ID": "7"}
    argv, _ = command(block(2), OPEN_MPI, surroundings, ["c1", "c2"], FILE)
    assert argv[0] == wanted
    assert ("--mpi=pmix" in argv) == (wanted == "srun")


def test_the_first_node_has_the_scheduler_and_the_script_beside_its_workers(path):
    surroundings = {"PATH": str(path), "SLURM_JOB_ID": "7"}
    places = ["c1", "c2", "c3"]
    argv, text = command(block(3), MPICH, surroundings, places, FILE)
    assert "--distribution=arbitrary" in argv and "--ntasks=8" in argv
    assert text.split() == ["c1"] * 4 + ["c2"] * 2 + ["c3"] * 2
    argv, text = command(block(3, ("mpirun",)), OPEN_MPI, surroundings, places, FILE)
    assert argv[:5] == ["mpirun", "--hostfile", FILE, "--map-by", "seq"]
    assert argv[-2:] == ["-n", "8"] and text.split() == ["c1"] * 4 + ["c2"] * 2 + ["c3"] * 2
    argv, text = command(block(3, ("mpiexec",)), MPICH, surroundings, places, FILE)
    assert argv == ["mpiexec", "-f", FILE, "-n", "8"]
    assert text.split() == ["c1:4", "c2:2", "c3:2"]


def test_an_unknown_or_missing_launcher_is_told(path):
    for launcher, words in (("prun", "no launcher that we know"), ("jsrun", "is not here")):
        with pytest.raises(Failure, match=words) as told:
            command(block(1, (launcher,)), MPICH, {"PATH": str(path)}, ["localhost"], FILE)
        assert told.value.cause == "no-launcher" and "[mpi] launcher" in told.value.hint


@pytest.mark.parametrize("inside", [False, True])
def test_the_profiles_launcher_is_taken_in_an_image_by_its_name(path, tmp_path, inside):
    """Inside, a program of the same name stands in PATH that runs the one outside."""
    named = "/only/outside/mpirun" if inside else str(path / "mpirun")
    surroundings = {"PATH": str(path), **({DIRECTORY: str(tmp_path)} if inside else {})}
    argv, _ = command(block(1, (named, "--x")), OPEN_MPI, surroundings, ["localhost"], FILE)
    assert argv[:2] == ["mpirun" if inside else named, "--x"]


def test_srun_does_not_see_the_options_of_the_job():
    job = {"SLURM_NTASKS": "1", "SLURM_CPUS_PER_TASK": "4", "SLURM_JOB_ID": "7", "A": "b"}
    kept = surroundings_of(["/usr/bin/srun"], job, FILE, True)
    assert kept == {"SLURM_JOB_ID": "7", "A": "b", "SLURM_HOSTFILE": FILE}
    assert surroundings_of(["mpirun"], job, FILE, True) == job


def test_one_node_needs_no_names():
    assert hosts({"SLURM_JOB_NODELIST": "c1"}, 1) == ["localhost"]
    assert hosts({}, 1) == ["localhost"]
    assert hosts({"PBS_NODEFILE": "/no/such/file"}, 1) == ["localhost"]
    assert hosts({}, 2) == ["localhost"], "without a scheduler there is one"


@pytest.mark.parametrize("name", ["PBS_NODEFILE", "LSB_DJOB_HOSTFILE"])
def test_the_file_of_the_nodes_names_each_as_often_as_it_has_slots(tmp_path, name):
    """As PBS wrote it for ``select=2:ncpus=3:mpiprocs=2``."""
    file = tmp_path / "nodes"
    file.write_text("pbs-c1.pbsnet\npbs-c1.pbsnet\npbs-c2.pbsnet\npbs-c2.pbsnet\n")
    assert hosts({name: str(file)}, 2) == ["pbs-c1.pbsnet", "pbs-c2.pbsnet"]
    with pytest.raises(Failure, match="has 2 nodes, not 3"):
        hosts({name: str(file)}, 3)
    with pytest.raises(Failure, match="nodes are not known"):
        hosts({name: str(tmp_path / "none")}, 2)


def test_an_lsf_without_such_a_file_tells_hosts_and_slots_in_turn():
    """Recorded with volclava 2.2, the blank at the end included."""
    assert hosts({"LSB_MCPU_HOSTS": "lsf-c2 2 lsf-c1 2 "}, 2) == ["lsf-c2", "lsf-c1"]


HYDRA = """
===================================================================================
=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES
=   RANK 2 PID 4711 RUNNING AT node17
=   KILLED BY SIGNAL: 9 (Killed)
===================================================================================
"""
HYDRA_5 = HYDRA.replace("RANK 2 ", "").replace("KILLED BY SIGNAL: 9 (Killed)", "EXIT CODE: 9")
OPEN = "mpirun noticed that process rank 1 with PID 0 on node c1 exited on signal 9 (Killed).\n"


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (
            "srun: error: c2: task 3: Killed\n",
            ("a Dask worker (rank 3) on c2", "Killed", 3),
        ),
        (
            "srun: error: c1: tasks 0-1: Exited with exit code 1\n"
            "srun: error: c2: task 3: Killed\n",
            ("the Dask scheduler (rank 0) on c1", "Exited with exit code 1", 0),
        ),
        (HYDRA, ("a rank", "KILLED BY SIGNAL: 9 (Killed)", None)),
        (HYDRA_5, ("a rank", "EXIT CODE: 9", None)),
        (OPEN, ("the script (rank 1) on c1", "exited on signal 9 (Killed)", 1)),
        ("slurmstepd: error: *** STEP 7.0 ON c1 CANCELLED AT 2026 ***\n", None),
        ("", None),
    ],
)
def test_the_rank_that_died_first_is_read_from_the_log(log, found):
    assert death("words of the script\n" + log, 2) == found


def test_ranks_have_names():
    assert role(0, 2) == role(0, 1) == "the Dask scheduler (rank 0)"
    assert role(1, 2) == "the script (rank 1)"
    assert role(1, 1) == "a Dask worker (rank 1)", "a session has no script"
    assert role(17, 2) == "a Dask worker (rank 17)"
