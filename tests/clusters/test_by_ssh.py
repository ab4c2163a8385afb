"""Worker jobs submitted from a node by ssh to the login node: a real sshd on loopback."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hpclaunch.clusters.submitter import Submitter
from hpclaunch.clusters.ways import Commands, by_ssh, here
from hpclaunch.errors import SchedulerError, SubmitError
from hpclaunch.schedulers.base import JobSpec, JobState
from hpclaunch.schedulers.slurm import Slurm as Scheduler
from hpclaunch.units import Walltime
from tests.clusters.fakes import Fake
from tests.transports.sshd_process import Sshd, make_key

pytestmark = pytest.mark.local

SCRIPT = "#!/bin/bash\nexec sleep 600\n"


@dataclass
class Node:
    """A compute node: its ssh, which finds the login node, and no scheduler.

    Attributes
    ----------
    login : Sshd
        The login node, where the scheduler is found by the prologue only.
    """

    login: Sshd
    slurm: Fake
    folder: Path

    @property
    def surroundings(self) -> dict[str, str]:
        return {"PATH": f"{self.folder / 'bin'}:{os.defpath}"}

    def way(self) -> Commands:
        prologue = [f"export PATH='{self.slurm.path}'", "echo some chatter"]
        control = str(self.folder / "control")
        return Commands(Scheduler(), by_ssh("login", prologue, self.surroundings, control))

    def spec(self, copies: int = 1) -> JobSpec:
        log = f"{self.folder}/logs/"
        return JobSpec("demo-w", log, Walltime(600), copies=copies)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """One that the login node lets in."""
    slurm = Fake.install(tmp_path / "slurm")
    login = Sshd(tmp_path / "sshd")
    folder = Path(tempfile.mkdtemp(prefix="hpcl-", dir="/tmp"))  # names of sockets are short
    (folder / "logs").mkdir()
    key = make_key(folder / "key")
    login.authorize(key)
    (folder / "known").write_text(login.known_line)
    (folder / "config").write_text(
        f"Host login\n  HostName 127.0.0.1\n  Port {login.port}\n  IdentityFile {key}\n"
        f"  IdentityAgent none\n  UserKnownHostsFile {folder / 'known'}\n"
    )
    (folder / "bin").mkdir()
    program = folder / "bin" / "ssh"
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder / "config"} "$@"\n')
    program.chmod(0o755)
    login.start()
    one = Node(login, slurm, folder)
    yield one
    control = f"ControlPath={folder / 'control'}"
    subprocess.run([program, "-o", control, "-O", "exit", "login"], capture_output=True)
    login.stop()
    slurm.kill()
    shutil.rmtree(folder)


def test_everything_goes_through_one_connection(node: Node) -> None:
    async def story() -> None:
        submitter = Submitter(Scheduler(), "demo-w", node.way())
        script = lambda spec, names: SCRIPT + f"# {names}\n"  # noqa: E731
        spec = node.spec()
        ids = await asyncio.gather(
            *(submitter.submit(spec, name, script) for name in ("it's", "$(two)"))
        )
        assert ids == ["1_0", "1_1"]
        assert str(node.slurm.jobs["1_0"]["script"]).endswith("# [\"it's\", '$(two)']\n")
        states = await submitter.status(ids)
        assert {state.state for state in states.values()} == {JobState.RUNNING}
        await submitter.cancel(["1_0"])
        assert node.slurm.cancelled == {"1_0"}
        await submitter.cancel_all()
        assert node.slurm.cancelled == {"1_0", "1_1"}

    asyncio.run(story())
    assert node.login.logins() == 1


def test_the_schedulers_refusal_is_the_schedulers(node: Node) -> None:
    node.slurm.refuse("sbatch: error: Invalid account")
    with pytest.raises(SubmitError) as caught:
        asyncio.run(node.way().submit(node.spec(), SCRIPT))
    assert caught.value.said == "sbatch: error: Invalid account"


def test_a_login_node_that_lets_nobody_in_is_told(node: Node) -> None:
    node.login.authorized.write_text("")
    with pytest.raises(SubmitError, match="ssh from this node to login did not work") as caught:
        asyncio.run(node.way().submit(node.spec(), SCRIPT))
    assert "Permission denied" in caught.value.what and caught.value.said is None
    assert "without a question" in caught.value.hint and '"laptop"' in caught.value.hint


def test_an_unknown_host_key_is_refused(node: Node) -> None:
    (node.folder / "known").write_text("")
    with pytest.raises(SubmitError) as caught:
        asyncio.run(node.way().submit(node.spec(), SCRIPT))
    assert "Host key verification failed" in caught.value.what
    assert (node.folder / "known").read_text() == "", "and not learned"


def test_a_connection_that_breaks_leaves_the_job_in_doubt(node: Node) -> None:
    """sbatch may have done its work: the job is looked for by its name."""
    node.slurm.delay(1.5)

    async def story() -> None:
        submitter = Submitter(Scheduler(), "demo-w", node.way())
        asked = asyncio.ensure_future(submitter.submit(node.spec(), "x", lambda *_: SCRIPT))
        while "sbatch" not in node.slurm.calls:
            await asyncio.sleep(0.05)
        node.login.sever()
        with pytest.raises(SchedulerError, match="broke during a command") as caught:
            await asked
        assert not isinstance(caught.value, SubmitError)
        assert submitter.may_have_strays
        node.slurm.hold("Priority")
        await node.way().submit(node.spec(), SCRIPT)
        await submitter.cancel_strays()
        assert node.slurm.cancelled == set(node.slurm.jobs)

    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_node_without_commands_is_told_what_the_profile_may_say(node: Node) -> None:
    (node.folder / "env").symlink_to("/usr/bin/env")
    way = Commands(Scheduler(), here({"PATH": str(node.folder)}))
    with pytest.raises(SubmitError, match="not found on this node") as caught:
        asyncio.run(way.submit(node.spec(), SCRIPT))
    assert "dask.submit" in caught.value.hint and "sbatch" in caught.value.what


def test_a_login_node_without_commands_is_told_too(node: Node) -> None:
    run = by_ssh("login", [], node.surroundings, str(node.folder / "control"))
    with pytest.raises(SubmitError, match="not found on login") as caught:
        asyncio.run(Commands(Scheduler(), run).submit(node.spec(), SCRIPT))
    assert "login.prologue" in caught.value.hint
