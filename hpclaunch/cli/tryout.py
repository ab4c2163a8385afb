"""What `make start` runs: a first session on this machine that leaves nothing behind.

On a terminal it stays in the foreground until Ctrl-C. Without one it computes on both workers
through a kernel, prints ``ready`` and the result, and ends.
"""

from __future__ import annotations

import json
import sys

from hpclaunch.cli import main as hpclaunch
from hpclaunch.cli.tell import tell
from hpclaunch.errors import HpclaunchError, SessionFailed
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.kernel import Kernel

__all__ = ["main"]

INTERRUPTED = 130

_COMPUTE = """
import json
import dask.array as da
from distributed import Client, wait
client = Client()
client.wait_for_workers(2, timeout=60)
x = da.arange(4_000_000, chunks=250_000).persist()
wait(x)
held = {worker: len(keys) for worker, keys in client.has_what().items()}
print(json.dumps({"sum": int(x.sum().compute()), "chunks": sorted(held.values())}))
client.close()
"""
_SUM = 4_000_000 * 3_999_999 // 2


def main() -> int:
    """Run the first session and return the exit code."""
    book = Book()
    name = book.free_name("local")
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    code, ended = 1, 0
    try:
        options = [] if interactive else ["--detach", "--no-browser"]
        code = hpclaunch(["start", "local", "--name", name, *options])
        if code == 0 and not interactive:
            code = _compute(book, name)
    finally:
        if any(record.name == name and not record.is_over for record in book):
            ended = hpclaunch(["stop", name])
            code = 0 if interactive and code == INTERRUPTED else code  # how it is meant to end
    return code or ended


def _compute(book: Book, name: str) -> int:
    """Compute on both workers, as a notebook would, and print what came out."""
    record = book.read(name)
    assert record.url is not None
    try:
        with Kernel(record.url, book.token(name), timeout=120.0) as kernel:
            output = kernel.run(_COMPUTE)
        if output.error is not None:
            raise SessionFailed("the first computation failed", log=output.error)
        found = json.loads(output.text.splitlines()[-1])
        if found["sum"] != _SUM or len(found["chunks"]) != 2 or min(found["chunks"]) == 0:
            raise SessionFailed(f"the first computation gave {found}, not the sum {_SUM} on two")
    except OSError as error:
        tell("\n".join(SessionFailed(f"the first computation failed: {error}").lines()))
        return 1
    except HpclaunchError as error:
        tell("\n".join(error.lines()))
        return 1
    print("ready")
    print(
        f"the sum of 0..3999999 is {found['sum']}, computed on 2 workers "
        f"({found['chunks'][0]} and {found['chunks'][1]} chunks)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
