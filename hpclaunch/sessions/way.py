"""The way to a site, in a form that outlives the command that used it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpclaunch.transports.target import Target

if TYPE_CHECKING:
    from hpclaunch.sites.catalog import LoadedSite

__all__ = ["Way"]


@dataclass(frozen=True)
class Way:
    """The way to a site: the kind of transport and the login node.

    Attributes
    ----------
    kind : str
        ``openssh``, ``paramiko`` or ``local``.
    target : Target
    """

    kind: str
    target: Target

    @classmethod
    def of(cls, loaded: LoadedSite) -> Way:
        """The way that a profile describes, ``auto`` resolved for this laptop."""
        from hpclaunch.sites.catalog import resolve_near  # a keeper starts without profiles
        from hpclaunch.transports.factory import resolve_kind

        login = loaded.site.login
        local = loaded.site.scheduler.kind == "local"
        return cls(
            "local" if local else resolve_kind(login.transport),
            Target(
                host=login.host or "localhost",
                user=login.user,
                port=login.port,
                identity=str(resolve_near(loaded, login.identity)) if login.identity else None,
                ssh_config=resolve_near(loaded, login.ssh_config) if login.ssh_config else None,
                prologue=login.prologue,
                connect_timeout=float(login.connect_timeout),
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able fields; `from_dict` reads them."""
        fields = asdict(self.target)
        fields["ssh_config"] = str(fields["ssh_config"]) if fields["ssh_config"] else None
        return {"kind": self.kind, **fields}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Way:
        """Read `to_dict`."""
        rest = dict(fields)
        kind = rest.pop("kind")
        rest["ssh_config"] = Path(rest["ssh_config"]) if rest["ssh_config"] else None
        rest["prologue"] = tuple(rest["prologue"])
        return cls(kind, Target(**rest))

    @property
    def key(self) -> str:
        """Eight hex digits, equal for equal ways."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def __str__(self) -> str:
        return "this machine" if self.kind == "local" else str(self.target)
