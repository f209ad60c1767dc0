"""``python -m service`` is ``photogram up``."""

from __future__ import annotations

import sys

from service.commands.up import main

if __name__ == "__main__":
    sys.exit(main())
