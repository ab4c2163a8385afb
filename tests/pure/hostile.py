"""Text that somebody might put where a shell can see it."""

from __future__ import annotations

from hypothesis import strategies as st

__all__ = ["EVIL", "arguments", "lines", "names"]

EVIL = (
    "",
    " ",
    "a b",
    "it's",
    '"',
    "''",
    "\\",
    "\\\n",
    "a\nb",
    "\n",
    "\ttab",
    "$(touch pwned)",
    "`touch pwned`",
    "$HOME",
    "${x:-y}",
    "a;touch pwned",
    "a&touch pwned&",
    "|touch pwned",
    ">pwned",
    "<job.sh",
    "$'\\x41'",
    "{a,b}",
    "*",
    "?",
    "[a-z]*",
    "~",
    "~root/x",
    "~/x",
    "#comment",
    "a #b",
    "!!",
    "-n",
    "-rf",
    "--",
    "--help",
    "-c touch pwned",
    "=ls",
    "a=b",
    "%j",
    "%%",
    "%1",
    "((1))",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "]]>",
    "\r",
    "\x1b[31m",
    "\x7f",
    "ü€𝄞",
    "\u2028",
    "\ufeff",
)
"""Things that have gone wrong somewhere."""

_any = st.characters(exclude_characters="\0", exclude_categories=("Cs",))
_bent = st.sampled_from(EVIL)

arguments = _bent | st.text(_any) | st.tuples(_bent, _bent).map("".join)
"""What one argument of a command can be: anything but NUL."""

lines = arguments.filter(lambda text: text.strip() != "" and all(map(str.isprintable, text)))
"""What a profile accepts as one line."""

names = arguments.filter(
    lambda text: text not in ("", ".", "..") and "/" not in text and len(text.encode()) < 200
)
"""What a file can be called."""
