"""Submits worker jobs from inside a job, and cancels every one of them."""
# ruff: noqa: UP041  (runs on the environment's Python, which may be 3.9 or 3.10)

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from hpclaunch.clusters.state import Journal
from hpclaunch.errors import SchedulerError
from hpclaunch.schedulers.base import JobSpec
from hpclaunch.schedulers.slurm import Slurm
from hpclaunch.shell import Completed

__all__ = ["Submitter", "outside_of_job"]

log = logging.getLogger("hpclaunch.holder")

_AT_ONCE = 4  # submit commands that run at the same time: controllers are shared
_PATIENCE = 60.0  # seconds for one command of the scheduler


def outside_of_job(surroundings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what the job we run in has put there.

    ``SLURM_*`` of a job act as options of sbatch and srun, and describe this job's nodes to a
    worker that runs on others. A TMPDIR named after this job does not exist elsewhere.
    """
    job = surroundings.get("SLURM_JOB_ID")
    kept = {
        name: value
        for name, value in surroundings.items()
        if name == "SLURM_CONF" or not name.startswith(("SLURM_", "SBATCH_", "SLURMD_"))
    }
    if job and job in kept.get("TMPDIR", ""):
        del kept["TMPDIR"]
    return kept


class Submitter:
    """The worker jobs of one session.

    Parameters
    ----------
    slurm : Slurm
    name : str
        The name that the worker jobs of this session have, and nobody else's.
    journal : Journal
        Where submitted ids and refusals are noted.
    surroundings : mapping
        The environment for the scheduler's commands.
    """

    def __init__(
        self, slurm: Slurm, name: str, journal: Journal, surroundings: Mapping[str, str]
    ) -> None:
        self._slurm = slurm
        self._name = name
        self._journal = journal
        self._surroundings = dict(surroundings)
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._closing = False
        self.answers = 0
        """Submits that came to an end, well or not."""

    def directives(self, spec: JobSpec) -> list[str]:
        """The lines of a batch script that describe `spec`."""
        return self._slurm.directives(spec)

    async def submit(self, spec: JobSpec, script: str) -> str:
        """Submit `script`; returns the job's id.

        Raises
        ------
        SchedulerError
            If the scheduler refused the job, or the session is ending.
        """
        async with self._turn:
            if self._closing:
                raise SchedulerError("the session is ending; no more workers are submitted")
            try:
                said = await self._run(self._slurm.submit_command(spec), script)
                job = self._slurm.parse_submit(said)
            except SchedulerError as error:
                log.error("\n".join(error.lines()))
                self._journal.refused(error.said or error.what)
                raise
            finally:
                self.answers += 1
        self._journal.submitted(job)
        return job

    async def cancel(self, jobs: Sequence[str]) -> None:
        """Cancel those of `jobs` that are still on record.

        Raises
        ------
        SchedulerError
            If one may still be alive.
        """
        alive = [job for job in jobs if job in self._journal.state.jobs]
        for argv in self._slurm.cancel_commands(alive):
            self._slurm.parse_cancel(await self._run(argv))
        for job in alive:
            self._journal.cancelled(job)

    async def cancel_all(self) -> None:
        """Cancel every worker job, also one whose id was never told; submit no more.

        Raises
        ------
        SchedulerError
            If one may still be alive.
        """
        self._closing = True
        await self.cancel(self._journal.state.jobs)
        for _ in range(_AT_ONCE):  # a command that is under way ends before we look
            await self._turn.acquire()
        said = await self._run(self._slurm.find_command(self._name))
        left = self._slurm.parse_find(said, self._name)
        for argv in self._slurm.cancel_commands(left):
            self._slurm.parse_cancel(await self._run(argv))

    async def _run(self, argv: Sequence[str], text: str = "") -> Completed:
        """Run a command of the scheduler.

        Raises
        ------
        SchedulerError
            If the command is not there or does not come back.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._surroundings,
            )
        except OSError as error:
            raise SchedulerError(f"{argv[0]} cannot be run here: {error}", command=argv) from error
        try:
            out, err = await asyncio.wait_for(process.communicate(text.encode()), _PATIENCE)
        except asyncio.TimeoutError:
            process.kill()
            await process.wait()
            raise SchedulerError(
                f"the scheduler did not answer within {_PATIENCE:.0f} s", command=argv
            ) from None
        decoded = (stream.decode("utf-8", "replace") for stream in (out, err))
        return Completed.of(argv, process.returncode or 0, *decoded)
