"""When the job ends.

Standard library only, Python 3.9 or newer: this runs on the compute node.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Optional

from hpclaunch.node.spec import Session

__all__ = ["ends_at"]


def ends_at(
    session: Session, began: datetime, surroundings: Mapping[str, str]
) -> Optional[datetime]:
    """When the job ends, in UTC; None if it has no limit.

    Parameters
    ----------
    session : Session
    began : datetime
        When this job's own code began to run.
    surroundings : mapping
        The environment of the job. SLURM 22.05 and newer tell the end in SLURM_JOB_END_TIME
        (sbatch manual, OUTPUT ENVIRONMENT VARIABLES), exactly; our own clock starts seconds late.
    """
    told = surroundings.get("SLURM_JOB_END_TIME", "")
    if session.scheduler == "slurm" and told.isdigit() and int(told) > 0:
        return datetime.fromtimestamp(int(told), timezone.utc)
    if session.ends_in is None:
        return None
    return (began + timedelta(seconds=session.ends_in)).replace(microsecond=0)
