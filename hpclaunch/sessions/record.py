"""A session's record: what the laptop knows of it. Its state is derived from the facts, never
stored. See `hpclaunch.sessions.book` for where records are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

__all__ = ["Record", "State", "as_of_text"]

State = Literal[
    "planned",
    "queued",
    "starting",
    "ready",
    "unreachable",
    "ending",
    "ended",
    "failed",
    "lost",
]
_OVER: frozenset[State] = frozenset({"ended", "failed", "lost"})


@dataclass(frozen=True)
class Record:
    """What the laptop knows of one session.

    Attributes
    ----------
    name, nonce, site : str
    profile : dict
        The site as it was when the session was planned (`Site.model_dump`).
    target : dict
        How to get there (`Target` as a dict and the transport's kind).
    created : float
        Seconds since the epoch.
    job_name, worker_job_name : str
        Unique on the site.
    walltime : int
        Seconds.
    dask : dict or None
        ``{"mode", "workers"}`` as planned.
    workers : dict or None
        One worker job as planned, where the laptop submits them: ``{"cores", "memory"`` (bytes),
        ``"walltime"`` (seconds), ``"queue", "account", "qos", "extra", "max_jobs"}``.
    orders : dict
        What the laptop has done for the session: ``{"done"`` (the last order's number),
        ``"jobs"`` (the copies of each submission that may live, by its id)``}``.
    batch : dict or None
        Of a batch job, all that is needed to run it again (``batch.json`` on the site):
        ``{"script", "arguments", "sent", "sha256", "ranks", "environment", "request",
        "profile_file", "hpclaunch"}``. None for a session.
    base, lib_dir, session_dir : str
        Absolute paths on the site, empty before the first look at it.
    submitting : float or None
        When the submit command was about to be sent; from then on a job may exist.
    job_id : str or None
    job : dict
        The scheduler's last word: ``state, word, reason, expected_start, nodes``.
    as_of : float
        When the site was last heard.
    ran_at : float or None
        When the job was first seen to run.
    rendezvous : dict or None
        What the agent wrote, once the server answered on the node.
    port : int or None
        The laptop's port, kept for the session's whole life.
    tunnel : bool
        Whether the server was last seen to answer through the tunnel.
    trouble : str or None
        Why the session cannot be reached at present.
    outage : dict or None
        The last time it could not be reached: ``{"why", "began"}``.
    outcome : dict or None
        Set once it is over: ``{"state": "ended"|"failed"|"lost", "error": dict or None}``,
        a ``"reason"`` in words where it ended by itself, the ``"exit"`` code of a batch's script
        and the ``"outputs"`` of a notebook (paths on the site), and ``"untidy"``, why a job or a
        secret may be left on the site, where that is so.
    stopping : bool
        Whether somebody asked for its end.
    timings : dict
        Seconds of each phase of the start.
    """

    name: str
    nonce: str
    site: str
    profile: dict[str, Any]
    target: dict[str, Any]
    created: float
    job_name: str
    worker_job_name: str
    walltime: int
    scheduler: str
    dask: dict[str, Any] | None = None
    workers: dict[str, Any] | None = None
    orders: dict[str, Any] = field(default_factory=dict)
    batch: dict[str, Any] | None = None
    base: str = ""
    lib_dir: str = ""
    session_dir: str = ""
    submitting: float | None = None
    job_id: str | None = None
    job: dict[str, Any] = field(default_factory=dict)
    as_of: float = 0.0
    ran_at: float | None = None
    rendezvous: dict[str, Any] | None = None
    port: int | None = None
    tunnel: bool = False
    trouble: str | None = None
    outage: dict[str, Any] | None = None
    outcome: dict[str, Any] | None = None
    stopping: bool = False
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """The session's state, derived from what is known."""
        if self.outcome is not None:
            state: State = self.outcome["state"]
            return state
        if self.stopping or self.job.get("state") == "ending":
            return "ending"
        if self.rendezvous is not None and self.tunnel:
            return "ready"
        if self.trouble is not None:
            return "unreachable"
        if self.rendezvous is not None and self.batch is not None:
            return "ready"
        if self.rendezvous is not None or self.job.get("state") in ("running", "suspended"):
            return "starting"
        return "planned" if self.submitting is None else "queued"

    @property
    def serves(self) -> bool:
        """Whether a server answers on its node, to which a tunnel leads; a batch has none."""
        return self.rendezvous is not None and self.batch is None

    @property
    def exit_code(self) -> int | None:
        """The exit code of a batch's script, once it has ended by itself."""
        return (self.outcome or {}).get("exit")

    @property
    def is_over(self) -> bool:
        """Whether nothing of it can come back."""
        return self.state in _OVER

    @property
    def untidy(self) -> str | None:
        """Why a job or a secret may be left on the site though it is over."""
        return (self.outcome or {}).get("untidy")

    @property
    def url(self) -> str | None:
        """The server's address on the laptop, without the token."""
        return f"http://127.0.0.1:{self.port}" if self.port else None

    @property
    def ends_at(self) -> datetime | None:
        """When the walltime is over, as the node said it."""
        text = (self.rendezvous or {}).get("ends_at")
        return datetime.fromisoformat(text) if text else None


def as_of_text(record: Record) -> str | None:
    """When the site was last heard, ISO 8601 with offset, or None."""
    return datetime.fromtimestamp(record.as_of, UTC).isoformat() if record.as_of else None
