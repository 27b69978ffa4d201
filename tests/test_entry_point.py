"""Ctrl-C while the command line is still being imported."""

import os
import subprocess
import sys

import pytest

INTERRUPT = """
import runpy, signal, sys

class CtrlC:
    def find_spec(self, name, path=None, target=None):
        if name == "lightning":
            signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, CtrlC())
sys.argv = ["mixreg", "train"]
"""

STARTS = {
    "module": 'runpy.run_module("mixreg", run_name="__main__", alter_sys=True)',
    "script": "from mixreg.__main__ import main; sys.exit(main())",
}


def started(script):
    return subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_an_interrupt_during_the_imports_is_one_line(start):
    done = started(INTERRUPT + start)
    assert done.returncode == 130, done.stderr
    assert done.stderr == "\nmixreg: interrupted; run the same command to go on\n"
    assert done.stdout == ""


@pytest.mark.parametrize("module", ["argparse", "lightning"])
def test_too_many_open_files_during_the_imports_are_one_line(module):
    script = INTERRUPT.replace('"lightning"', f'"{module}"').replace(
        "signal.raise_signal(signal.SIGINT)",
        "raise OSError(24, 'Too many open files', 'a.py')",
    )
    done = started(f"{script}sys.modules.pop({module!r}, None)\n{STARTS['script']}")
    assert done.returncode == 2, done.stderr
    assert done.stderr == "mixreg: error: Too many open files: a.py\n"
