"""``python -m hpclaunch.cli``."""

from __future__ import annotations

import sys

from hpclaunch.cli import main

if __name__ == "__main__":
    sys.exit(main())
