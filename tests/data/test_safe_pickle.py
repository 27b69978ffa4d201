import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from mixreg._errors import DataError
from mixreg.data.safe_pickle import load_pickle

FILE = Path("folder/batch")


class Bomb:
    """A pickle of this makes a folder when an ordinary unpickler reads it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_reads_what_the_published_files_hold(python2_pickle):
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    values = load_pickle(FILE, python2_pickle({b"data": array, b"labels": [1, 2], b"n": 3}))
    assert list(values) == [b"data", b"labels", b"n"]
    np.testing.assert_array_equal(values[b"data"], array)
    assert values[b"data"].dtype == np.uint8
    assert values[b"labels"] == [1, 2]


def test_reads_strings_of_python_2_as_bytes():
    assert load_pickle(FILE, b"\x80\x02}U\x04nameU\x03\xff\x00as.") == {b"name": b"\xff\x00a"}


def test_reads_arrays_in_column_order(python2_pickle):
    array = np.asfortranarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    values = load_pickle(FILE, python2_pickle({b"data": array}))
    np.testing.assert_array_equal(values[b"data"], array)


def test_a_bomb_goes_off_elsewhere_but_not_here(tmp_path):
    elsewhere, trace = tmp_path / "elsewhere", tmp_path / "trace"
    function, arguments = Bomb(elsewhere).__reduce__()
    function(*arguments)
    assert elsewhere.exists()
    with pytest.raises(DataError, match=r"folder/batch names posix.mkdir.*not loaded"):
        load_pickle(FILE, pickle.dumps({b"data": Bomb(trace)}))
    assert not trace.exists()


@pytest.mark.parametrize(
    "module", ["builtins\neval", "os\nsystem", "numpy\nload", "numpy\nfromfile"]
)
def test_every_other_name_is_refused(module):
    name = module.replace("\n", ".")
    with pytest.raises(DataError, match=f"names {name}"):
        load_pickle(FILE, f"c{module}\n(S'1'\ntR.".encode())


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_arrays_of_other_types_are_refused(protocol):
    objects = pickle.dumps({b"data": np.array([{}], dtype=object)}, protocol=protocol)
    with pytest.raises(DataError, match="folder/batch"):
        load_pickle(FILE, objects)
    with pytest.raises(DataError, match=r"folder/batch (holds an array of dtype|names)"):
        load_pickle(FILE, pickle.dumps({b"data": np.zeros(3)}, protocol=protocol))


def test_an_array_of_the_wrong_length_is_refused(python2_pickle):
    content = python2_pickle({b"data": np.zeros((2, 2), np.uint8)})
    state = b"K\x02K\x02\x86"
    assert content.count(state) == 1
    with pytest.raises(DataError, match="not a readable pickle"):
        load_pickle(FILE, content.replace(state, b"K\x02K\x09\x86"))


def test_an_array_without_a_state_is_refused():
    content = b"\x80\x02}U\x04datacnumpy\nndarray\n)\x81s."
    with pytest.raises(DataError, match="not a readable pickle"):
        load_pickle(FILE, content)


@pytest.mark.parametrize("content", [b"", b"\x80", b"no pickle", b"\x80\x02}U\x04da", b"."])
def test_damaged_pickles_are_named(content):
    with pytest.raises(DataError, match="folder/batch is not a readable pickle"):
        load_pickle(FILE, content)


def test_a_pickle_of_something_else_is_refused():
    with pytest.raises(DataError, match="folder/batch holds a list, expected a dictionary"):
        load_pickle(FILE, pickle.dumps([1, 2]))
