"""`mixreg` and `python -m mixreg`; Ctrl-C and SIGTERM end them in one line, at any time."""

import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command line of this process; status 130 after Ctrl-C, 143 after SIGTERM."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        from mixreg.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("\nmixreg: interrupted; run the same command to go on\n")
        sys.exit(130)
    except OSError as error:  # while modules are imported; `run` tells its own
        sys.stderr.write(f"mixreg: error: {error.strerror}: {error.filename}\n")
        sys.exit(2)
    except SystemExit as end:
        if end.code == 143:
            sys.stderr.write("mixreg: terminated; run the same command to go on\n")
        raise


def _terminate(number: int, frame: FrameType | None) -> None:
    del frame
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
