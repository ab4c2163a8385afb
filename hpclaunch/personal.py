"""Everybody's own values where a profile has ``{name}``: in directives and in directories. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hpclaunch.errors import PlanError
from hpclaunch.sites.catalog import LoadedSite

__all__ = ["Personal"]

_PLACEHOLDER = re.compile(r"\{([A-Za-z][A-Za-z0-9_-]*)\}", re.ASCII)
_NOT_THE_SHELLS = re.compile(r"(?<!\$)" + _PLACEHOLDER.pattern, re.ASCII)

# Names that need no entry in [values], and may stand in one: the key of user.toml, and --set's.
_KNOWN_ELSEWHERE = {"account": ("account", "account"), "user": ("user", "login.user")}
_ELSEWHERE = re.compile(r"\{(account|user)\}")


class Personal:
    """What stands for each ``{name}`` of a profile, and which of them nobody has given.

    Parameters
    ----------
    loaded : LoadedSite
    account : str or None
        The account to charge, for ``{account}``.
    """

    def __init__(self, loaded: LoadedSite, account: str | None) -> None:
        self._loaded = loaded
        given = {"account": account, "user": loaded.site.login.user}
        self._known = {name: value for name, value in given.items() if value is not None}
        self._lacking: dict[str, str] = {}
        self._values = loaded.site.values

    def fill(self, text: str, *place: str, shell: bool = False) -> str:
        """Return `text` with the values in it; what lacks stands there as ``<NAME>``.

        Parameters
        ----------
        text : str
        *place : str
            Table and key of the text, for people.
        shell : bool
            Whether ``${NAME}`` is a variable of the job.
        """

        def known(match: re.Match[str]) -> str:
            if match[1] in self._known:
                return self._known[match[1]]
            self._lacking.setdefault(match[1], f"{place[-1]} in {self._loaded.origin(*place)}")
            return f"<{match[1].upper()}>"

        def value(match: re.Match[str]) -> str:
            written = self._values.get(match[1])
            return known(match) if written is None else _ELSEWHERE.sub(known, written)

        return (_NOT_THE_SHELLS if shell else _PLACEHOLDER).sub(value, text)

    def fill_all(self, texts: Iterable[str], *place: str) -> tuple[str, ...]:
        """`fill` each of `texts`, which are one list of the profile."""
        return tuple(self.fill(text, *place) for text in texts)

    def lacking(self, *, draft: bool) -> list[str]:
        """Warnings of what nobody has given and `fill` has asked for.

        Parameters
        ----------
        draft : bool
            Whether that is only to be looked at.

        Raises
        ------
        PlanError
            If it is not, and something lacks; names the line to write.
        """
        site = self._loaded.site.name
        what = [
            f"site {site} needs a value for {{{name}}} ({where})"
            for name, where in self._lacking.items()
        ]
        if what and not draft:
            name = next(iter(self._lacking))
            key, setting = _KNOWN_ELSEWHERE.get(name, (f"values.{name}",) * 2)
            raise PlanError(
                what[0],
                hint=f'write it once: {key} = "…" in [{site}] of user.toml; or --set {setting}=…',
            )
        return what
