"""What schedulers refuse before anything is asked of them, in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from hpclaunch.schedulers.base import JobSpec

__all__ = ["check_options", "checked_ids", "refuse_foreign"]


def checked_ids(
    ids: Sequence[str], pattern: re.Pattern[str], kind: str, whole: str
) -> Sequence[str]:
    """Return `ids`, if they can be asked about.

    Parameters
    ----------
    ids : sequence of str
    pattern : re.Pattern
        What an id looks like.
    kind : str
        What one is, for people.
    whole : str
        Whose jobs a query without any id would ask for.

    Raises
    ------
    ValueError
        If `ids` is empty or one of them is no job id.
    """
    if not ids:
        raise ValueError(f"a query without a job id would ask for every job of the {whole}")
    for one in ids:
        if not pattern.fullmatch(one):
            raise ValueError(f"{one!r} is no {kind}")
    return ids


def refuse_foreign(spec: JobSpec, who: str) -> None:
    """Raise `ValueError` for what only SLURM is asked for: a QOS, an array."""
    if spec.qos is not None:
        raise ValueError(f"{who} has no QOS, so none of the name {spec.qos!r}")
    if spec.copies != 1:
        raise ValueError(f"an array of {spec.copies} jobs is not asked of {who}")


def check_options(options: Iterable[str], program: str, example: str) -> None:
    """Raise `ValueError` for a further option that cannot stand in a directive."""
    for option in options:
        if not option.startswith("-"):
            raise ValueError(f"{option!r} is no option of {program}; write for example {example}")
        if "\n" in option or "\r" in option or "\0" in option:
            raise ValueError(f"a directive is one line without a NUL character: {option!r}")
