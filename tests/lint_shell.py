"""Run shellcheck on every shell script of the repository, the rendered ones in tests/golden too.

``make lint`` runs this. Exit code 0 clean, 1 with findings, 2 without shellcheck.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHEBANG = re.compile(rb"#!.*\b(ba|da|k)?sh\b")
FOLLOW = ("--external-sources", "--check-sourced", "--source-path=SCRIPTDIR")
FROM_OUTSIDE = "--exclude=SC2153,SC2154"  # variables that the sourcing script sets


def scripts() -> list[Path]:
    """All shell scripts that git knows or would add, templates excepted."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    files = sorted({ROOT / name for name in listed.split("\0") if name})
    return [file for file in files if file.is_file() and is_script(file)]


def is_script(file: Path) -> bool:
    """Whether a file is shell, by its name or its first line."""
    return file.suffix == ".sh" or (file.suffix != ".j2" and has_shebang(file))


def has_shebang(file: Path) -> bool:
    """Whether a file is run by itself, and not sourced by another or given to ``sh -c``."""
    with file.open("rb") as stream:
        return SHEBANG.match(stream.readline()) is not None


def groups(files: Iterable[Path]) -> dict[tuple[str, ...], list[Path]]:
    """The files by the options that shellcheck needs for them."""
    sorted_out: dict[tuple[str, ...], list[Path]] = {}
    for file in files:
        if file.is_relative_to(ROOT / "templates"):
            options: tuple[str, ...] = ("--shell=sh",)
        elif has_shebang(file):
            options = FOLLOW
        else:
            options = (FROM_OUTSIDE,)
        sorted_out.setdefault(options, []).append(file)
    return sorted_out


def shellcheck() -> str | None:
    """The shellcheck of this environment, else of the machine."""
    return shutil.which("shellcheck", path=Path(sys.executable).parent) or shutil.which(
        "shellcheck"
    )


def findings(files: Iterable[Path]) -> list[str]:
    """What shellcheck says of the files, one line each.

    Raises
    ------
    RuntimeError
        If shellcheck is missing or cannot do its work.
    """
    program = shellcheck()
    if program is None:
        raise RuntimeError("shellcheck is missing: `make install` brings it")
    said: list[str] = []
    for options, group in groups(files).items():
        names = [os.path.relpath(file, ROOT) for file in group]
        done = subprocess.run(
            [program, "--format=gcc", *options, *names], cwd=ROOT, capture_output=True, text=True
        )
        if done.returncode > 1:
            raise RuntimeError(f"shellcheck failed: {done.stderr.strip() or done.stdout.strip()}")
        said += done.stdout.splitlines()
    return list(dict.fromkeys(said))


def main() -> int:
    """Print the findings."""
    files = scripts()
    try:
        said = findings(files)
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line in said:
        print(line)
    print(f"shellcheck: {len(said)} findings in {len(files)} scripts", file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
