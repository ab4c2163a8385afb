"""Reports of a survey, put together from what real schedulers were recorded to say."""

from __future__ import annotations

import re
from pathlib import Path

from hpclaunch.survey.findings import Survey
from hpclaunch.survey.take import read_survey
from tests.transcripts.reader import records

CONTAINERS = Path(__file__).parents[1] / "transcripts" / "surveys" / "containers.txt"

SITE = {
    "site.host": "login1",
    "site.full": "login1.cluster.example",
    "site.user": "alice",
    "site.groups": "alice users",
    "site.home": "/home/alice",
    "site.day": "2026-11-25",
}
PYTHON = """python=3.11.2
prefix=/opt/env
jupyterlab=4.6.6
jupyter-server-proxy=4.6.0
distributed=2026.8.0
dask-jobqueue=0.9.0"""


def report(answers: dict[str, str], *, end: bool = True) -> str:
    """The text of a report: `answers` by the names of their questions, all of exit 0."""
    parts = ["hpclaunch-survey 1"]
    for name, out in {**SITE, **answers}.items():
        command = "/opt/env/bin/python -I look.py" if name.startswith("python.") else f"ask {name}"
        parts += [f"@ {name}: {command}", *(f"| {line}" for line in out.splitlines()), "= 0"]
    return "\n".join([*parts, *(["@ end"] if end else [])]) + "\n"


def said(release: str, topic: str, command: str) -> str:
    """What a recorded command printed."""
    return next(one.stdout for one in records(release, topic) if one.command == command)


def slurm_answers(release: str) -> dict[str, str]:
    """The answers of a recorded Slurm, its rows in the order in which a survey asks for them."""

    def site(command: str) -> str:
        return said(release, "01_site", command)

    nodes = []
    for line in site('sinfo -h -o "%P|%a|%l|%D|%t|%N|%c|%m|%G"').splitlines():
        partition, _, _, number, _, _, cores, memory, gres = line.split("|")
        nodes.append("~|~".join([partition, number, cores, memory, gres, "(null)"]))
    return {
        "slurm.version": site("sinfo -V"),
        "slurm.config": site("scontrol show config"),
        "slurm.partitions": re.sub(r"\n +", " ", site("scontrol show partition")),
        "slurm.nodes": "\n".join(nodes),
        "slurm.reserved": "",
        "accounts.user": "alice|proj1",
        "accounts.assoc": "tb|proj1|||||normal,tiny|",
        "accounts.qos": "normal||||\ntiny|00:02:00|||",
    }


def pbs_answers(release: str) -> dict[str, str]:
    """The answers of a recorded OpenPBS."""
    return {
        "pbs.server": said(release, "01_server", "qstat -B -f"),
        "pbs.queues": said(release, "02_queues", "qstat -Q -f"),
        "pbs.nodes": said(release, "03_nodes", "pbsnodes -a"),
    }


def lsf_answers() -> dict[str, str]:
    """The answers of the recorded volclava."""
    release = "volclava-2.2.0-beta"
    return {
        "lsf.id": said(release, "00_version", "lsid"),
        "lsf.queues": said(release, "02_queues", "bqueues -l"),
        "lsf.hosts": said(release, "03_hosts", "bhosts -w"),
        "lsf.machines": said(release, "00_version", "lshosts -w"),
        "lsf.params_long": said(release, "03_hosts", "bparams -l"),
    }


def surveyed(answers: dict[str, str]) -> Survey:
    """What a report with these answers is read as."""
    return read_survey(report(answers))
