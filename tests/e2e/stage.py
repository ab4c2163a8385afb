"""What a failure needs to be brought about, and what is looked at afterwards."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpclaunch.node.layout import Layout
from tests.e2e.conftest import Place
from tests.support.cluster import DOCKER, Cluster
from tests.support.launch import Laptop, eventually, processes_with

__all__ = ["SlurmsWords", "Stage"]

_SQUEUE = """
while timeout 5 squeue -h --states=all -o '%j|%T|%r' | grep "^hpclaunch-$1-"; date +now=%s.%N; do
    sleep 0.3
done
"""

_BASE = "paths.base="


@dataclass
class Stage:
    """One laptop, one site, one session's name."""

    laptop: Laptop
    place: Place
    name: str
    folder: Path
    after: contextlib.ExitStack
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    bases: set[str] = field(default_factory=lambda: {"~/.hpclaunch"})

    @property
    def cluster(self) -> Cluster:
        """The cluster, for what happens only there."""
        assert self.place.cluster is not None
        return self.place.cluster

    @property
    def home(self) -> str:
        """A directory of this test on the site."""
        return str(self.folder / "site") if self.place.is_local else f"/home/alice/fx-{self.name}"

    def start(self, *options: str) -> subprocess.Popen[str]:
        """`hpclaunch start` in the foreground, its stderr in a file."""
        given = [one.removeprefix(_BASE) for one in options if one.startswith(_BASE)]
        self.bases |= set(given)
        err = (self.folder / f"err{len(self.started)}").open("w")
        process = self.laptop.spawn(
            "start", self.place.site, "--name", self.name, "--json", "--no-browser",
            "--workers", "0", *self.place.options, *options,
            stderr=err,
        )  # fmt: skip
        err.close()
        self.started.append(process)
        return process

    def batch(self, script: str, *options: str) -> subprocess.Popen[str]:
        """`hpclaunch batch --wait` with a script: a path of the site, or the text of one."""
        if not script.startswith("~/"):
            (self.folder / "run.py").write_text(script)
            script = str(self.folder / "run.py")
        with (
            (self.folder / "out").open("w") as out,
            (self.folder / f"err{len(self.started)}").open("w") as err,
        ):
            process = self.laptop.spawn(
                "batch", self.place.site, script, "--wait", "--name", self.name,
                *self.place.options, *options,
                stdout=out, stderr=err,
            )  # fmt: skip
        self.started.append(process)
        return process

    def output(self) -> str:
        """What the batch's job has said so far."""
        return (self.folder / "out").read_text()

    def told(self) -> str:
        """What the last start has told so far."""
        return (self.folder / f"err{len(self.started) - 1}").read_text()

    def ready(self, *options: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        """A start that has printed where its server is."""
        process = self.start(*options)
        return process, self.document(process)

    def document(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """What a start prints when it is ready."""
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, self.told()
        document: dict[str, Any] = json.loads(line)
        return document

    def record(self) -> dict[str, Any]:
        """The session's record; empty where there is none."""
        try:
            record: dict[str, Any] = json.loads(
                (self.laptop.home / "state" / "sessions" / self.name / "record.json").read_text()
            )
        except FileNotFoundError:
            return {}
        return record

    def await_running(self) -> dict[str, Any]:
        """Wait until the job runs, and return the record."""
        record: dict[str, Any] = eventually(
            lambda: (one := self.record()) and one["ran_at"] and one, timeout=120, what="it runs"
        )
        return record

    def await_log(self, word: str) -> None:
        """Wait until the job's log holds a word."""
        self.await_running()
        eventually(lambda: word in self.laptop.run("logs", self.name).stdout, timeout=60, what=word)

    def put(self, name: str, text: str) -> str:
        """A file of this test on the site; returns its directory."""
        if self.place.is_local:
            Path(self.home).mkdir(exist_ok=True)
            (Path(self.home) / name).write_text(text)
        else:
            self.cluster.ssh(
                f"mkdir -p {self.home} && cat >{self.home}/{name} && chmod 755 {self.home}/{name}",
                stdin=text.encode(),
            )
            self.after.callback(self.cluster.ssh, f"rm -rf {self.home}")
        return self.home

    def on_node(self, pattern: str) -> list[tuple[str, str]]:
        """Processes of the session on compute nodes: node and number."""
        found = []
        for node in ("c1", "c2"):
            text = self.cluster.root(node, "pgrep", "-f", pattern, check=False)
            found += [(node, number) for number in text.split()]
        return found

    def leaves_nothing(self) -> None:
        """No job, no secret, no process; raises where something is left."""
        if self.place.cluster is not None:
            jobs = [job for job in self.cluster.jobs() if f" hpclaunch-{self.name}-" in job]
            assert jobs == []
            for base in self.bases:
                found = self.cluster.files(f"{base}/sessions", f"-path '*/{self.name}-*'")
                assert not [path for path in found if _is_secret(path, self.name)], found
            eventually(
                lambda: not self.on_node(f"sessions/{self.name}-"), what="no process on a node"
            )
        eventually(lambda: not processes_with(str(self.laptop.home)), what="no process is left")
        self._no_secret_on_the_laptop()  # now that nobody can write any more

    def _no_secret_on_the_laptop(self) -> None:
        folder = self.laptop.home / "state" / "sessions" / self.name
        left = {path.name for path in folder.iterdir()} if folder.exists() else set()
        assert left <= {"record.json", "program"}, left
        for path in self.laptop.home.rglob("*"):
            if path.is_file() and path.suffix != ".py":
                assert b"PRIVATE KEY" not in path.read_bytes(), path
            if self.place.is_local:
                assert not _is_secret(str(path), self.name), path


def _is_secret(path: str, name: str) -> bool:
    inside = re.search(rf"/sessions/{name}-[0-9a-f]{{8}}/(.*)", path)
    return inside is not None and inside[1].split("/")[0] in {
        secret.split("/")[0] for secret in Layout.SECRETS
    }


class SlurmsWords:
    """Notes when Slurm first showed what of a session's job; a context manager."""

    def __init__(self, name: str) -> None:
        self._seen: list[tuple[float, str]] = []
        self._looks: list[float] = []
        self._process = subprocess.Popen(
            ["ssh", "-F", str(DOCKER / "run" / "ssh_config"), "hpclaunch-login",
             "bash", "-s", name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(_SQUEUE)
        self._process.stdin.close()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> SlurmsWords:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        rows: list[str] = []
        for line in self._process.stdout:
            if line.startswith("now="):
                # The moment behind the answer: what it shows was shown before.
                now = float(line.removeprefix("now="))
                self._seen += [(now, row) for row in rows]
                self._looks.append(now)
                rows = []
            else:
                rows.append(line.partition("|")[2].strip())

    def look_after(self, moment: float) -> None:
        """Wait until a look that began after `moment`, in seconds since the epoch, is noted."""
        # The first that ended later may have begun earlier.
        eventually(
            lambda: sum(look > moment for look in list(self._looks)) >= 2,
            timeout=60,
            what="Slurm is looked at",
        )

    def first(self, pattern: str) -> float | None:
        """Seconds since the epoch at which a row that begins with `pattern` was first there."""
        return next((when for when, row in self._seen if re.match(pattern, row)), None)

    def all(self) -> list[str]:
        """Every row once, in order."""
        return list(dict.fromkeys(row for _, row in self._seen))


def wait(seconds: float, until: Callable[[], bool]) -> None:
    """Wait at most so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not until():
        time.sleep(0.1)
