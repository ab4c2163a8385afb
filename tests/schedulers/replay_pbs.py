"""Recorded answers of PBS, as answers to what hpclaunch asks.

Many jobs were recorded with ``qstat -f -F json`` only. Their attributes are the same as those of
``qstat -f``, which is what hpclaunch reads: `as_text` writes them that way, and a test holds it
against jobs that were recorded in both.
"""

from __future__ import annotations

import json
import re
from typing import Any

from hpclaunch.schedulers.base import JobStatus
from hpclaunch.schedulers.pbs import Pbs
from hpclaunch.shell import Completed
from tests.schedulers.replay import completed
from tests.transcripts.reader import Record, records

RELEASES = ("openpbs-23.06.06", "openpbs-master-2026-04")


def jobs_in(record: Record) -> dict[str, dict[str, Any]]:
    """The jobs of a JSON answer, behind a table or not; none where qstat wrote no JSON."""
    try:
        document = json.loads(record.stdout[max(0, record.stdout.find("{")) :])
    except ValueError:
        return {}
    return dict(document.get("Jobs", {})) if isinstance(document, dict) else {}


def as_text(jobs: dict[str, dict[str, Any]]) -> str:
    """Jobs as ``qstat -f -w`` writes them: without breaks in long values."""
    lines = []
    for one, fields in jobs.items():
        lines.append(f"Job Id: {one}")
        for name, value in fields.items():
            if name == "Variable_List":
                joined = ",".join(f"{key}={text}" for key, text in value.items())
                lines.append(f"    {name} = {joined}")
            elif isinstance(value, dict):
                lines += [f"    {name}.{key} = {text}" for key, text in value.items()]
            else:
                lines.append(f"    {name} = {value}")
        lines.append("")
    return "\n".join(lines) + "\n"


def described(release: str, topic: str, name: str, nth: int = -1) -> tuple[str, Completed]:
    """The id of the job of that name, and what qstat said of it the `nth` time in a topic."""
    found = []
    for record in records(release, topic):
        if "qstat" not in record.command:
            continue
        for one, fields in jobs_in(record).items():
            if str(fields["Job_Name"]) == name:
                found.append((one, Completed.of(["qstat"], record.exit, as_text({one: fields}))))
        if re.search(r"qstat (-x )?-f [0-9]", record.command):
            text = record.stdout
            if f"\n    Job_Name = {name}\n" in text:
                one = text.partition("\n")[0].removeprefix("Job Id: ")
                found.append((one, completed(record)))
    return found[nth]


def named(release: str, topic: str, name: str, nth: int = -1) -> JobStatus:
    """What hpclaunch makes of it."""
    one, said = described(release, topic, name, nth)
    return Pbs().parse_status(said, [one])[one]
