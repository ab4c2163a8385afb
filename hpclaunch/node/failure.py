"""Why a session ended early, in words for the person at the laptop: ``failure.json``.

Standard library only, Python 3.9 or newer: this runs on the compute node.
"""

from __future__ import annotations

import signal
import sys
from typing import Optional

__all__ = ["FILESYSTEM", "Failure"]

FILESYSTEM = 10
"""Exit code of an agent that could not write its files, and so perhaps no word of its end."""
_EXIT = {
    "bad-session": 3,
    "no-jupyterlab": 4,
    "jupyter-died": 5,
    "jupyter-hangs": 6,
    "jupyter-open": 7,
    "dask-failed": 8,
    "no-address": 9,
    "filesystem": FILESYSTEM,
    "no-script": 11,
    "no-mpi": 12,
    "no-launcher": 13,
    "mpi-mismatch": 14,
    "mpi-failed": 15,
    "mpi-hangs": 16,
    "rank-died": 17,
    "over-committed": 18,
    "no-nbclient": 19,
}


_LAUNCHER_HINT = (
    'name one that fits under [mpi] launcher in the profile, such as ["srun", "--mpi=pmix"] or '
    '["mpirun"]; `srun --mpi=list` shows what SLURM has'
)


class Failure(Exception):
    """The session cannot start or go on.

    Parameters
    ----------
    cause : str
        One word that programs know: a key of the exit codes above.
    what : str
        What happened, in one sentence without a final period.
    hint : str
        The next step.
    said : str, optional
        The last words of the program that failed, where they are not in the job's log.
    """

    def __init__(self, cause: str, what: str, hint: str, said: Optional[str] = None) -> None:
        super().__init__(what)
        self.cause = cause
        self.what = what
        self.hint = hint
        self.said = said

    @property
    def exit_code(self) -> int:
        """Exit code of the agent."""
        return _EXIT[self.cause]

    def to_dict(self) -> dict[str, Optional[str]]:
        """The fields of ``failure.json``."""
        return {"cause": self.cause, "what": self.what, "hint": self.hint, "said": self.said}

    @classmethod
    def bad_session(cls, what: str) -> Failure:
        """The laptop's files are incomplete."""
        return cls("bad-session", what, "start the session again; this is a fault of hpclaunch")

    @classmethod
    def no_jupyterlab(cls, what: str) -> Failure:
        """The environment cannot serve."""
        return cls(
            "no-jupyterlab",
            what,
            "install jupyterlab into that environment, or choose another with --environment",
        )

    @classmethod
    def jupyter_died(cls, code: int) -> Failure:
        """Jupyter ended by itself."""
        return cls(
            "jupyter-died",
            "Jupyter {}".format(_ending(code)),
            "read the last lines of the job's log; a faulty file in ~/.jupyter or a broken "
            "extension is the usual reason",
        )

    @classmethod
    def jupyter_hangs(cls, seconds: float) -> Failure:
        """Jupyter runs and does not answer."""
        return cls(
            "jupyter-hangs",
            "Jupyter did not answer within {:.0f} s".format(seconds),
            "a slow filesystem under {} is the usual reason; try again, or use an environment "
            "on a faster one".format(sys.prefix),
        )

    @classmethod
    def not_locked(cls, what: str) -> Failure:
        """Jupyter serves everybody."""
        return cls(
            "jupyter-open",
            what,
            "something in ~/.jupyter or an extension replaces Jupyter's login; remove it",
        )

    @classmethod
    def dask_died(cls, code: int, said: str) -> Failure:
        """The process that holds the cluster ended while it was starting."""
        return cls(
            "dask-failed",
            "the Dask cluster could not be started: its process {}".format(_ending(code)),
            "check dask, distributed and dask-jobqueue in {}, or start without workers".format(
                sys.executable
            ),
            said,
        )

    @classmethod
    def dask_hangs(cls, seconds: float, said: str) -> Failure:
        """The process that holds the cluster never got ready."""
        return cls(
            "dask-failed",
            "the Dask scheduler was not up within {:.0f} s".format(seconds),
            "try again, or start without workers",
            said,
        )

    @classmethod
    def filesystem(cls, error: OSError) -> Failure:
        """A file of the session cannot be read or written."""
        return cls(
            "filesystem",
            "a file of the session cannot be used on this node: {}".format(error),
            "check your quota, and that your home directory is the same on compute nodes",
        )

    @classmethod
    def no_script(cls, what: str) -> Failure:
        """The script, or the directory where it shall run, is not on the node."""
        return cls(
            "no-script",
            what,
            "check the path; is that file system there on compute nodes?",
        )

    @classmethod
    def no_mpi(cls, what: str, said: Optional[str] = None) -> Failure:
        """The environment cannot run dask-mpi."""
        return cls(
            "no-mpi",
            what,
            "install mpi4py and dask-mpi into that environment, with the site's MPI library loaded "
            "(modules of [environments] in the profile), or choose another with --environment",
            said,
        )

    @classmethod
    def no_nbclient(cls, what: str) -> Failure:
        """The environment cannot execute a notebook."""
        return cls(
            "no-nbclient",
            what,
            "install nbclient, nbconvert and ipykernel into that environment, or choose another "
            "with --environment",
        )

    @classmethod
    def no_launcher(cls, what: str, said: Optional[str] = None) -> Failure:
        """What starts the ranks cannot be run."""
        return cls("no-launcher", what, _LAUNCHER_HINT, said)

    @classmethod
    def mpi_mismatch(cls, ranks: int, found: int, library: str) -> Failure:
        """The launcher and the MPI library do not know each other."""
        return cls(
            "mpi-mismatch",
            "{} ranks were started, but each thinks that there are {} of them: the launcher and "
            "the MPI library ({}) do not fit together".format(ranks, found, library),
            _LAUNCHER_HINT,
        )

    @classmethod
    def rank_astray(cls, host: str) -> Failure:
        """The launcher has put the scheduler where the session is not."""
        return cls(
            "no-launcher",
            "the Dask scheduler (rank 0) was started on {}, and the session runs on the job's "
            "first node".format(host),
            _LAUNCHER_HINT,
        )

    @classmethod
    def mpi_failed(cls, code: int, said: Optional[str] = None) -> Failure:
        """The ranks ended before they met."""
        return cls(
            "mpi-failed",
            "the MPI ranks {} before they had formed a Dask cluster".format(_ending(code)),
            "the launcher's last words say why; where launcher and MPI library do not fit "
            "together, name another under [mpi] launcher in the profile",
            said,
        )

    @classmethod
    def mpi_hangs(cls, seconds: float, said: Optional[str] = None) -> Failure:
        """The ranks run and do not meet."""
        return cls(
            "mpi-hangs",
            "the MPI ranks did not form a Dask cluster within {:.0f} s".format(seconds),
            "launcher and MPI library that do not fit together are the usual reason: name another "
            "under [mpi] launcher in the profile; a slow file system needs a longer "
            "session.start_timeout",
            said,
        )

    @classmethod
    def rank_died(cls, who: str, how: str, said: Optional[str] = None) -> Failure:
        """A rank ended unasked, and MPI ended all others."""
        return cls(
            "rank-died",
            "{} ended ({}); with one rank all of them end".format(who, how),
            "too much memory is the usual reason: ask for more --memory, or for fewer "
            "workers on each node; the job's log and workers/ beside it have the last words",
            said,
        )

    @classmethod
    def over_committed(cls, wanted: int, granted: int) -> Failure:
        """The workers would use more memory than there is."""
        return cls(
            "over-committed",
            "the ranks of a node would use {:.1f} GB, and the job has {:.1f} GB there".format(
                wanted / 1e9, granted / 1e9
            ),
            "ask for less --memory, or for a queue whose nodes have more",
        )

    @classmethod
    def no_address(cls) -> Failure:
        """Nobody could connect."""
        return cls(
            "no-address",
            "this node has no IPv4 address that the login node could reach",
            "show the output of `ip address` on a compute node to the site's help desk",
        )


def _ending(code: int) -> str:
    """How a process ended, by the return code of subprocess."""
    if code >= 0:
        return "ended with exit code {}".format(code)
    try:
        return "was killed by {}".format(signal.Signals(-code).name)
    except ValueError:
        return "was killed by signal {}".format(-code)
