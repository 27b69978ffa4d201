"""Files written whole or not at all, and what is said where that fails."""

import errno
import os

import pytest

from mixreg import cli
from mixreg._files import DiskFullError, failure_text, write_bytes


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_named_and_leaves_the_old_content(tmp_path, monkeypatch, number):
    def full(_):
        raise OSError(number, os.strerror(number))

    file = tmp_path / "file"
    write_bytes(file, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match=rf"no room to write {file} \(3 bytes\)"):
        write_bytes(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_comes_with_what_to_do(number):
    reason = os.strerror(number)
    remedy = "; free some space and run the same command again"
    assert failure_text(OSError(number, reason)) == reason + remedy
    assert failure_text(OSError(number, reason, "a.csv")) == f"{reason}: a.csv{remedy}"


def test_other_failures_come_with_the_file_if_it_is_known():
    reason = os.strerror(errno.EACCES)
    assert failure_text(PermissionError(errno.EACCES, reason)) == reason
    assert failure_text(PermissionError(errno.EACCES, reason, "a.csv")) == f"{reason}: a.csv"
    assert failure_text(OSError("no number")) == "no number"


def test_the_command_line_says_so_too(tmp_path, monkeypatch, capsys):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cli, "train", full)
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", "--output", str(tmp_path)])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(
        "error: No space left on device; free some space and run the same command again\n"
    )
