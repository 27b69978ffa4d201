"""`mixreg` and `python -m mixreg`, ended by a signal in one line, also while modules are imported.

Only `import mixreg` itself comes before: an interrupt in that time still shows where it struck.
"""

import signal
import sys
from typing import Any


def main() -> None:
    """Run the command line; Ctrl-C ends it with exit status 130 and SIGTERM with 143."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        from mixreg.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("\nmixreg: interrupted; run the same command to go on\n")
        sys.exit(130)


def _terminate(*_: Any) -> None:
    sys.stderr.write("\nmixreg: terminated; run the same command to go on\n")
    sys.exit(143)


if __name__ == "__main__":
    main()
