"""How a command runs inside an Apptainer or Singularity image.

Standard library only, Python 3.9 or newer: this runs on the compute node, and on the laptop.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from hpclaunch.shell import quote, site_word

__all__ = ["Container", "assignments", "exports", "inside", "inside_argv"]

_PREFIXES = ("APPTAINERENV_", "SINGULARITYENV_")  # what both programs set inside, at last
_BIND_VARIABLES = ("APPTAINER_BIND", "SINGULARITY_BIND")


@dataclass(frozen=True)
class Container:
    """An image, and how it is entered.

    Attributes
    ----------
    image : str
        Its path on the site; may begin with ``~/``.
    command : tuple of str
        The program and its first words.
    options, binds : tuple of str
        Options of the site's; what it binds besides, as ``--bind`` takes it.
    """

    image: str
    command: tuple[str, ...] = ("apptainer", "exec")
    options: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()


def inside(container: Container, places: Sequence[str], more: Sequence[str] = ()) -> str:
    """Words of sh that, before a command, run it inside.

    Parameters
    ----------
    container : Container
    places : sequence of str
        Directories to bind besides; may begin with ``~/``.
    more : sequence of str
        The same as words of sh.
    """
    binds = [*map(site_word, (*container.binds, *places)), *more]
    return " ".join(
        [
            *map(quote, (*container.command, *container.options)),
            *(word for bind in binds for word in ("--bind", bind)),
            site_word(container.image),
        ]
    )


def inside_argv(container: Container, places: Sequence[str]) -> list[str]:
    """The same as argv, where ``~`` is known."""
    binds = [os.path.expanduser(bind) for bind in (*container.binds, *places)]
    return [
        *container.command,
        *container.options,
        *(word for bind in binds for word in ("--bind", bind)),
        os.path.expanduser(container.image),
    ]


def assignments(values: Mapping[str, str]) -> list[str]:
    """Words for ``env`` by which an image has these variables, whatever its own are."""
    return [one + name + "=" + value for name, value in values.items() for one in _PREFIXES]


def exports(names: Sequence[str], bound: Optional[str] = None) -> list[str]:
    """Lines of sh by which variables of the job are those inside the image, too.

    Parameters
    ----------
    names : sequence of str
        Of variables that are set.
    bound : str, optional
        A word of sh: a directory that is bound besides.
    """
    lines = ['export {0}{1}="${1}"'.format(one, name) for name in names for one in _PREFIXES]
    if bound is not None:
        lines += ['export {0}="${{{0}:+${0},}}"{1}'.format(one, bound) for one in _BIND_VARIABLES]
    return lines
