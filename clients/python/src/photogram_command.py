"""The entry point of the command `photogram`: imports nothing before Ctrl-C is handled.

It lies outside the package, because the import of a package comes before that of its modules.
"""

import sys


def main() -> int:
    """Run the command; interrupted at any time, it ends with 130 and without a traceback."""
    try:
        from photogram_cli.command import main as run

        return run()
    except KeyboardInterrupt:
        print("photogram: interrupted", file=sys.stderr)
        return 130
