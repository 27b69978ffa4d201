"""Stored files: what was written comes back, anything else is one line."""

import contextlib
import dataclasses
import math
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixreg import CheckpointError
from mixreg._stored import Kept, decode, decode_bytes, encode, write


class Pair(NamedTuple):
    left: float
    right: float = 2.0


@dataclasses.dataclass(frozen=True)
class Thing:
    name: str
    pairs: tuple[Pair, ...]
    counts: dict[str, int]
    place: Path | None = None

    def __post_init__(self):
        if not self.name:
            raise ValueError("a name is\nneeded")


THING = Thing("ü", (Pair(0.1), Pair(1e-300, -0.0)), {"a": 3}, Path("x/y"))
FIELDS = '"name": "n", "pairs": [[1, 2]], "counts": {"a": 1}'


def test_what_is_written_comes_back(tmp_path):
    write(tmp_path / "thing.json", THING)
    assert decode(tmp_path / "thing.json", Thing, remedy="") == THING
    assert encode(THING) == encode(dataclasses.replace(THING))


def test_what_is_missing_or_damaged_is_not_found_and_named_when_read(tmp_path):
    kept = Kept("thing.json", Thing)
    assert kept.find(tmp_path) is None
    kept.write(tmp_path, THING)
    assert kept.find(tmp_path) == kept.read(tmp_path) == THING
    (tmp_path / "thing.json").write_text("{")
    assert kept.find(tmp_path) is None
    with pytest.raises(CheckpointError, match=r"thing\.json is damaged.*the same command again"):
        kept.read(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "truncated"),
        ('{"name": ' * 2000, "Expected `str`"),
        ("[]", "Expected `object`, got `array`"),
        ("\xff", "malformed"),
        ('{"name": "n"}', "missing required field `pairs`"),
        (f"{{{FIELDS}, 'a': 1}}", "malformed"),
        (f'{{{FIELDS}, "more": 1}}', "unknown field 'more' - at `$`"),
        (f'{{{FIELDS}, "name": "n"}}', "the key 'name' is there twice"),
        (f'{{{FIELDS}, "place": 3}}', "Expected `Path`, got `int` - at `$.place`"),
        (FIELDS.join("{}").replace("[1, 2]", '[1, "2"]'), "got `str` - at `$.pairs[0][1]`"),
        (FIELDS.join("{}").replace("[1, 2]", "[1, true]"), "got `bool` - at `$.pairs[0][1]`"),
        (FIELDS.join("{}").replace("[1, 2]", "[1, NaN]"), "malformed"),
        (FIELDS.join("{}").replace("[1, 2]", "[1, 1e400]"), "out of range"),
        (FIELDS.join("{}").replace("[1, 2]", "[1, 2, 3]"), "length"),
        (FIELDS.join("{}").replace('"a": 1', '"a": 1.5'), "Expected `int`, got `float`"),
        (FIELDS.join("{}").replace('"a": 1', f'"a": {"9" * 5000}'), "out of range"),
        (FIELDS.join("{}").replace('"n"', '""'), "a name is needed"),
        (FIELDS.join("{}").replace('"n"', r'"\ud800"'), "surrogate pair"),
    ],
)
def test_anything_else_is_one_line_with_file_and_remedy(tmp_path, text, reason):
    file = tmp_path / "thing.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError) as error:
        decode(file, Thing, remedy="write it again")
    message = str(error.value)
    assert message.startswith(f"{file} is damaged: ")
    assert reason in message
    assert message.endswith("; write it again")
    assert "\n" not in message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"a\.json is missing; write it"):
        decode(tmp_path / "a.json", Thing, remedy="write it")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_not_written(tmp_path, number):
    with pytest.raises(CheckpointError, match=r"is not stored - at `\$\.pairs\[1\]\[0\]`"):
        write(tmp_path / "a.json", dataclasses.replace(THING, pairs=(Pair(1), Pair(number))))
    assert not list(tmp_path.iterdir())


def test_nesting_without_end_is_refused():
    for kind in (object, list):
        with pytest.raises(CheckpointError, match=r"a\.json is damaged: .*recursion.*; mend it"):
            decode_bytes(b"[" * 100_000, kind, name="a.json", remedy="mend it")


@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 60))
def test_random_damage_is_refused_or_read(garbage, start, length):
    whole = encode(THING)
    damaged = whole[:start] + garbage + whole[start + length :]
    with contextlib.suppress(CheckpointError):
        assert isinstance(decode_bytes(damaged, Thing, name="a", remedy=""), Thing)
