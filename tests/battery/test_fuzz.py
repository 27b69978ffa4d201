"""Random settings, stored files and batches: a right answer, or one line of refusal."""

import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from tests.battery.command import call
from tests.battery.test_batches import ours
from tests.battery.test_settings import OPTIONS

import mixreg
from mixreg import Beta, MixregError, Mixup, TrainingStatistics
from mixreg.report import read_document
from mixreg.training import RunDirectory

CASES = int(os.environ.get("MIXREG_FUZZ_CASES", "350"))
SEED = int(os.environ.get("MIXREG_FUZZ_SEED", "14"))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
TRAIN = sorted({name for command, name, _ in OPTIONS if command == "train"})
NUMERALS = st.from_regex(r"[-+]?[0-9.,e]{1,8}", fullmatch=True)
WORDS = st.tuples(st.sampled_from(TRAIN), TEXT | NUMERALS)


def many(function):
    """The same random cases each time, as many as are asked for."""
    return seed(SEED)(settings(max_examples=CASES, database=None)(function))


@many
@given(st.lists(WORDS, max_size=4), st.none() | st.dictionaries(st.sampled_from(TRAIN), VALUES))
def test_settings(tmp_path_factory, words, file):
    given_words = [f"--{name}={word}" for name, word in words]
    if file is not None:
        path = tmp_path_factory.getbasetemp() / "settings.yaml"
        path.write_text(json.dumps(file))
        given_words.append(f"--config={path}")
    shown, line = call(["train", *given_words, "--print-config"])
    assert (shown is None) == (line != "")
    if shown is not None:
        again = tmp_path_factory.getbasetemp() / "again.yaml"
        again.write_text(shown)
        assert call(["train", f"--config={again}", "--print-config"])[0] == shown


@pytest.fixture(scope="module")
def readers(original):
    """What reads each stored file of a run and a comparison."""
    run = original / "compare" / "runs" / "mixup-seed0"
    document = original / "compare" / "metrics.json"
    return [
        (run / "config.json", lambda: RunDirectory(run).read_config()),
        (run / "result.json", lambda: RunDirectory(run).read_result()),
        (run / "evaluation.json", lambda: RunDirectory(run).read_evaluation()),
        (run / "environment.json", lambda: RunDirectory(run).read_environment()),
        (document, lambda: read_document(document)),
        (run / "model.safetensors", lambda: mixreg.load(run)),
    ]


@many
@given(st.data())
def test_stored_files(readers, data):
    file, read = data.draw(st.sampled_from(readers))
    whole = file.read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 80)))
    middle = data.draw(st.binary(max_size=40) | VALUES.map(lambda v: json.dumps(v).encode()))
    file.write_bytes(whole[:start] + middle + whole[end:])
    try:
        read()
    except MixregError as error:
        assert_one_line(error, file)
    finally:
        file.write_bytes(whole)


def assert_one_line(error: MixregError, file: Path) -> None:
    assert "\n" not in str(error)
    assert file.parent.name in str(error)


SHAPES = st.lists(st.integers(0, 4), max_size=4)
DTYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8])
NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 0.5, 3.0, 1e30, float("nan"), float("inf")])


@st.composite
def tensors(draw):
    values = torch.full(draw(SHAPES), 0.0)
    values.view(-1)[: draw(st.integers(0, 9))] = draw(NUMBERS)
    return values.to(draw(DTYPES))


@many
@given(tensors(), tensors(), st.none() | st.integers(-1, 4), st.floats(1e-3, 1e3))
def test_batches(x, y, classes, alpha):
    kept = x.clone(), y.clone()
    generator = torch.Generator().manual_seed(0)
    try:
        batch = Mixup(Beta(alpha), classes, generator=generator)(x, y)
        stats = TrainingStatistics.from_tensors(x, y, classes)
    except (TypeError, ValueError) as error:
        if not ours(error):
            raise
    else:
        assert batch.inputs.shape == x.shape
        assert stats.x_mean.isfinite().all()
        torch.testing.assert_close(stats.x_mean, x.double().mean(0))
        assert ((batch.weight >= 0) & (batch.weight <= 1)).all()
    for value, before in zip((x, y), kept, strict=True):
        torch.testing.assert_close(value, before, rtol=0, atol=0, equal_nan=True)
