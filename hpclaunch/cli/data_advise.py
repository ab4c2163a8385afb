"""`hpclaunch data advise`: how files are best read."""

from __future__ import annotations

import argparse
import json
import warnings
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hpclaunch.cli.data import check_installed
from hpclaunch.cli.tell import Progress
from hpclaunch.errors import StorageError

if TYPE_CHECKING:
    from hpclaunch.storage.advising import Advised

__all__ = ["advise"]


def advise(arguments: argparse.Namespace) -> int:
    """Advise on files."""
    check_installed()
    from hpclaunch.storage.advising import SECONDS
    from hpclaunch.storage.advising import advise as look

    with Progress() as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        if not arguments.no_measure:
            progress(f"reading a part of the files in several ways, for about {SECONDS:.0f} s")
        try:
            found = look(
                arguments.files,
                access=arguments.access,
                workers=arguments.workers,
                threads=arguments.threads,
                memory=arguments.memory,
                sample=not arguments.no_measure,
                seconds=SECONDS,
            )
        except OSError as error:
            raise StorageError(
                f"{error.filename or arguments.files[0]}: {error.strerror or error}",
                hint="is that its name, and may you read it?",
            ) from error
    print(json.dumps(_fields(found)) if arguments.json else found)
    return 0


def _fields(found: Advised) -> dict[str, Any]:
    return {
        "paths": list(found.paths),
        "kind": found.place.kind.name,
        "access": found.access,
        "machine": asdict(found.machine),
        "sample": None if found.sample is None else asdict(found.sample),
        "unmeasured": found.unmeasured,
        "notes": list(found.notes),
        "advice": [
            {
                **asdict(one),
                "gains": [{**asdict(gain), "told": gain.told} for gain in one.gains],
            }
            for one in found.advice
        ],
    }
