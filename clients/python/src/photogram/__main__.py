"""``python -m photogram`` is the command ``photogram``."""

from __future__ import annotations

import sys

from photogram_command import main

if __name__ == "__main__":
    sys.exit(main())
