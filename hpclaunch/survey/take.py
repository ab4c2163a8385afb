"""Ask a site what it is like: one command, and its report read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from hpclaunch.errors import HpclaunchError
from hpclaunch.remote import remote_command
from hpclaunch.shell import Completed
from hpclaunch.survey.findings import Survey
from hpclaunch.survey.lsf import read_lsf
from hpclaunch.survey.machine import read_machine
from hpclaunch.survey.pbs import read_pbs
from hpclaunch.survey.report import Report
from hpclaunch.survey.slurm import read_slurm

__all__ = ["Run", "read_survey", "survey_script", "take"]

Run = Callable[..., Completed]
"""``Transport.run``, or ``KeeperClient.run``."""

_SECONDS = 300.0  # most for all questions together; each has its own limit


def take(run: Run, pythons: Sequence[str] = ()) -> Survey:
    """Survey the site at the other end of a connection.

    Parameters
    ----------
    run : callable
        Runs an argv on the login node: ``run(argv, timeout=seconds)``.
    pythons : sequence of str
        Interpreters to look at besides those that are found.

    Raises
    ------
    TransportError
        If the way to the site breaks, or nothing is said within five minutes.
    HpclaunchError
        If the site cannot run the script at all.
    """
    done = run(remote_command("survey.sh", *pythons), timeout=_SECONDS)
    if done.exit != 0 and "hpclaunch-survey" not in done.stdout:
        raise HpclaunchError(
            "the site could not be asked what it is like",
            said=done.said,
            hint="`hpclaunch site init --script` prints the script: run it there with sh",
        )
    return read_survey(done.stdout)


def read_survey(text: str) -> Survey:
    """Read a report, as `survey_script` prints it.

    Raises
    ------
    HpclaunchError
        If the text is none.
    """
    report = Report.parse(text)
    survey = Survey(
        host=report.line("site.full") or report.line("site.host"),
        user=report.line("site.user"),
        home=report.line("site.home"),
        taken_on=report.line("site.day"),
    )
    for read in (read_slurm, read_pbs, read_lsf):
        found = read(survey, report)
        if found is survey:
            continue
        if survey.scheduler is None:
            survey = found
        else:  # wrappers that sites have for people who come from elsewhere, mostly
            note = f"commands of {found.scheduler} answer, too; {survey.scheduler} was taken"
            survey = replace(survey, notes=(*survey.notes, note))
    if survey.scheduler is None:
        survey = replace(survey, notes=(*survey.notes, *_no_scheduler(report)))
    survey = read_machine(survey, report)
    return replace(survey, prologue=_prologue(report, survey.scheduler))


def _no_scheduler(report: Report) -> Iterator[str]:
    yield "no scheduler was found that answers"
    for kind in ("slurm", "pbs", "lsf"):
        yield from report.complaints(kind)


def survey_script() -> str:
    """The script, for people who run it by hand."""
    return remote_command("survey.sh")[2]


def _prologue(report: Report, scheduler: str | None) -> tuple[str, ...]:
    """Lines after which the scheduler's commands are found."""
    command = {"slurm": "sinfo", "pbs": "qstat", "lsf": "bqueues"}.get(scheduler or "", "")
    lines = (report.out(f"prologue.{command}") or "").splitlines()
    return tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
