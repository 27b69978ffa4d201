"""Unknown names, missing packages, files written whole, and seeds from names."""

import errno
import os
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixreg._errors import ConfigurationError, MixregError, check_name, require, unknown_name
from mixreg._files import DiskFullError, failure_text, write_bytes
from mixreg._random import derive_seed, generator

ENTROPY = st.lists(st.one_of(st.integers(0, 2**80), st.text(max_size=8)), max_size=5).map(tuple)
FULL = pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])


@pytest.mark.parametrize(
    ("name", "known", "message"),
    [
        (
            "LENET",
            ["mlp", "lenet"],
            "^unknown model 'LENET'; did you mean 'lenet'. Known: mlp, lenet$",
        ),
        ("zzz", ["mlp"], "^unknown model 'zzz'; known: mlp$"),
        ("name99", [f"name{i}" for i in range(200)], "'name99'.*mean 'name99'.*name18, name19, …$"),
    ],
)
def test_unknown_names_come_with_the_nearest_and_the_first_known(name, known, message):
    with pytest.raises(ValueError, match=message):
        raise unknown_name("model", name, known)


def test_names_are_checked():
    check_name("split", "test", ["train", "test"])
    with pytest.raises(ValueError, match="unknown split 'tset'; did you mean 'test'"):
        check_name("split", "tset", ["train", "test"])


@pytest.mark.parametrize("error", [MixregError, ConfigurationError])
def test_a_missing_package_is_named_with_the_extra(error, monkeypatch):
    assert require("json", extra="vision", purpose="a test").loads("[1]") == [1]
    monkeypatch.setitem(sys.modules, "absent", None)
    message = r"model x needs the package absent, .*pip install 'mixreg\[vision\]'"
    with pytest.raises(error, match=message):
        require("absent.part", extra="vision", purpose="model x", error=error)


@FULL
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


def test_an_interrupted_write_leaves_no_part_behind(tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "file", b"new")
    assert list(tmp_path.iterdir()) == []


@FULL
def test_no_room_comes_with_what_to_do(number):
    reason, remedy = os.strerror(number), "; free some space and run the same command again"
    assert failure_text(OSError(number, reason)) == reason + remedy
    assert failure_text(OSError(number, reason, "a.csv")) == f"{reason}: a.csv{remedy}"


def test_other_failures_come_with_the_file_if_it_is_known():
    reason = os.strerror(errno.EACCES)
    assert failure_text(PermissionError(errno.EACCES, reason)) == reason
    assert failure_text(PermissionError(errno.EACCES, reason, "a.csv")) == f"{reason}: a.csv"


@given(ENTROPY, ENTROPY)
def test_equal_seeds_mean_equal_entropy(first, second):
    assert (derive_seed(*first) == derive_seed(*second)) == (first == second)
    assert 0 <= derive_seed(*first) < 2**63
    torch.Generator().manual_seed(derive_seed(*first))


@pytest.mark.parametrize(
    ("first", "second"),
    [((0,), (0, 0)), ((5,), (5, 0)), ((2**32,), (0, 1)), ((1,), ("1",)), (("a", "b"), ("ab",))],
)
def test_padding_and_concatenation_do_not_collide(first, second):
    assert derive_seed(*first) != derive_seed(*second)


def test_seeds_do_not_change_between_releases():
    assert derive_seed(0, "mixing", 3) == 7947523748954873895
    assert derive_seed(np.int64(3), "a") == derive_seed(3, "a")


def test_streams_are_independent_of_each_other():
    draws = torch.stack([torch.randn(2000, generator=generator(0, k)) for k in range(40)])
    correlation = torch.corrcoef(draws) - torch.eye(40)
    assert correlation.abs().max() < 5 / 2000**0.5


def test_the_global_generator_is_neither_read_nor_moved():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = torch.rand(3, generator=generator(7))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(torch.rand(3, generator=generator(7)), first)


@pytest.mark.parametrize(
    ("entry", "error", "message"),
    [
        (-1, ValueError, "at least 0, got -1"),
        *((entry, TypeError, "integers or strings") for entry in (0.5, None, True, b"a")),
    ],
)
def test_other_entropy_is_refused(entry, error, message):
    with pytest.raises(error, match=message):
        derive_seed(3, entry)
