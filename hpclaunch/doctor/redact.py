"""Take out of a text what a help desk does not need: secrets, and who somebody is. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = ["Redactor"]

_SECRETS = (
    (re.compile(r"-----BEGIN [^-]+-----.*?(?:-----END [^-]+-----|\Z)", re.DOTALL), "<key>"),
    (re.compile(r"(?i)\b(token|password|passwd|secret|authorization)(\s*[=:]\s*|\s+)"
                r"(?:(?:bearer|token|basic)\s+)?[^\s&,;'\"]+"), r"\1\2<secret>"),
    (re.compile(r"\b[A-Za-z0-9_-]{40,}={0,2}"), "<secret>"),
    (re.compile(r"://[^/@\s]+@"), "://<user>@"),
    (re.compile(r"(?<![\w.<-])[A-Za-z_][\w.-]*@(?=[\w\[])"), "<user>@"),
)  # fmt: skip


class Redactor:
    """Takes out of a text what is secret or personal.

    Parameters
    ----------
    names : mapping of str to str
        Words, such as login names and home directories, to what stands for them.
    secrets : iterable of str
        Further texts that nobody may see.
    """

    def __init__(self, names: Mapping[str, str], secrets: Iterable[str] = ()) -> None:
        self._secrets = sorted({one for one in secrets if one}, key=len, reverse=True)
        # The longest first: a home directory holds the name of its user.
        known = {word: instead for word, instead in names.items() if len(word) > 1}
        self._names = [
            (re.compile(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])"), instead)
            for word, instead in sorted(known.items(), key=lambda one: len(one[0]), reverse=True)
        ]

    def __call__(self, text: str) -> str:
        """The text without them."""
        for secret in self._secrets:
            text = text.replace(secret, "<secret>")
        for pattern, instead in _SECRETS:
            text = pattern.sub(instead, text)
        for pattern, instead in self._names:
            text = pattern.sub(instead, text)
        return text
