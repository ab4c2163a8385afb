"""What sessions cost while nobody touches them: the site's scheduler, and the laptop.

One session that runs and one that waits, then twenty (as many run as the container cluster has room
for, the others wait). A round is a minute. What the scheduler was asked is counted by slurmctld
itself (``sdiag``, calls by alice), so nothing else of hers may run meanwhile. What the login node
was asked is counted by a stand-in for ssh that counts and then is ssh.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.table import Table
from tests.support.cluster import PROFILE, Cluster, bring_up
from tests.support.launch import Laptop, eventually, processes_with

ROUNDS = 10  # minutes
SETTLE = 60.0  # seconds from the last start to the first minute
MANY = 20
HOURLY = ("calls of slurmctld", "commands on the login node", "laptop: processor seconds")
_SSH = """#!/bin/sh
case " $* " in *" -O "*) ;; *) echo "$*" >>{log} ;; esac
exec {ssh} "$@"
"""
_NODES = "2"
_ALL_OF_A_NODE = "4"


@dataclass(frozen=True)
class CountingLaptop(Laptop):
    """A laptop whose ssh counts the commands it sends to a site."""

    @property
    def environment(self) -> dict[str, str]:
        inherited = super().environment
        return {**inherited, "PATH": f"{self.home / 'bin'}:{inherited['PATH']}"}

    @property
    def log(self) -> Path:
        return self.home / "commands"

    def prepare(self) -> None:
        """Put the stand-in on the PATH."""
        (self.home / "bin").mkdir()
        stand_in = self.home / "bin" / "ssh"
        stand_in.write_text(_SSH.format(log=self.log, ssh=shutil.which("ssh")))
        stand_in.chmod(0o700)
        self.log.touch()

    def commands(self) -> int:
        """Commands sent so far."""
        return len(self.log.read_text().splitlines())

    def processes(self) -> list[int]:
        """The keeper, its ssh, and the commands that hold a terminal."""
        return processes_with(str(self.home))


def run(rounds: int) -> list[Table]:
    """A table for two sessions and one for twenty, of `rounds` minutes each."""
    cluster = bring_up()
    return [measure(cluster, rounds, 2), measure(cluster, rounds, MANY)]


def measure(cluster: Cluster, minutes: int, sessions: int) -> Table:
    """Start the sessions, let them settle, and look every minute."""
    with tempfile.TemporaryDirectory(prefix="hpcl-", dir="/tmp") as home:
        laptop = CountingLaptop(Path(home))
        laptop.prepare()
        starts = []
        try:
            laptop.start(str(PROFILE), "--workers", "0")
            # Two whole nodes can be had by none while the first session runs.
            sizes = [("--nodes", _NODES, "--cores", _ALL_OF_A_NODE)]
            sizes = [*[("--cores", "1")] * (sessions - 2), *sizes]
            for size in sizes:
                starts.append(
                    laptop.spawn("start", str(PROFILE), "--workers", "0", "--no-browser", *size)
                )
                time.sleep(1)
            eventually(lambda: len(submitted(laptop)) == sessions, timeout=120)
            time.sleep(SETTLE)
            states = [one["state"] for one in laptop.sessions().values()]
            words = ", ".join(f"{states.count(word)} {word}" for word in sorted(set(states)))
            found = [minute(cluster, laptop) for _ in range(minutes)]
        finally:
            laptop.run("stop", "--all")
            for process in starts:
                process.communicate(timeout=60)
    return Table(f"load, a minute each: {sessions} sessions ({words})", found, hourly=HOURLY)


def submitted(laptop: Laptop) -> list[str]:
    """The sessions that have a job."""
    return [one["name"] for one in laptop.sessions().values() if one["job"]]


def minute(cluster: Cluster, laptop: CountingLaptop) -> dict[str, float]:
    """What one minute costs. The memory is what it is at its end."""
    counters: dict[str, Callable[[], float]] = {
        HOURLY[0]: lambda: scheduler_calls(cluster),
        HOURLY[1]: laptop.commands,
        HOURLY[2]: lambda: sum(map(processor, laptop.processes())),
    }
    before = {name: count() for name, count in counters.items()}
    time.sleep(60)
    out = {name: count() - before[name] for name, count in counters.items()}
    out["laptop: memory of all, MB (PSS)"] = sum(map(memory, laptop.processes()))
    keepers = laptop.keepers()
    out["laptop: memory of the keeper, MB"] = sum(map(memory, keepers))
    return out


def scheduler_calls(cluster: Cluster) -> int:
    """Calls of slurmctld by alice so far."""
    said = cluster.root("controller", "sdiag")
    by_user = said.partition("statistics by user")[2]
    found = re.search(r"^\s*alice\s*\(\s*\d+\)\s*count:(\d+)", by_user, re.MULTILINE)
    return int(found[1]) if found else 0


def processor(number: int) -> float:
    """Processor seconds of a process and of its children that have ended."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def memory(number: int) -> float:
    """Megabytes of a process, what it shares with others in part."""
    try:
        text = Path(f"/proc/{number}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else 0.0
