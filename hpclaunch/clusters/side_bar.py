"""dask-labextension in a session: the session has its cluster, and NEW makes no second one."""

from __future__ import annotations

__all__ = ["no_second_cluster"]


def no_second_cluster(*_args: object, **_options: object) -> None:
    """Refuse what the button NEW of the side bar asks for.

    Raises
    ------
    RuntimeError
        Always: a cluster made there would run inside the notebook's job, beside its workers.
    """
    raise RuntimeError(
        "this session has a cluster: Client() without arguments reaches it, "
        "and /dask/status shows it"
    )
