"""Session records: what the laptop knows of a session, on disk, so that it outlives every program.

A record is one 0600 JSON file in a 0700 directory of its own, beside the session's certificate
authority. Whoever learns something writes it there through `Book.update`, under a lock; everybody
else reads. The session's state is derived from the facts, never stored.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from hpclaunch import paths
from hpclaunch.errors import NoSuchSession, SessionError, SessionExists

__all__ = ["Book", "Record", "State", "as_of_text"]

State = Literal[
    "planned",
    "queued",
    "starting",
    "ready",
    "unreachable",
    "ending",
    "ended",
    "failed",
    "lost",
]
_PATIENCE = 20.0  # seconds for another program to write
_OVER: frozenset[State] = frozenset({"ended", "failed", "lost"})


@dataclass(frozen=True)
class Record:
    """What the laptop knows of one session.

    Attributes
    ----------
    name, nonce, site : str
    profile : dict
        The site as it was when the session was planned (`Site.model_dump`).
    target : dict
        How to get there (`Target` as a dict and the transport's kind).
    created : float
        Seconds since the epoch.
    job_name, worker_job_name : str
        Unique on the site.
    walltime : int
        Seconds.
    dask : dict or None
        ``{"mode", "workers"}`` as planned.
    base, lib_dir, session_dir : str
        Absolute paths on the site, empty before the first look at it.
    submitting : float or None
        When the submit command was about to be sent; from then on a job may exist.
    job_id : str or None
    job : dict
        The scheduler's last word: ``state, word, reason, expected_start, nodes``.
    as_of : float
        When the site was last heard.
    ran_at : float or None
        When the job was first seen to run.
    rendezvous : dict or None
        What the agent wrote, once the server answered on the node.
    port : int or None
        The laptop's port, kept for the session's whole life.
    tunnel : bool
        Whether the server was last seen to answer through the tunnel.
    trouble : str or None
        Why the session cannot be reached at present.
    outage : dict or None
        The last time it could not be reached: ``{"why", "began"}``.
    outcome : dict or None
        Set once it is over: ``{"state": "ended"|"failed"|"lost", "error": dict or None}``,
        a ``"reason"`` in words where it ended by itself, and ``"untidy"``, why a job or a secret
        may be left on the site, where that is so.
    stopping : bool
        Whether somebody asked for its end.
    timings : dict
        Seconds of each phase of the start.
    """

    name: str
    nonce: str
    site: str
    profile: dict[str, Any]
    target: dict[str, Any]
    created: float
    job_name: str
    worker_job_name: str
    walltime: int
    scheduler: str
    dask: dict[str, Any] | None = None
    base: str = ""
    lib_dir: str = ""
    session_dir: str = ""
    submitting: float | None = None
    job_id: str | None = None
    job: dict[str, Any] = field(default_factory=dict)
    as_of: float = 0.0
    ran_at: float | None = None
    rendezvous: dict[str, Any] | None = None
    port: int | None = None
    tunnel: bool = False
    trouble: str | None = None
    outage: dict[str, Any] | None = None
    outcome: dict[str, Any] | None = None
    stopping: bool = False
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """The session's state, derived from what is known."""
        if self.outcome is not None:
            state: State = self.outcome["state"]
            return state
        if self.stopping or self.job.get("state") == "ending":
            return "ending"
        if self.rendezvous is not None and self.tunnel:
            return "ready"
        if self.trouble is not None:
            return "unreachable"
        if self.rendezvous is not None or self.job.get("state") in ("running", "suspended"):
            return "starting"
        return "planned" if self.submitting is None else "queued"

    @property
    def is_over(self) -> bool:
        """Whether nothing of it can come back."""
        return self.state in _OVER

    @property
    def untidy(self) -> str | None:
        """Why a job or a secret may be left on the site though it is over."""
        return (self.outcome or {}).get("untidy")

    @property
    def url(self) -> str | None:
        """The server's address on the laptop, without the token."""
        return f"http://127.0.0.1:{self.port}" if self.port else None

    @property
    def ends_at(self) -> datetime | None:
        """When the walltime is over, as the node said it."""
        text = (self.rendezvous or {}).get("ends_at")
        return datetime.fromisoformat(text) if text else None


class Book:
    """All records of this user on this laptop."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or paths.state_dir() / "sessions"

    def directory(self, name: str) -> Path:
        """Where a session's files lie on the laptop."""
        return self.folder / name

    def read(self, name: str) -> Record:
        """The record of that name.

        Raises
        ------
        NoSuchSession
            If there is none.
        SessionError
            If the file cannot be read.
        """
        file = self.directory(name) / "record.json"
        try:
            fields = json.loads(file.read_text())
            known_fields = {entry.name for entry in dataclasses.fields(Record)}
            return Record(**{key: value for key, value in fields.items() if key in known_fields})
        except FileNotFoundError:
            known = ", ".join(record.name for record in self) or "none"
            raise NoSuchSession(
                f"there is no session {name!r} here", hint=f"sessions on record: {known}"
            ) from None
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise SessionError(
                f"the record of session {name!r} cannot be read: {error}",
                hint=f"look at {file}; without that directory the session is forgotten here, and "
                "its job is found on the site by its name hpclaunch-" + name,
            ) from None

    def __iter__(self) -> Iterator[Record]:
        """The records that can be read; see `unreadable`."""
        for name in self._names():
            with contextlib.suppress(SessionError):  # removed meanwhile, or unreadable
                yield self.read(name)

    def unreadable(self) -> list[SessionError]:
        """Why records cannot be read, one error each."""
        errors = []
        for name in self._names():
            try:
                self.read(name)
            except NoSuchSession:
                continue
            except SessionError as error:
                errors.append(error)
        return errors

    def _names(self) -> list[str]:
        return sorted(file.parent.name for file in self.folder.glob("*/record.json"))

    def create(self, record: Record) -> None:
        """Put a new session on record, without secrets yet: see `keep_secrets`.

        Raises
        ------
        SessionExists
            If a live session has that name.
        """
        with self._lock(record.name):
            folder = self.directory(record.name)
            if (folder / "record.json").exists():
                old = self.read(record.name)
                if not old.is_over:
                    raise SessionExists(
                        f"session {record.name!r} exists already ({old.state}, site {old.site})",
                        hint=f"`hpclaunch attach {record.name}` opens it, "
                        f"`hpclaunch stop {record.name}` ends it, --name chooses another name",
                    )
                if old.untidy:
                    raise SessionExists(
                        f"session {record.name!r} is over, but may have left something on "
                        f"{old.site}: {old.untidy}",
                        hint=f"`hpclaunch stop {record.name}` removes it",
                    )
                shutil.rmtree(folder)
            paths.private_dir(folder)
            self._write(record)

    def keep_secrets(self, name: str, nonce: str, authority: bytes, token: str) -> None:
        """Keep what opens the session: its certificate authority (PEM) and Jupyter's token.

        Raises
        ------
        NoSuchSession
            If the record is gone, or another session has taken its name.
        """
        with self._lock(name):
            self._same(name, nonce)
            paths.write_private(self.directory(name) / "ca.pem", authority)
            paths.write_private(self.directory(name) / "token", token.encode())

    def update(self, name: str, nonce: str, **facts: Any) -> Record:
        """Write new facts into a record and return it; new timings go beside those there are.

        Raises
        ------
        NoSuchSession
            If the record is gone, or another session has taken its name.
        """
        with self._lock(name):
            record = self._same(name, nonce)
            if "timings" in facts:
                facts["timings"] = {**record.timings, **facts["timings"]}
            changed = dataclasses.replace(record, **facts)
            if changed != record:
                self._write(changed)
            return changed

    def remove(self, name: str, nonce: str, *, planned_only: bool = False) -> bool:
        """Take a session off the record; with `planned_only` only one that was never submitted.

        Returns
        -------
        bool
            Whether it was taken off.
        """
        with self._lock(name):
            record = self.read(name)
            planned = record.submitting is None and not record.is_over
            if record.nonce != nonce or (planned_only and not planned):
                return False
            shutil.rmtree(self.directory(name))
            return True

    def forget_secrets(self, name: str, nonce: str) -> None:
        """Remove what could open the session; for sessions that are over."""
        with self._lock(name), contextlib.suppress(NoSuchSession):
            if self.read(name).nonce == nonce:
                for file in ("token", "ca.pem", "open.html"):
                    (self.directory(name) / file).unlink(missing_ok=True)

    def token(self, name: str) -> str:
        """The session's Jupyter token."""
        return (self.directory(name) / "token").read_text()

    def authority(self, name: str) -> bytes:
        """The session's certificate authority, PEM."""
        return (self.directory(name) / "ca.pem").read_bytes()

    def free_name(self, site: str) -> str:
        """``SITE-N`` with the lowest N that is free; a failed session keeps its name, for `why`."""
        free = {record.name for record in self if record.state == "ended" and not record.untidy}
        taken = set(self._names()) - free
        return next(
            name for number in range(1, len(taken) + 2) if (name := f"{site}-{number}") not in taken
        )

    def _same(self, name: str, nonce: str) -> Record:
        record = self.read(name)
        if record.nonce != nonce:
            raise NoSuchSession(f"session {name!r} is no longer the same one")
        return record

    def _write(self, record: Record) -> None:
        text = json.dumps(dataclasses.asdict(record), indent=1)
        paths.write_private(self.directory(record.name) / "record.json", text.encode())

    @contextlib.contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        lock = FileLock(paths.private_dir(self.folder) / f".{name}.lock")
        try:
            lock.acquire(timeout=_PATIENCE)
        except Timeout:
            raise SessionError(
                f"another hpclaunch has held the record of session {name!r} for {_PATIENCE:.0f} s",
                hint="try again; end hpclaunch programs that hang",
            ) from None
        try:
            yield
        finally:
            lock.release()


def as_of_text(record: Record) -> str | None:
    """When the site was last heard, ISO 8601 with offset, or None."""
    return datetime.fromtimestamp(record.as_of, UTC).isoformat() if record.as_of else None
