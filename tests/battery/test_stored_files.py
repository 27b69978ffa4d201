"""Every stored file of a run, a comparison and a diagnosis × every kind of damage."""

import hashlib
import json
import pickle
import shutil

import pytest
from tests.battery.command import COMPARED, SETTINGS, call

import mixreg
from mixreg import MixregError
from mixreg.report import read_document
from mixreg.training import RunDirectory

RUN = "compare/runs/mixup-seed0/"


class Trap:
    """Makes a folder where it is unpickled."""

    def __reduce__(self):
        import os

        return os.mkdir, ("unpickled",)


def flipped(data):
    """Data with one flipped bit."""
    place = len(data) * 5 // 8
    return data[:place] + bytes([data[place] ^ 8]) + data[place + 1 :]


def answer(shown):
    """What is shown, without the progress of a sweep and what it set aside to train again."""
    return [line for line in shown.splitlines() if not line.startswith(("[1/1]", "mixup-seed0:"))]


DAMAGES = {
    "emptied": lambda _: b"",
    "halved": lambda data: data[: len(data) // 2],
    "flipped": flipped,
    "zeros": lambda data: bytes(len(data)),
    "garbage": lambda data: hashlib.sha256(data).digest() * 9,
    "nested": lambda _: b"[" * 1000,
    "list": lambda _: b"[1, 2]",
    "pickle": lambda _: pickle.dumps(Trap()),
    "pointer": lambda _: b"version https://git-lfs.github.com/spec/v1\nsize 12345\n",
    "a folder": None,
    "gone": None,
}
READERS = {
    RUN + "config.json": ["load", "evaluate", "diagnose", "report-run", "train", "compare"],
    RUN + "result.json": ["report-run", "train", "compare", "evaluate"],
    RUN + "environment.json": ["report-run"],
    RUN + "evaluation.json": ["report-run", "compare"],
    RUN + "model.safetensors": ["load", "evaluate", "diagnose", "weights", "compare"],
    RUN + "logits-test.safetensors": ["evaluate"],
    RUN + "checkpoint/last.ckpt": ["resume", "checkpoint"],
    RUN + "evaluation/metrics.json": ["evaluate", "report-run"],
    RUN + "diagnosis/diagnosis.json": ["diagnose", "report-run"],
    "compare/runs/sweep.json": ["compare"],
    "compare/metrics.json": ["report", "claims", "compare"],
    "compare/table.csv": ["report", "compare"],
    "compare/report.html": ["report", "compare"],
    "page/claims.csv": ["page"],
}
OFTEN = ("halved", "a folder", "gone")  # for every reader of a file; the first takes all damages
CASES = [
    (file, reader, damage)
    for file, readers in READERS.items()
    for reader in readers
    for damage in (DAMAGES if reader == readers[0] else OFTEN)
]
UNSEEN = {(RUN + "result.json", "flipped")}  # a digit of a number in a text
BARE = ["--data", "digits", "--model", "mlp", "--alpha", "1"]
FEW = ["--samples", "4", "--draws", "8", "--pairs", "8", "--progress", "false"]
COMMANDS = {
    "evaluate": ["evaluate", "b/" + RUN],
    "diagnose": ["diagnose", "b/" + RUN, *FEW],
    "weights": ["evaluate", f"b/{RUN}model.safetensors", *BARE, "--output", "new"],
    "checkpoint": ["evaluate", f"b/{RUN}checkpoint/last.ckpt", *BARE, "--output", "new"],
    "report-run": ["report", "b/" + RUN, "--output", "new"],
    "train": ["train", *SETTINGS, "--method", "mixup", "--output", "b/" + RUN],
    "resume": ["train", *SETTINGS, "--method", "mixup", "--output", "b/" + RUN],
    "compare": ["compare", *SETTINGS, *COMPARED, "--output", "b/compare"],
    "report": ["report", "b/compare", "--output", "new"],
    "claims": ["reproduce", "claims", "--output", "b"],
    "page": ["report", "b/compare", "--output", "b/page"],
}


def read(reader, place):
    """Read as a user would: what is shown, or None and the line of the refusal."""
    if reader == "load":
        try:
            return str(mixreg.load(place / RUN).state_dict()), ""
        except MixregError as error:
            return None, str(error)
    if reader == "resume":
        (place / RUN / "result.json").unlink()
    return call(COMMANDS[reader], kept=place)


@pytest.fixture(scope="session")
def undamaged(original, tmp_path_factory):
    """What each command shows of the files as they were written."""
    known = {}

    def shown(reader):
        if reader not in known:
            place = tmp_path_factory.mktemp("undamaged")
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(place)
                patch.setattr("mixreg.report.charts.draw", lambda _: "<svg/>")
                known[reader] = read(reader, shutil.copytree(original, place / "b"))[0]
        return known[reader]

    return shown


@pytest.mark.parametrize(("file", "reader", "damage"), CASES)
def test_damage_is_named_or_does_not_matter(copied, undamaged, file, reader, damage):
    damaged = copied / file
    data = damaged.read_bytes()
    damaged.unlink()
    if damage == "a folder":
        damaged.mkdir()
    elif DAMAGES[damage] is not None:
        damaged.write_bytes(DAMAGES[damage](data))
    shown, line = read(reader, copied)
    if shown is None:
        assert "\n" not in line
        assert len(line) < 1000
    elif (damage, reader) != ("gone", "report-run") and (file, damage) not in UNSEEN:
        assert answer(shown) == answer(undamaged(reader))
    assert not (copied.parent / "unpickled").exists()
    assert not list(copied.rglob("*.part"))


DECODED = {
    RUN + "config.json": lambda file: RunDirectory(file.parent).read_config(),
    RUN + "result.json": lambda file: RunDirectory(file.parent).read_result(),
    RUN + "evaluation.json": lambda file: RunDirectory(file.parent).read_evaluation(),
    "compare/metrics.json": read_document,
}
FREE = {"settings", "environment", "numbers"}  # any JSON, kept as it is
ANY_KEYS = {0}  # the metrics of an epoch
REQUIRED = {"format", "config", "alpha", "history", "results", "metrics", "nll", "count", "title"}
NEVER = {"NaN": "NaN", "out of range": "1e999", "long": "9" * 5000, "nested": "[" * 999 + "]" * 999}
NEVER |= {"object": '{"a": {}}', "list": '[{"a": []}]'}


def fields(value, place=()):
    """The place of every value of a JSON document, of lists the first entry."""
    yield place
    firsts = dict(enumerate(value[:1])) if isinstance(value, list) else value
    for key, entry in firsts.items() if isinstance(firsts, dict) else ():
        if key not in FREE:
            yield from fields(entry, (*place, key))


@pytest.mark.parametrize("kind", [*NEVER, "missing", "extra"])
@pytest.mark.parametrize("name", DECODED)
def test_no_field_takes_what_it_never_holds(copied, name, kind):
    file = copied / name
    whole = file.read_text()
    for place in fields(json.loads(whole)):
        changed = {"": json.loads(whole)}
        inner, last = changed, ""
        for key in place:
            inner, last = inner[last], key
        if kind == "extra" and isinstance(inner[last], dict) and last not in ANY_KEYS:
            inner[last]["more"] = 1
        elif kind == "missing" and last in REQUIRED:
            del inner[last]
        elif kind in NEVER:
            inner[last] = "@"
        else:
            continue
        file.write_text(json.dumps(changed[""]).replace('"@"', NEVER.get(kind, "")))
        with pytest.raises(MixregError, match=file.parent.name) as error:
            DECODED[name](file)
        assert "\n" not in str(error.value), place
