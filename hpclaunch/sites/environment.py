"""The tables ``[environments.NAME]`` of a site profile: the kinds of Python environments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from hpclaunch.sites.scheduler_table import Table
from hpclaunch.sites.values import Interpreter, Line, SitePath

__all__ = ["Conda", "Container", "Environment", "Pixi"]

_HIDING = frozenset(
    {"-e", "--cleanenv", "-c", "--contain", "-C", "--containall", "-p", "--pid", "-i", "--ipc"}
    | {"-n", "--net", "-u", "--uts", "--no-home"}
)


def _not_hiding(options: tuple[str, ...]) -> tuple[str, ...]:
    """Options that keep the job out of the image would break more than they protect."""
    for option in options:
        if option.partition("=")[0] in _HIDING:
            raise ValueError(f"{option} would hide the job from what runs in the image")
        if not option.startswith("-"):
            raise ValueError(f"must be options in the form --NAME=VALUE, not {option!r}")
    return options


def _bind(text: str) -> str:
    source, _, rest = text.partition(":")
    if "," in text or not source.startswith(("/", "~/")) or text.count(":") > 2:
        raise ValueError("must be DIRECTORY, DIRECTORY:INSIDE or DIRECTORY:INSIDE:ro, no comma")
    if rest and not rest.startswith("/"):
        raise ValueError("must name an absolute path inside the image after the colon")
    return text


class Conda(Table):
    """A conda environment, whichever program made it."""

    env: Line
    """Name of the environment, or its directory."""

    program: Interpreter = "conda"
    """What activates it: ``conda``, ``mamba`` or ``micromamba`` as found in PATH after the
    `modules`, or below `root`; or a path to one of them. ``conda init`` is never needed."""

    root: SitePath | None = None
    """Directory of the installation, in whose ``bin`` the program lies; for micromamba, which lies
    anywhere, its root prefix, in whose ``envs`` named environments are."""

    @property
    def is_conda(self) -> bool:
        """Whether the program is conda itself; mamba and micromamba speak another tongue."""
        return self.program.rpartition("/")[2] == "conda"


class Pixi(Table):
    """An environment of a pixi workspace, as it is installed."""

    project: SitePath
    """Directory of ``pixi.toml`` or ``pyproject.toml``."""

    environment: Line = "default"
    """Which of its environments."""

    program: Interpreter = "pixi"
    """The pixi that activates it: a name in PATH, or a path such as ``~/.pixi/bin/pixi``."""


class Container(Table):
    """An Apptainer or Singularity image that holds the environment."""

    image: SitePath
    """The image on the site: a ``.sif`` file or the directory of a sandbox."""

    binds: tuple[Annotated[Line, AfterValidator(_bind)], ...] = ()
    """Directories of the site that the image shall see, such as ``/scratch`` or ``/work:/data:ro``,
    besides what the site binds by itself (usually the home directory and ``/tmp``). The session's
    own directories are always bound, the notebooks' directory too where one is named."""

    options: Annotated[tuple[Line, ...], AfterValidator(_not_hiding)] = ()
    """Further options, such as ``--nv`` for NVIDIA's GPUs or ``--rocm`` for AMD's; one with a value
    is ``--NAME=VALUE``."""

    command: Annotated[tuple[Line, ...], Field(min_length=1)] = ("apptainer", "exec")
    """What runs a command inside, one word each; ``["singularity", "exec"]`` where the program has
    its old name."""


class Environment(Table):
    """A Python environment on the site that has JupyterLab, and Dask where Dask is wanted.

    At most one of `conda`, `venv`, `pixi` and `container` says what kind it is; without one it is
    what `modules`, `setup` and `python` make of the job.
    """

    python: Interpreter | None = None
    """The interpreter: an absolute path, one that begins with ``~/``, or a name found in PATH after
    `modules` and `setup`. By default that of the conda, venv or pixi environment; in an image, and
    without any of them, ``python3``; on a site without scheduler the Python that runs hpclaunch."""

    modules: tuple[Line, ...] = ()
    """Modules to load, in order; before the environment is activated."""

    conda: Conda | None = None
    """A conda environment to activate."""

    venv: SitePath | None = None
    """Directory of a virtual environment (``python -m venv``, virtualenv, uv) to activate."""

    pixi: Pixi | None = None
    """A pixi environment to activate."""

    container: Container | None = None
    """An image in which JupyterLab and all of Dask run. `modules` and `setup` are then of the node,
    outside; `python` is inside."""

    setup: tuple[Line, ...] = ()
    """Lines of bash that run in the job after the modules and the activation."""

    def misfits(self) -> Iterator[tuple[str, str]]:
        """What does not fit together: the keys to blame, and words for each."""
        kinds = [name for name in ("conda", "venv", "pixi", "container") if getattr(self, name)]
        if len(kinds) > 1:
            yield kinds[1], f"an environment is of one kind, and this one has {kinds[0]} too"
        for kind in ("conda", "venv", "pixi"):
            if kind in kinds and self.python is not None:
                yield "python", f"is that of the {kind} environment; leave it out"
        if self.conda is not None and self.conda.program.rpartition("/")[2] not in (
            *("conda", "mamba", "micromamba"),
        ):
            yield "conda", "its program must be conda, mamba or micromamba, or a path to one"
