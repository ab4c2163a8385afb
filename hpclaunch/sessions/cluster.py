"""Ask a session's Dask cluster, through the tunnel and behind Jupyter's login."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from hpclaunch.errors import HpclaunchError, SessionError
from hpclaunch.node.layout import CLUSTER_PAGE
from hpclaunch.sessions.record import Record

__all__ = ["arrival_rows", "arrival_words", "ask_cluster", "cluster_lines", "present_words"]

_PATIENCE = 190.0  # seconds: the holder's own patience with the scheduler, and a little


def ask_cluster(
    record: Record, token: str, request: dict[str, int] | None = None, *, timeout: float = _PATIENCE
) -> dict[str, Any]:
    """Ask the cluster how it is, or for more or fewer workers.

    Parameters
    ----------
    record : Record
        A session that answers through its tunnel.
    token : str
        Jupyter's.
    request : dict, optional
        ``{"workers": N}`` or ``{"minimum": A, "maximum": B}``.
    timeout : float
        Seconds.

    Returns
    -------
    dict
        As `hpclaunch.clusters.elastic.BatchCluster.document` describes it.

    Raises
    ------
    HpclaunchError
        If the scheduler refused jobs (with its words), the site allows fewer, the session holds
        no cluster, or nothing answers.
    """
    asked = urllib.request.Request(
        f"{record.url}{CLUSTER_PAGE}",
        data=None if request is None else json.dumps(request).encode(),
        headers={"Authorization": f"token {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=timeout) as reply:
            answer = json.loads(reply.read())
    except urllib.error.HTTPError as error:
        if error.code == 404:
            raise SessionError(
                f"session {record.name} holds no Dask cluster that can be asked",
                hint="`hpclaunch start --workers N` starts a session with one; "
                f"`hpclaunch logs {record.name}` says what this one lacks",
            ) from error
        raise SessionError(
            f"session {record.name} did not take the request: {error}",
            hint=f"`hpclaunch logs {record.name}` shows what the session says",
        ) from error
    except (OSError, ValueError) as error:
        raise SessionError(
            f"session {record.name} does not answer: {error}",
            hint=f"`hpclaunch status {record.name}` says how it is",
        ) from error
    if "error" in answer:
        raise HpclaunchError.from_dict(answer["error"])
    return dict(answer["cluster"])


def cluster_lines(document: dict[str, Any]) -> list[str]:
    """What people read about a cluster: workers in one line, then jobs that are alike in one each.

    Parameters
    ----------
    document : dict
        As `ask_cluster` returns it.
    """
    bounds = document["adaptive"]
    asked = (
        f"between {bounds['minimum']} and {bounds['maximum']} as the computation needs them"
        if bounds
        else f"{document['workers']} asked for"
    )
    memory = f"{document['memory'] / 10**9:.2f} GB"
    lines = [
        f"dask: {document['present']} workers here, {asked}; each has {document['threads']} "
        f"threads and may use {memory}"
    ]
    if document["job_memory"]:
        lines[0] += f" (a job asks the scheduler for {document['job_memory'] / 10**9:.2f} GB)"
    for (state, reason, start), ids in _alike(document).items():
        lines.append(f"  {_together(ids)}: {_words(state, reason, start)}")
    if document["problem"]:
        lines.append(f"  the scheduler refused more: {document['problem']}")
    if document.get("waits"):  # a session of an older release has none
        lines.append(f"  {document['waits']}")
    return lines


def present_words(document: dict[str, Any]) -> str:
    """How many workers are there, and how many were asked for."""
    asked = document["workers"]
    return f"{document['present']}{'' if asked is None else f' of {asked}'} workers are here"


def arrival_words(document: dict[str, Any]) -> str:
    """How far the workers that were asked for have come, in one line.

    Parameters
    ----------
    document : dict
        As `ask_cluster` returns it.
    """
    words = [present_words(document)]
    for (state, reason, start), ids in _alike(document).items():
        if state != "running":
            words.append(f"{len(ids)} jobs {_words(state, reason, start)}")
    words += [f"refused: {document['problem']}"] if document["problem"] else []
    words += [document["waits"]] if document.get("waits") else []
    return "; ".join(words)


def arrival_rows(document: dict[str, Any], most: int) -> list[tuple[str, str, str, str, str]]:
    """The worker jobs as rows of a table: job, state, reason, expected start, workers.

    Parameters
    ----------
    document : dict
        As `ask_cluster` returns it.
    most : int
        Most rows. Where there are more jobs, those that are alike are one row; where that is not
        enough, those in the same state; and of more states than that the last are left out.
    """
    jobs = document["jobs"]
    rows: list[tuple[str, str, str, str, str]] = []
    for alike in (_by_job, _by_kind, _by_state):
        rows = [
            (_together([job["id"] or "?" for job in same]), *key[1:], _workers_of(same))
            for key, same in _grouped(jobs, alike).items()
        ]
        if len(rows) <= most:
            break
    return rows[:most]


_Key = tuple[str, str, str, str]


def _by_job(job: dict[str, Any]) -> _Key:
    return job["name"], job["state"], job["reason"], _start_of(job)


def _by_kind(job: dict[str, Any]) -> _Key:
    return "", job["state"], job["reason"], _start_of(job)


def _by_state(job: dict[str, Any]) -> _Key:
    return "", job["state"], "", ""


def _grouped(
    jobs: list[dict[str, Any]], alike: Callable[[dict[str, Any]], _Key]
) -> dict[_Key, list[dict[str, Any]]]:
    found: dict[_Key, list[dict[str, Any]]] = {}
    for job in jobs:
        found.setdefault(alike(job), []).append(job)
    return found


def _workers_of(jobs: list[dict[str, Any]]) -> str:
    return str(sum(job["workers"] for job in jobs))


def _start_of(job: dict[str, Any]) -> str:
    return (job["expected_start"] or "").replace("T", " ")


def _together(ids: list[str]) -> str:
    return ids[0] if len(ids) == 1 else f"{len(ids)} jobs ({ids[0]} … {ids[-1]})"


def _alike(document: dict[str, Any]) -> dict[tuple[str, str, str], list[str]]:
    """The ids of jobs that are in the same state, for the same reason, with the same start."""
    return {
        key[1:]: [job["id"] or "?" for job in same]
        for key, same in _grouped(document["jobs"], _by_kind).items()
    }


def _words(state: str, reason: str, start: str) -> str:
    return (
        state
        + (f" ({reason})" if reason else "")
        + (f", expected to start {start}" if start else "")
    )
