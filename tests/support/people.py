"""The people of the containerised site: their secrets, their codes, and what sshd saw of them."""

from __future__ import annotations

import base64
import hmac
import re
import struct
import subprocess
import time
from dataclasses import dataclass

from tests.support.cluster import DOCKER, Cluster, where

__all__ = ["Codes", "Logins", "secret"]

_STEP = 30  # seconds
_REACH = 7  # steps; the site takes codes up to 8 steps early or late


def secret(name: str) -> str:
    """A secret that ``docker/cluster up`` made, as ``dave.password``."""
    return (DOCKER / "run" / "secrets" / name).read_text().rstrip("\n")


def _now() -> int:
    return int(time.time()) // _STEP


@dataclass(frozen=True)
class Codes:
    """The device that shows a person's time-based codes (RFC 6238)."""

    cluster: Cluster
    person: str

    def fresh(self) -> str:
        """A code that has not been used; waits for the next one where all have been."""
        while not (free := self._free()):
            time.sleep(_STEP - time.time() % _STEP)
        now = _now()
        return self.at(min(free, key=lambda step: abs(step - now)))

    def _free(self) -> set[int]:
        """The steps that the site takes now; its own list of used ones is read."""
        card = self.cluster.root("login", "cat", f"/home/{self.person}/.google_authenticator")
        used = re.search(r'^" DISALLOW_REUSE(.*)$', card, re.MULTILINE)
        assert used is not None, "the site would take a code twice"
        now = _now()
        return {now + late for late in range(-_REACH, _REACH + 1)} - set(map(int, used[1].split()))

    def at(self, step: int) -> str:
        """The code of one 30 s step since 1970."""
        digest = hmac.digest(
            base64.b32decode(secret(f"{self.person}.totp")), struct.pack(">Q", step), "sha1"
        )
        start = digest[-1] & 15
        number = struct.unpack(">I", digest[start : start + 4])[0] & 0x7FFFFFFF
        return f"{number % 10**6:06d}"


class Logins:
    """What sshd of some hosts logs of a person from now on."""

    def __init__(self, person: str, *hosts: str) -> None:
        self._person, self._hosts = person, hosts
        self._before = self._count()

    def accepted(self) -> int:
        """How many logins were accepted since."""
        return self._count()[0] - self._before[0]

    def failed(self) -> int:
        """How many attempts were refused since."""
        return self._count()[1] - self._before[1]

    def _count(self) -> tuple[int, int]:
        log = "".join(map(_log_of, self._hosts))
        refused = r"(?:Failed \S+|PAM: Authentication failure)"
        return (
            len(re.findall(rf"^Accepted \S+ for {self._person} from ", log, re.MULTILINE)),
            len(re.findall(rf"^{refused} for {self._person} from ", log, re.MULTILINE)),
        )


def _log_of(host: str) -> str:
    """What the daemons of a host have said."""
    client, container = where(host)
    return subprocess.check_output([client, "logs", container], stderr=subprocess.STDOUT, text=True)
