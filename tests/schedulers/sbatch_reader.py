"""What sbatch reads from ``#SBATCH`` lines.

After ``next_line``, ``get_argument`` and ``_opt_batch_script`` of Slurm's src/sbatch/opt.c
(releases 22.05.8 and 26.05; they read alike what hpclaunch writes). test_slurm_live.py asks the
real one.
"""

from __future__ import annotations

_SPACE = " \t\n\v\f\r"


def read_directives(script: str) -> list[str]:
    """The arguments that sbatch takes from the directives of `script`."""
    found: list[str] = []
    for line in script.split("\n"):
        if not line.startswith("#SBATCH"):
            if line.strip(_SPACE) and not line.lstrip(_SPACE).startswith("#"):
                break
            continue
        rest = line[len("#SBATCH") :]
        while (taken := _argument(rest)) is not None:
            word, rest = taken
            found.append(word)
    return found


def _argument(text: str) -> tuple[str, str] | None:
    """The first argument of `text` and what follows it, or None where there is none."""
    text = text.lstrip(_SPACE)
    if text.startswith(":"):
        raise ValueError("sbatch: fatal: Unexpected `:`")
    out, position, quotes, escaped = "", 0, "", False
    begun = False  # sbatch takes an argument without any character for the end of the line
    while position < len(text) and (quotes or text[position] not in _SPACE):
        character = text[position]
        position += 1
        if escaped:
            escaped = False
        elif character == "\\":
            if text[position : position + 1] == " ":
                out, begun, position = out + " ", True, position + 1
            else:
                escaped = True
            continue
        elif quotes:
            if character == quotes:
                quotes = ""
                continue
        elif character in "'\"":
            quotes = character
            continue
        elif character == "#":
            position = len(text)
            break
        out, begun = out + character, True
    if quotes:
        raise ValueError("sbatch: fatal: Unmatched quote")
    return (out, text[position:]) if begun else None
