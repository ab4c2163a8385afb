"""The error tree: every way hpclaunch can fail, told for the person at the keyboard.

::

    HpclaunchError
    ├── UsageError              a wrong option or name on the command line (exit code 2)
    ├── ProfileError            a site profile or the user's configuration is wrong
    ├── PlanError               the request does not fit the site; names the limit
    ├── TransportError
    │   ├── UnreachableError    no route, no such host, connection refused or timed out
    │   ├── HostKeyError        the host's key is unknown and not accepted, or has changed
    │   ├── LoginRefusedError   the host answered and did not let us in
    │   ├── LoginNeededError    no live connection, and nobody here to ask for a secret
    │   └── CommandTimeout      the site did not answer a command in time
    ├── SchedulerError
    │   └── SubmitError         the scheduler refused the job
    ├── SessionError
    │   ├── NoSuchSession
    │   ├── SessionExists
    │   └── SessionFailed       the job, Jupyter or Dask died before or after it was ready
    ├── StorageError            a data file cannot be read or written as asked
    │   ├── CorruptFile         its bytes are not what its format or its checksums say
    │   └── ChangedFile         it was written, replaced or cut while it was in use
    └── KeeperError             the process that holds the connection cannot be reached

Each says what happened, and where known which command ran, what the site said, the last lines
of the job's log and what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "ChangedFile",
    "CommandTimeout",
    "CorruptFile",
    "HostKeyError",
    "HpclaunchError",
    "KeeperError",
    "LoginNeededError",
    "LoginRefusedError",
    "NoSuchSession",
    "PlanError",
    "ProfileError",
    "SchedulerError",
    "SessionError",
    "SessionExists",
    "SessionFailed",
    "StorageError",
    "SubmitError",
    "TransportError",
    "UnreachableError",
    "UsageError",
]


class HpclaunchError(Exception):
    """Base of all errors that hpclaunch raises on purpose.

    Parameters
    ----------
    what : str
        What happened, in one sentence without a final period.
    command : sequence of str, optional
        The argv that ran on the site, where one did.
    said : str, optional
        The site's own words, verbatim.
    log : str, optional
        The last lines of the job's log.
    hint : str, optional
        The next step for the person at the keyboard; by default what helps with most errors of
        the kind.
    """

    exit_code = 1
    usual_hint = "try again; `hpclaunch why NAME` and `hpclaunch logs NAME` tell more of a session"

    def __init__(
        self,
        what: str,
        *,
        command: Sequence[str] | None = None,
        said: str | None = None,
        log: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.command = tuple(command) if command else None
        self.said = said.strip() if said and said.strip() else None
        self.log = log.rstrip() if log and log.strip() else None
        self.hint = hint or self.usual_hint

    def lines(self) -> list[str]:
        """Return the report as the lines that go to stderr: ``error:`` first, ``hint:`` last."""
        from hpclaunch.shell import join

        out = [f"error: {self.what}"]
        if self.command:
            out.append(f"  command: {join(self.command)}")
        if self.said:
            out += ["  the site said:", *(f"    {line}" for line in self.said.splitlines())]
        if self.log:
            out += ["  last lines of the log:", *(f"    {line}" for line in self.log.splitlines())]
        return [*out, f"hint: {self.hint}"]

    def to_dict(self) -> dict[str, object]:
        """Return the error as JSON-able fields; `from_dict` reads them back."""
        return {
            "kind": type(self).__name__,
            "what": self.what,
            "command": list(self.command) if self.command else None,
            "said": self.said,
            "log": self.log,
            "hint": self.hint,
        }

    @staticmethod
    def from_dict(fields: dict[str, object]) -> HpclaunchError:
        """Rebuild an error from `to_dict`; an unknown kind becomes an `HpclaunchError`."""
        kinds = {cls.__name__: cls for cls in _tree(HpclaunchError)}
        command = fields.get("command")

        def text(key: str) -> str | None:
            value = fields.get(key)
            return None if value is None else str(value)

        return kinds.get(str(fields.get("kind")), HpclaunchError)(
            str(fields.get("what")),
            command=[str(word) for word in command] if isinstance(command, list) else None,
            said=text("said"),
            log=text("log"),
            hint=text("hint"),
        )


class UsageError(HpclaunchError):
    """A wrong option, name or combination on the command line."""

    exit_code = 2
    usual_hint = "`hpclaunch --help` lists the commands, and --help behind one its options"


class ProfileError(HpclaunchError):
    """A site profile or the user's configuration is wrong; names file, table and key."""

    usual_hint = "`hpclaunch site schema` lists every key, docs/sites.md explains the usual ones"


class PlanError(HpclaunchError):
    """The request does not fit the site; names the limit and where it comes from."""

    usual_hint = "ask for less, or for another queue; `hpclaunch site show` shows the limits"


class TransportError(HpclaunchError):
    """The way to the site failed."""

    usual_hint = "check the network, and try `ssh` to the login node by hand"


class UnreachableError(TransportError):
    """No such host, no route, connection refused, or no answer in time."""


class HostKeyError(TransportError):
    """The host's key is unknown and was not accepted, or it is not the one we know."""


class LoginRefusedError(TransportError):
    """The host answered and did not let us in."""


class LoginNeededError(TransportError):
    """There is no live connection and nobody here who could be asked for a secret."""


class CommandTimeout(TransportError):
    """A command on the site gave no answer in time; the site's state is unknown."""


class SchedulerError(HpclaunchError):
    """The scheduler refused, or said something we cannot use."""

    usual_hint = "try again later; if it stays so, ask the site's help desk"


class SubmitError(SchedulerError):
    """The scheduler refused the job; nothing was submitted."""


class SessionError(HpclaunchError):
    """Something about a session."""

    usual_hint = "`hpclaunch list` shows the sessions"


class NoSuchSession(SessionError):
    """No session of that name is on record here."""


class SessionExists(SessionError):
    """A live session has that name already."""


class SessionFailed(SessionError):
    """The session's job, Jupyter or Dask failed or was ended."""


class KeeperError(HpclaunchError):
    """The process that holds a site's connection cannot be reached or started."""

    usual_hint = "run the command again"


class StorageError(HpclaunchError):
    """A data file cannot be read or written as asked."""

    usual_hint = "`hpclaunch data inspect FILE` says how the file is laid out"


class CorruptFile(StorageError):
    """A file's bytes are not what its format or its checksums say."""

    usual_hint = "fetch or write the file again; `h5debug` and `ncdump -h` tell what is left of it"


class ChangedFile(StorageError):
    """A file was written, replaced or cut while it was in use."""

    usual_hint = "open it again once nothing writes to it any more"


def _tree(cls: type[HpclaunchError]) -> list[type[HpclaunchError]]:
    return [cls, *(leaf for child in cls.__subclasses__() for leaf in _tree(child))]
