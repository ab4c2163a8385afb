"""Session records for tests."""

from __future__ import annotations

from typing import Any

from hpclaunch.sessions.record import Record
from tests.pure.plans import NONCE, loaded


def record(**facts: Any) -> Record:
    """A session of the small SLURM site, before anything happened to it; with other facts."""
    fields: dict[str, Any] = {
        "name": "big-1",
        "nonce": NONCE,
        "site": "big",
        "profile": loaded().site.model_dump(mode="json"),
        "target": {"kind": "openssh", "host": "login.big.example"},
        "created": 1_700_000_000.0,
        "job_name": f"hpclaunch-big-1-{NONCE}",
        "worker_job_name": f"hpclaunch-big-1-{NONCE}-w",
        "walltime": 3600,
        "scheduler": "slurm",
    }
    return Record(**{**fields, **facts})
