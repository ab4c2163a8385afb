"""The command line: arguments in, presentation out, no decisions.

Only argparse is imported before a command is known, so that every ``--help`` is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    from hpclaunch.cli.parser import build_parser

    arguments = build_parser().parse_args(argv)
    import gc
    from importlib import import_module

    from hpclaunch.errors import HpclaunchError

    module, function = arguments.handler
    try:
        gc.disable()  # nothing that an import makes is garbage; looking for some takes its time
        try:
            handler = getattr(import_module(f"hpclaunch.cli.{module}"), function)
        finally:
            gc.enable()
        return int(handler(arguments) or 0)
    except HpclaunchError as error:
        print("\n".join(error.lines()), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        sys.stderr.close()
        return 1
    except OSError as error:
        told = HpclaunchError(
            f"a file on this machine cannot be used: {error}",
            hint="is its file system full, read-only or over its quota?",
        )
        print("\n".join(told.lines()), file=sys.stderr)
        return told.exit_code
