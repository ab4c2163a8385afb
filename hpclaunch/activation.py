"""From an environment of the profile to what a job does to have it. Pure."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hpclaunch.block import has_block
from hpclaunch.errors import PlanError
from hpclaunch.node.container import Container
from hpclaunch.node.spec import Block
from hpclaunch.request import Request
from hpclaunch.shell import quote, site_word
from hpclaunch.sites.catalog import LoadedSite
from hpclaunch.sites.model import Conda, Environment, Pixi

__all__ = [
    "Activation",
    "Step",
    "activation_of",
    "check_container",
    "environment_called",
    "environment_name",
    "in_worker_job",
    "interpreter_of",
]

_OF_ITSELF = '"$CONDA_PREFIX"/bin/python'
"""Where the Python of an active conda or pixi environment is."""

Fill = Callable[..., str]
"""Puts everybody's own values into a text of the profile, given the keys that lead to it."""


class Step(NamedTuple):
    """One command of bash, and what lacks where it fails; None where it cannot tell."""

    does: str
    lack: str | None = None


@dataclass(frozen=True)
class Activation:
    """How a job makes an environment its own, between its modules and its ``setup``.

    Attributes
    ----------
    python : str or None
        The interpreter that follows from it; None where the environment is of no kind.
    steps : tuple of Step
    container : Container or None
        In what everything runs.
    """

    python: str | None = None
    steps: tuple[Step, ...] = ()
    container: Container | None = None


def environment_name(loaded: LoadedSite, request: Request) -> str:
    """Which of the site's environments a session or a batch job uses."""
    with_mpi = loaded.site.mpi.environment if has_block(request) else None
    return request.environment or with_mpi or loaded.site.session.environment


def environment_called(loaded: LoadedSite, name: str) -> Environment:
    """The environment of that name.

    Raises
    ------
    PlanError
        If the site has none; names those it has.
    """
    site = loaded.site
    if name in site.environments:
        return site.environments[name]
    raise PlanError(
        f"site {site.name} has no environment {name!r} "
        f"(in {loaded.path}: {', '.join(site.environments) or 'none'})",
        hint=f"choose one with --environment, or add [environments.{name}]",
    )


def activation_of(environment: Environment, fill: Fill) -> Activation:
    """How a job makes `environment` its own."""
    if environment.venv is not None:
        place = fill(environment.venv, "venv").rstrip("/")
        lack = f"the virtual environment {place} cannot be activated"
        return Activation(
            f"{place}/bin/python", (Step(f". {site_word(place)}/bin/activate", lack),)
        )
    if environment.conda is not None:
        return Activation("python", tuple(_conda(environment.conda, fill)))
    if environment.pixi is not None:
        return Activation("python", tuple(_pixi(environment.pixi, fill)))
    if environment.container is not None:
        table = environment.container
        container = Container(
            image=fill(table.image, "container", "image"),
            command=table.command,
            options=table.options,
            binds=tuple(fill(bind, "container", "binds") for bind in table.binds),
        )
        return Activation("python3", tuple(_container(container)), container)
    return Activation()


def interpreter_of(environment: Environment, active: Activation, *, local: bool) -> str:
    """The Python of an environment made by `active`; `local` is a site without scheduler."""
    return environment.python or active.python or (sys.executable if local else "python3")


def check_container(
    loaded: LoadedSite, container: Container, block: Block | None, places: Sequence[str | None]
) -> None:
    """Hold a job against what an image allows.

    Raises
    ------
    PlanError
        If a directory cannot be bound, or nobody says what starts ranks outside the image.
    """
    for place in places:
        if place is not None and ("," in place or ":" in place):
            raise PlanError(
                f"the image {container.image} cannot see {place}: a bind has no colon and no comma",
                hint="choose another directory (paths.base, paths.notebooks or --notebook-dir)",
            )
    if block is not None and block.launcher is None and loaded.site.scheduler.kind != "slurm":
        raise PlanError(
            f"ranks in the image {container.image} are started from outside it, and site "
            f"{loaded.site.name} does not say by what",
            hint="give --set 'mpi.launcher=[\"mpirun\"]', of an MPI of the site that suits the "
            "image's",
        )


def in_worker_job(steps: Sequence[Step]) -> list[str]:
    """The steps as lines of a script that has no last word of its own."""
    lines = []
    for step in steps:
        said = f"hpclaunch: {step.lack} here"
        leave = f' || {{ echo {quote(said)} "($HOSTNAME)" >&2; exit 126; }}'
        lines.append(step.does + (leave if step.lack else ""))
    return lines


def _conda(table: Conda, fill: Fill) -> Iterator[Step]:
    """Activation by what ``conda activate`` itself evaluates; it needs no ``conda init``."""
    named = fill(table.env, "conda", "env")
    root = table.root and fill(table.root, "conda", "root").rstrip("/")
    program = table.program
    if root and "/" not in program and program != "micromamba":
        program = f"{root}/bin/{program}"
    if root and not table.is_conda:
        yield Step(f"export MAMBA_ROOT_PREFIX={site_word(root)}")
    words = "shell.posix activate {}" if table.is_conda else "shell activate {} --shell bash"
    yield from _evaluated(
        f"{site_word(program)} {words.format(site_word(named))}", f"the conda environment {named}"
    )


def _pixi(table: Pixi, fill: Fill) -> Iterator[Step]:
    """Activation as pixi has it; a compute node installs nothing."""
    project = fill(table.project, "pixi", "project")
    name = fill(table.environment, "pixi", "environment")
    yield from _evaluated(
        f"cd -- {site_word(project)} >/dev/null && {site_word(table.program)} shell-hook "
        f"--environment {quote(name)} --shell bash --frozen --no-install",
        f"the pixi environment {name} of {project}",
    )


def _evaluated(command: str, what: str) -> Iterator[Step]:
    yield Step(f'activation="$({command})"', f"{what} cannot be activated")
    yield Step('eval "$activation"')  # its last command may be a script's own that fails
    yield Step(f"[ -x {_OF_ITSELF} ]", f"{what} has no Python, or is not")


def _container(container: Container) -> Iterator[Step]:
    program = container.command[0]
    yield Step(f"command -v {quote(program)} >/dev/null", f"the program {program} is not")
    yield Step(f"[ -e {site_word(container.image)} ]", f"the image {container.image} is not")
