"""Recorded answers of Slurm, as answers to what hpclaunch asks.

The records were made with wider formats than hpclaunch's. A row is a row: the fields that
hpclaunch asks for are picked from it, unchanged and in hpclaunch's order.
"""

from __future__ import annotations

from hpclaunch.schedulers.slurm_rows import HISTORY_FIELDS, STATUS_FORMAT
from hpclaunch.shell import Completed
from tests.transcripts.reader import Record, records

RELEASES = ("slurm-22.05", "slurm-24.11", "slurm-26.05")

_WIDE = "%i|%j|%u|%a|%P|%t|%T|%r|%R|%M|%l|%D|%C|%N|%Z|%S|%V|%e|%k"


def completed(record: Record) -> Completed:
    """The record as it is."""
    return Completed.of(["bash", "-lc", record.command], record.exit, record.stdout, record.stderr)


def the_record(release: str, topic: str, *fragments: str) -> Record:
    """The one record of a topic whose command or note holds all `fragments`."""
    found = [
        record
        for record in records(release, topic)
        if all(fragment in f"{record.command}\n{record.note}" for fragment in fragments)
    ]
    assert len(found) == 1, f"{len(found)} records in {release}/{topic} with {fragments}"
    return found[0]


def queue_rows(release: str, topic: str) -> list[dict[str, str]]:
    """All rows of squeue in a topic, oldest first, by format letter (``%i`` to ``%k``)."""
    rows = []
    for record in records(release, topic):
        if _WIDE in record.command:
            for line in record.stdout.splitlines():
                fields = line.split("|")
                assert len(fields) == 19, f"{release}/{topic}: {line!r}"
                rows.append(dict(zip(_WIDE.split("|"), fields, strict=True)))
    return rows


def queue_answer(*rows: dict[str, str]) -> Completed:
    """Those rows as squeue's answer in hpclaunch's format."""
    lines = ["|".join(row[letter] for letter in STATUS_FORMAT.split("|")) for row in rows]
    return Completed.of(["squeue"], 0, "".join(f"{line}\n" for line in lines))


def accounted_answer(record: Record) -> Completed:
    """A record of ``sacct -P -o FIELDS`` as sacct's answer in hpclaunch's format."""
    lines = record.stdout.splitlines()
    names = record.command.partition("-o ")[2].split(",")
    if " -n " not in record.command:  # a header names the fields
        names = lines.pop(0).split("|")
    rows = [dict(zip(names, line.split("|"), strict=True)) for line in lines]
    asked = HISTORY_FIELDS.split(",")
    text = "".join("|".join(row.get(name, "") for name in asked) + "\n" for row in rows)
    return Completed.of(["sacct"], record.exit, text, record.stderr)
