"""Every option of every command × words of every kind, on the command line and in YAML."""

import re
import typing
from pathlib import Path
from types import NoneType

import pytest
import yaml
from tests.battery.command import call

from mixreg import settings

COMMANDS = {
    "train": (settings.TrainConfig, []),
    "evaluate": (settings.EvaluateOptions, ["run"]),
    "compare": (settings.CompareConfig, []),
    "tune": (settings.TuneOptions, []),
    "reproduce": (settings.ReproduceOptions, ["fig2"]),
    "diagnose": (settings.DiagnoseOptions, ["run"]),
    "export": (settings.ExportOptions, ["run"]),
    "report": (settings.ReportOptions, ["run"]),
}
OPTIONS = [
    (command, name, hint)
    for command, (kind, positional) in COMMANDS.items()
    for name, hint in typing.get_type_hints(kind).items()
    if name not in {"checkpoint", "runs", "name"}
    and not (command in {"compare", "tune"} and hasattr(settings.Recipe(), name))
]
WORDS = ["0", "-1", "1", "0.5", "1e30", "1_0", "1:01", "0x10", "9" * 5000, "nan", "", "null", "0E0"]
WORDS += ["true", "[1]", "{a: 1}", "a\0b", "\u00e9\n\x1b[2J", "[" * 99, "\udcff"]
FILES = {
    "output: 3": "output must be a path, got 3",
    "output: [a]": "output must be a path, got ['a']",
    "output: 1:01\nsed: 1": "unknown setting 'sed'",
    "output: true": "output must be a path, got True",
    "output: !!python/object/apply:os.mkdir [unpickled]": "is no file of settings",
}
FORMS = {
    int: r"-?\d{1,9}(\.0*)?([eE]0)?",
    float: r"-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?",
    Path: r"[^\0]+",
}


def kind_of(hint):
    """The type of a setting that may be left out, or of the entries of a list."""
    parts = [part for part in typing.get_args(hint) if part is not NoneType]
    is_name = typing.get_origin(hint) is typing.Literal
    return hint if is_name or not parts else kind_of(parts[0])


def value_of(word, hint):
    """What a word of the command line says as the value of such an option; KeyError for nothing."""
    if typing.get_origin(hint) is list:
        inside = word[1:-1] if re.fullmatch(r"\[.*\]", word) else word
        return [value_of(part, kind_of(hint)) for part in inside.split(",") if inside.strip()]
    if word == "null" and NoneType in typing.get_args(hint) and kind_of(hint) not in {str, Path}:
        return None
    kind = kind_of(hint)
    if typing.get_origin(kind) is typing.Literal:
        return {str(value): value for value in typing.get_args(kind)}[word]
    if kind is bool:
        return {"true": True, "false": False}[word]
    if not re.fullmatch(FORMS.get(kind, r"(?s).*"), word):
        raise KeyError(word)
    return str(word) if kind is Path else kind(float(word) if kind is int else word)


@pytest.mark.parametrize(("command", "name", "hint"), OPTIONS, ids=lambda v: str(v)[:20])
def test_a_word_is_the_value_or_refused_by_name(command, name, hint):
    option = f"--{name.replace('_', '-')}"
    for word in WORDS:
        shown, line = call([command, *COMMANDS[command][1], f"{option}={word}", "--print-config"])
        if shown is None:
            assert name.rstrip("s") in line.replace("-", "_"), word
            assert len(line) < 400, word
        else:
            assert yaml.safe_load(shown)[name] == value_of(word, hint), word


@pytest.mark.parametrize("text", FILES, ids=lambda text: text[:20])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_of_settings_is_read_strictly_by_every_command(command, text, tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    words = [command, *COMMANDS[command][1], "--config", file]
    shown, line = call(words, kept=tmp_path)
    assert shown is None
    assert line.startswith(str(file))
    assert FILES[text] in line
