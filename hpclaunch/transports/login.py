"""Log in over an in-process connection, in the order and with the patience of ssh.

Keys that need nothing from the person come first, then keys with a passphrase, then the host's
own questions, then a password. A host may want several of these (partial success).
"""

from __future__ import annotations

import contextlib
import queue
import re
import threading
from collections.abc import Callable
from functools import partial

import paramiko

from hpclaunch.errors import TransportError, UnreachableError
from hpclaunch.transports.base import Ask
from hpclaunch.transports.keyring import Keyring
from hpclaunch.transports.ssh_config import Settings
from hpclaunch.transports.words import login_ended, login_error

__all__ = ["log_in"]

_TRIALS = 3
"""Times a secret may be given wrongly: NumberOfPasswordPrompts of ssh."""
_PATIENCE = 900.0
"""Seconds for one answer: of the person, or of a host that waits for a telephone."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_Prompts = list[tuple[str, bool]]


def log_in(transport: paramiko.Transport, settings: Settings, ask: Ask | None) -> None:
    """Authenticate `transport` for ``settings.user``.

    Raises
    ------
    LoginRefusedError
        If the host accepts nothing that we and the person have.
    LoginNeededError
        If a secret is needed and `ask` is None.
    UnreachableError
        If the connection ends before anything was tried.
    """
    transport.auth_timeout = _PATIENCE
    voice = None if ask is None else _Voice(ask)
    with contextlib.closing(Keyring(settings, voice)) as keyring:
        _Login(transport, settings, voice, keyring).run()


class _Voice:
    """Asks with the host's banner, which may say what is wanted, above the first question.

    The host's words cannot steer the terminal: control characters are shown as ``?``.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.banner = ""

    def __call__(self, prompt: str, echo: bool) -> str:
        text = "\n".join([*self.banner.splitlines(), prompt])
        self.banner = ""
        return self._ask(_CONTROL.sub("?", text), echo)


class _Login:
    """One login: what has been tried, and what the host still accepts."""

    def __init__(
        self,
        transport: paramiko.Transport,
        settings: Settings,
        ask: _Voice | None,
        keyring: Keyring,
    ) -> None:
        self.transport = transport
        self.settings = settings
        self.ask = ask
        self.user = settings.user
        self.where = f"{settings.user}@{settings.alias}"
        self.keyring = keyring
        self.keys = iter(keyring)
        self.allowed: set[str] = set()

    def run(self) -> None:
        """Log in or raise."""
        try:
            self._try(lambda: self.transport.auth_none(self.user))
            if self.ask is not None:
                self.ask.banner = (self.transport.get_banner() or b"").decode(errors="replace")
            while not self.transport.is_authenticated():
                if not self._one_round():
                    raise self._refused()
        except (EOFError, OSError, paramiko.SSHException) as error:
            raise self._ended(error) from error

    def _one_round(self) -> bool:
        """Try what the host accepts now; whether that brought us a factor further."""
        ways = {
            "publickey": self._by_key,
            "keyboard-interactive": self._by_questions,
            "password": self._by_password,
        }
        now = [name for name in self.settings.methods if name in self.allowed]
        return any(ways[name]() for name in now)

    def _try(self, attempt: Callable[[], list[str]]) -> bool:
        """Make one attempt; True if it was accepted, be it as one of several factors."""
        try:
            more = attempt()
        except paramiko.BadAuthenticationType as error:
            self.allowed = set(error.allowed_types)
            return False
        except paramiko.AuthenticationException:
            if not self.transport.is_active():
                raise
            return False
        self.allowed = set(more)
        return True

    def _by_key(self) -> bool:
        # The iterator goes on where it stopped: no key is offered twice.
        return any(
            self._try(partial(self.transport.auth_publickey, self.user, key)) for key in self.keys
        )

    def _by_questions(self) -> bool:
        if self.ask is None:
            return False
        for _ in range(_TRIALS):
            interview = _Interview(self.transport, self.user, self.ask, self.where)
            if self._try(interview.run):
                return True
            if not interview.asked:
                return False  # the host offers this way but has no question
        return False

    def _by_password(self) -> bool:
        if self.ask is None:
            return False
        for _ in range(_TRIALS):
            word = self.ask(f"{self.where}'s password: ", False)
            if self._try(partial(self.transport.auth_password, self.user, word, fallback=False)):
                return True
        return False

    def _refused(self) -> TransportError:
        denied = f"Permission denied ({','.join(sorted(self.allowed))})."
        return login_error(
            self.where,
            self.allowed,
            "\n".join([*self.keyring.complaints, denied]),
            asking=self.ask is not None,
            locked_key=self.keyring.locked,
        )

    def _ended(self, error: Exception) -> TransportError:
        if not self.allowed:
            return UnreachableError(f"{self.settings.alias} ended the connection", said=str(error))
        said = "\n".join([*self.keyring.complaints, str(error)])
        return login_ended(self.where, said)


class _Interview:
    """One keyboard-interactive exchange: the host asks, the person answers.

    paramiko wants the answers from its own thread; the person is asked from the caller's, where
    a Ctrl-C arrives and the terminal can be put back in order.
    """

    def __init__(self, transport: paramiko.Transport, user: str, ask: Ask, where: str) -> None:
        self._transport, self._user, self._ask, self._where = transport, user, ask, where
        self._questions: queue.SimpleQueue[tuple[str, str, _Prompts] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()
        self._outcome: list[str] | BaseException = []
        self.asked = False

    def run(self) -> list[str]:
        """Return what `Transport.auth_interactive` returns, or raise what it raises."""
        thread = threading.Thread(target=self._authenticate, daemon=True)
        thread.start()
        try:
            while (question := self._questions.get()) is not None:
                self._answers.put(self._put(*question))
        except BaseException:
            self._answers.put(None)
            self._transport.close()
            raise
        thread.join()
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome

    def _put(self, title: str, instructions: str, prompts: _Prompts) -> list[str]:
        self.asked = self.asked or bool(prompts)
        notes = [text.strip() for text in (title, instructions) if text.strip()]
        answers = []
        for prompt, echo in prompts:
            answers.append(self._ask("\n".join([*notes, f"({self._where}) {prompt}"]), echo))
            notes = []
        return answers

    def _authenticate(self) -> None:
        try:
            self._outcome = self._transport.auth_interactive(self._user, self._handle)
        except BaseException as error:
            self._outcome = error
        finally:
            self._questions.put(None)

    def _handle(self, title: str, instructions: str, prompts: _Prompts) -> list[str]:
        self._questions.put((title, instructions, prompts))
        answers = self._answers.get()
        if answers is None:
            raise EOFError("nobody answers")
        return answers
