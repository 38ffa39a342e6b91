"""``python -m gemlive`` is the program ``gemlive``."""

from __future__ import annotations

import sys

from gemlive.cli import main

if __name__ == "__main__":
    sys.exit(main())
