"""All records, on disk, so that a session outlives every program of the laptop.

A record is one 0600 JSON file in a 0700 directory of its own, beside the session's certificate
authority. Whoever learns something writes it there through `Book.update`, under a lock; everybody
else reads.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hpclaunch import paths
from hpclaunch.errors import NoSuchSession, SessionError, SessionExists
from hpclaunch.sessions.record import Record

__all__ = ["Book"]

_PATIENCE = 20.0  # seconds for another program to write


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
        self._keep(name, nonce, {"ca.pem": authority, "token": token.encode()})

    def keep_program(self, name: str, nonce: str, content: bytes) -> None:
        """Keep the script that is sent along with a batch, to run it again.

        Raises
        ------
        NoSuchSession
            If the record is gone, or another session has taken its name.
        """
        self._keep(name, nonce, {"program": content})

    def _keep(self, name: str, nonce: str, files: dict[str, bytes]) -> None:
        """Write files beside a record that is still the one of `nonce`."""
        with self._lock(name):
            self._same(name, nonce)
            for file, content in files.items():
                paths.write_private(self.directory(name) / file, content)

    def program(self, name: str) -> bytes:
        """The script that was sent along with a batch."""
        return (self.directory(name) / "program").read_bytes()

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
        """``SITE-N`` with the lowest N that is free.

        A failed session keeps its name, for `why`; a batch does until its directory is removed.
        """
        free = {
            record.name
            for record in self
            if record.state == "ended"
            and not record.untidy
            and (record.batch is None or not record.session_dir)
        }
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
