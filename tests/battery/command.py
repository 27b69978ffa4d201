"""The command line as a user meets it: one line that says what to mend, and nothing lost."""

import contextlib
import hashlib
import io

from mixreg.cli import main

SMALL = ["--epochs", "1", "--batch-size", "512", "--progress", "false"]
SETTINGS = ["--data", "digits", "--model", "mlp", *SMALL]
COMPARED = ["--methods", "mixup", "--seeds", "1", "--jobs", "1"]


def digest(folder):
    """Names and bytes of all files below a folder, but for the locks of runs."""
    return {
        file.relative_to(folder): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.suffix != ".lock"
    }


def call(words, *, kept=None):
    """What a command writes, or None and its one line of refusal, which leaves a folder as it is.

    Anything else fails: another exception, another status, two lines, a file changed or lost.
    """
    before = {} if kept is None else digest(kept)
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main([str(word) for word in words])
        return out.getvalue(), ""
    except SystemExit as exit_:
        line = err.getvalue().splitlines()[-1]
        written = (exit_.code, err.getvalue().count("mixreg: error"), "usage:" in err.getvalue())
        if written != (2, 1, False) or not line.startswith("mixreg: error: "):
            raise AssertionError(err.getvalue()) from exit_
        if kept is not None and digest(kept) != before:
            raise AssertionError(f"files were changed before: {line}") from exit_
        return None, line.removeprefix("mixreg: error: ")
