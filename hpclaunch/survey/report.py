"""The text that ``templates/remote/survey.sh`` prints, as questions and answers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from hpclaunch.errors import HpclaunchError
from hpclaunch.shell import printable

__all__ = ["Answer", "Report"]

_TOO_LONG = (124, 137, 143)


@dataclass(frozen=True)
class Answer:
    """What one command said.

    Attributes
    ----------
    command : str
        As people would type it.
    exit : int or None
        None where the report breaks off before it.
    out, err : str
        Its lines, without what frames them.
    """

    command: str
    exit: int | None
    out: str = ""
    err: str = ""

    @property
    def good(self) -> bool:
        """Whether the command did what it was asked for."""
        return self.exit == 0

    @property
    def complaint(self) -> str:
        """One line of why it did not."""
        asked = self.command if len(self.command) <= 60 else f"{self.command[:57]}..."
        if self.exit is None:
            return f"the report ends within the answer of `{asked}`"
        if self.exit in _TOO_LONG and not self.err:
            return f"`{asked}` gave no answer in time"
        said = (self.err or self.out).strip().splitlines()
        return f"`{asked}` ended with {self.exit}" + (f": {said[0]}" if said else "")


@dataclass(frozen=True)
class Report:
    """All answers of a survey, by the names of their questions, in their order."""

    answers: dict[str, Answer] = field(default_factory=dict)
    complete: bool = False

    @classmethod
    def parse(cls, text: str) -> Report:
        """Read a report; what stands around it (banners, prompts) is passed over.

        Raises
        ------
        HpclaunchError
            If there is no report in the text.
        """
        if not re.search(r"^\s*hpclaunch-survey 1\s*$", text, re.MULTILINE):
            raise HpclaunchError(
                "this is no report of a site",
                hint="`hpclaunch site init --script` prints the script that makes one: "
                "run it with sh on a login node and keep what it prints",
            )
        answers: dict[str, Answer] = {}
        for name, part in _parts(text):
            answers[name] = part
        return cls(answers, re.search(r"^\s*@ end\s*$", text, re.MULTILINE) is not None)

    def out(self, name: str) -> str | None:
        """Stdout of a command that ended well; None where it did not, or was not asked."""
        answer = self.answers.get(name)
        return answer.out if answer is not None and answer.good else None

    def line(self, name: str) -> str:
        """The first line of `out`, empty where there is none."""
        return next(iter((self.out(name) or "").splitlines()), "").strip()

    def named(self, kind: str) -> dict[str, Answer]:
        """The answers whose names begin with ``kind.``, by the rest of their names."""
        return {
            name.partition(".")[2]: answer
            for name, answer in self.answers.items()
            if name.partition(".")[0] == kind
        }

    def complaints(self, kind: str) -> Iterator[str]:
        """One line for each question of a kind whose command failed."""
        for answer in self.named(kind).values():
            if not answer.good:
                yield answer.complaint


def _parts(text: str) -> Iterator[tuple[str, Answer]]:
    name, command = "", ""
    said: dict[str, list[str]] = {"|": [], "!": []}
    for line in text.split("\n"):
        # Nothing that a site says may reach a terminal or a profile as anything but text.
        mark, _, rest = printable(line.rstrip("\r").lstrip(" "), keep="\t").partition(" ")
        if mark == "@":
            if name:
                yield name, Answer(command, None, *_joined(said))
            name, _, command = rest.partition(": ")
            name = name.strip() if command else ""
            said = {"|": [], "!": []}
        elif mark in said and name:
            said[mark].append(rest)
        elif mark == "=" and name:
            status = rest.strip()
            yield name, Answer(command.strip(), int(status) if status.isdigit() else None,
                               *_joined(said))  # fmt: skip
            name = ""
    if name:
        yield name, Answer(command, None, *_joined(said))


def _joined(said: dict[str, list[str]]) -> tuple[str, str]:
    return "\n".join(said["|"]), "\n".join(said["!"])
