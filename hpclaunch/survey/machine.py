"""What a login node itself tells: networks, file systems, modules, sshd, Pythons. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from hpclaunch.filesystems import kind_of_mount
from hpclaunch.survey.findings import (
    FoundEnvironment,
    FoundFilesystem,
    FoundInterface,
    Survey,
)
from hpclaunch.survey.report import Report

__all__ = ["read_machine"]

_KINDS = {"1": "ethernet", "32": "infiniband", "772": "loopback"}
_PACKAGES = ("jupyterlab", "jupyter-server-proxy", "distributed", "dask-jobqueue", "dask-mpi",
             "mpi4py", "xarray", "netCDF4")  # fmt: skip


def read_machine(survey: Survey, report: Report) -> Survey:
    """Add to a survey what the login node says of itself."""
    filesystems = tuple(_filesystems(report))
    return replace(
        survey,
        interfaces=tuple(_interfaces(report)),
        filesystems=filesystems,
        module_system=_module_system(report),
        modules=tuple(_module_names(report.out("modules.list") or "")),
        forwarding=_forwarding(report),
        node_ssh=_node_ssh(report),
        environments=tuple(_environments(report)),
        notes=(*survey.notes, *_notes(report)),
    )


def _interfaces(report: Report) -> Iterator[FoundInterface]:
    """Those that have an IPv4 address, in their order."""
    kinds: dict[str, str] = {}
    for line in (report.out("net.kinds") or "").splitlines():
        words = line.split()
        if len(words) >= 2:
            kinds[words[0]] = _KINDS.get(words[1], "")
    seen = set()
    for line in (report.out("net.addresses") or "").splitlines():
        match = re.match(r"\d+:\s+([^\s@]+)\S*\s+inet (\d+(?:\.\d+){3})", line, re.ASCII)
        virtual = match and re.match(r"(docker|br-|veth|virbr|cni|tun|tap)", match[1])
        if match and not virtual and match[1] not in seen:
            seen.add(match[1])
            yield FoundInterface(match[1], match[2], kinds.get(match[1], ""))


def _filesystems(report: Report) -> Iterator[FoundFilesystem]:
    for variable, answer in report.named("files").items():
        # df's heads and row, the path, and whether it can be written
        lines = answer.out.splitlines()
        if len(lines) != 4 or not lines[2].startswith("/"):
            continue
        row, path = lines[1].split(), lines[2]
        found = kind_of_mount(row[1]) if len(row) > 1 else None
        # A local kind says nothing sure: home may be the same directory everywhere by other means.
        shared = True if found is not None and found.shared else None
        kind = "" if found is None else found.name if shared else "local"
        writable = {"writable": True, "read-only": False}.get(lines[3].strip())
        yield FoundFilesystem(path, kind or "unknown", variable, shared, writable)


def _module_system(report: Report) -> str | None:
    answer = report.answers.get("modules.kind")
    if answer is None or answer.exit not in (0, 1):
        return None
    if not answer.good:
        return ""
    lmod = re.search(r"^lmod=(.+)$", answer.out, re.MULTILINE)
    return "lmod" if lmod else "environment modules"


def _module_names(text: str) -> Iterator[str]:
    """Names of modules that look like a Python; ``(default)`` and paths left out."""
    for line in text.splitlines():
        name = re.sub(r"\s*\((?:default|D|L)[^)]*\)$", "", line.strip()).rstrip("/")
        if name and not name.startswith("/") and " " not in name and not name.endswith(":"):
            yield name


def _forwarding(report: Report) -> bool | None:
    """By sshd's configuration: the first word counts, as for sshd; ``Match`` blocks are skipped."""
    answer = report.answers.get("ssh.server")
    if answer is None or answer.exit is None:
        return None
    inside = False
    for line in answer.out.splitlines():
        key, _, value = re.sub(r"[\s=]+", " ", line.strip()).lower().partition(" ")
        if key == "match":
            inside = True
        elif not inside and key == "allowtcpforwarding":
            return value in ("yes", "local", "all")
        elif not inside and key == "disableforwarding" and value == "yes":
            return False
    return None


def _node_ssh(report: Report) -> bool | None:
    """True where logins between hosts are by host; else it cannot be told from a login node."""
    answer = report.answers.get("ssh.client")
    for line in answer.out.splitlines() if answer else ():
        if re.fullmatch(r"\s*HostbasedAuthentication[\s=]+yes\s*", line, re.IGNORECASE):
            return True
    return None


def _environments(report: Report) -> Iterator[FoundEnvironment]:
    """The Pythons that ran, each installation once."""
    seen = set()
    for answer in report.named("python").values():
        facts = dict(line.partition("=")[::2] for line in answer.out.splitlines())
        python = answer.command.partition(" -I ")[0].strip()
        prefix = facts.get("prefix", python)
        if not answer.good or "python" not in facts or prefix in seen:
            continue
        seen.add(prefix)
        versions = {name: facts[name] for name in _PACKAGES if name in facts}
        yield FoundEnvironment(python, facts["python"], versions)


def _notes(report: Report) -> Iterator[str]:
    for answer in report.named("files").values():
        if not answer.good:
            yield answer.complaint
    if not report.complete:
        yield "the report is not whole: what comes behind its end is not known"
