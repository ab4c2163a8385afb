"""``python -m hpclaunch.keeper RUN_DIR``: started by commands, never by hand."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from pathlib import Path


def main() -> None:
    """Serve one site until its last session is gone."""
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the command
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(name)s %(threadName)s: %(message)s"
    )
    logging.getLogger("paramiko").setLevel(logging.WARNING)
    gc.disable()  # until all is imported: nothing of that is garbage
    from hpclaunch.keeper.service import Keeper

    gc.enable()
    Keeper(Path(sys.argv[1])).serve()


if __name__ == "__main__":
    main()
