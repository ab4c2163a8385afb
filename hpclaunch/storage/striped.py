"""A new file on Lustre with stripes of its own, where they suit it better than its directory's."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpclaunch.shell import Completed, printable
from hpclaunch.storage import filesystem, tools
from hpclaunch.storage.stripes import Stripes
from hpclaunch.storage.striping import Wanted, inherited_stripes, suited_stripes

__all__ = ["Striping", "stripe_part"]


@dataclass(frozen=True)
class Striping:
    """What was done about the stripes of a new file.

    Attributes
    ----------
    given : Stripes or None
        Those that were set; None where the file lies as its directory has it.
    reason : str
        Why so, for people.
    kind : str
        The file system's kind, such as ``lustre``; "" where that was not looked at.
    """

    given: Stripes | None
    reason: str
    kind: str = ""

    def __str__(self) -> str:
        if self.given is None:
            return f"as the directory has it: {self.reason}"
        targets = "all targets" if self.given.count < 0 else f"{self.given.count} target(s)"
        return f"{self.given.size / 2**20:.4g} MiB over {targets}: {self.reason}"


def stripe_part(part: Path, stripes: Wanted, size: int, chunk: int = 0) -> Striping:
    """Give stripes to a file that is still empty.

    Only on Lustre anything is done: ``lfs setstripe`` makes another empty file, that only its
    owner can open, and that file takes the name. Where this does not work the file stays as it is.

    Parameters
    ----------
    part : Path
        The empty file.
    stripes : "auto", (int, int) or None
        By the rule; targets and bytes; or nothing at all.
    size, chunk : int
        Bytes that the file and its largest chunk are expected to have.
    """
    if stripes is None:
        return Striping(None, "no stripes were asked for")
    folder = filesystem.place(part.parent, ask=_ask_lfs)
    kind = folder.kind.name
    if kind != "lustre":
        return Striping(
            None, f"stripes of files are set on Lustre, this is {folder.kind.title}", kind
        )
    if stripes == "auto":
        wanted = suited_stripes(size, chunk)
        if why := inherited_stripes(folder.components, wanted):
            return Striping(None, why, kind)
        reason = f"for about {size / 2**30:.3g} GiB"
    else:
        wanted, reason = Stripes(stripes[1], stripes[0]), "as asked for"
    if why := _set(part, wanted):
        return Striping(None, why, kind)
    given = _given(part, wanted)
    if 0 < given.count < wanted.count:
        reason += f", {wanted.count} targets were not to be had"
    return Striping(given, reason, kind)


def _ask_lfs(argv: Sequence[str]) -> Completed | None:
    """Other tools are not asked: what they know is not wanted here."""
    return tools.ask(argv) if argv[0] == "lfs" else None


def _set(part: Path, wanted: Stripes) -> str:
    """Replace an empty file by one with stripes; why that did not work, or "".

    The new one is made in a directory that nobody else can enter: ``lfs`` opens it with the mode
    0644, which a default ACL of the directory may turn into access for others.
    """
    try:
        with tempfile.TemporaryDirectory(
            prefix=".stripes-", dir=part.parent, ignore_cleanup_errors=True
        ) as private:
            made = Path(private) / "file"
            words = ("-c", str(wanted.count), "-S", str(wanted.size))
            answer = tools.ask(["lfs", "setstripe", *words, str(made)], umask=0o077)
            if answer is None:
                return "lfs is not here or did not answer"
            if answer.exit != 0:
                said = answer.said.replace(str(made), "the file") or f"exit code {answer.exit}"
                return f"lfs setstripe failed: {printable(said.splitlines()[-1])}"
            made.chmod(0o600)
            made.replace(part)
    except OSError as error:
        return f"the striped file could not be put in place: {error.strerror or error}"
    return ""


def _given(part: Path, wanted: Stripes) -> Stripes:
    """What the file has by its own attribute, which is read without a tool; else what was set."""
    found = filesystem.place(part, ask=lambda _: None).components
    return found[0] if found else wanted
