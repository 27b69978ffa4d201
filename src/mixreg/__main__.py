"""`mixreg` and `python -m mixreg`, ended by Ctrl-C in one line, also while modules are imported.

Only `import mixreg` itself comes before: an interrupt in that time still shows where it struck.
"""

import sys


def main() -> None:
    """Run the command line of this process; Ctrl-C ends it in one line, with exit status 130."""
    try:
        from mixreg.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("\nmixreg: interrupted; run the same command to go on\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
