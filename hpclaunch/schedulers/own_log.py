"""A job that writes its own log, where the scheduler shows its output only when it has ended."""

from __future__ import annotations

from hpclaunch.schedulers.base import JobSpec
from hpclaunch.shell import quote

__all__ = ["own_log"]


def own_log(spec: JobSpec, id_variable: str) -> str:
    """A line of bash from which on all output goes to ``spec.log``.

    Parameters
    ----------
    spec : JobSpec
    id_variable : str
        The environment variable in which the job finds its id.

    Raises
    ------
    ValueError
        If the log is relative: the job may begin in another directory.
    """
    if not spec.log.startswith("/"):
        raise ValueError(f"the log of a job must be an absolute path, not {spec.log!r}")
    each = f'"${id_variable}.log"' if spec.log.endswith("/") else ""
    return f"exec >>{quote(spec.log)}{each} 2>&1 || exit 1"
