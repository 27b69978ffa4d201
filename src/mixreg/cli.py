"""The command line: `mixreg train | evaluate | compare | ... | export | report`.

A command's settings are a frozen dataclass; its fields are the options, its docstring the help, and
msgspec decodes their words. What a command runs is imported when it is called.
"""

import argparse
import codecs
import dataclasses
import difflib
import importlib
import inspect
import io
import os
import re
import sys
import typing
from collections.abc import Sequence
from importlib import metadata
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, get_args, get_origin

from mixreg._errors import ConfigurationError, MixregError
from mixreg._files import failure_text

_PLAIN = {
    "−": "-",
    "±": "+-",
    "α": "alpha",
    "θ": "theta",
    "λ": "lambda",
    "→": "->",
    "↑": "^",
    "↓": "v",
    "≤": "<=",
}
_METAVARS = {int: "N", float: "X", bool: "true|false", Path: "PATH"}
_GROUPS = {
    "what": (
        *("config", "data", "data_root", "model", "method", "methods", "alpha", "seed", "seeds"),
        *("scale", "training_fraction", "label_noise", "label", "image_size", "resize", "mean"),
        *("std", "weights", "held_out", "shift"),
        *("samples", "exact", "reference", "metric", "trials", "reduction", "rungs"),
        *("format", "into", "inputs", "outputs"),
    ),
    "how to train": (
        *("epochs", "batch_size", "learning_rate", "momentum", "weight_decay", "milestones"),
        "precision",
    ),
    "where to run": ("accelerator", "devices", "workers", "jobs", "backend", "address"),
    "output": ("output", "dry_run", "skip_missing", "snapshots", "loggers", "progress"),
}
_RARE = "rarely needed"
_OFF = " (false)"
_LONGEST = 500  # characters of a word in an error


class _Command(NamedTuple):
    """A command: its settings, what runs them and what plans them, and what it writes."""

    name: str
    summary: str
    settings: str
    run: str  # module:name, as `plan`
    plan: str = ""
    writes: str = "report"
    default: str | None = None  # the recipe where neither one nor data are named


_COMMANDS = (
    _Command(
        "train", "train one model, or resume its training", "TrainConfig", "mixreg.cli:_train"
    ),
    _Command(
        "evaluate",
        "evaluate a trained model: raw, rescaled, temperature-scaled, ...",
        "EvaluateOptions",
        "mixreg.experiments.evaluate:evaluate_checkpoint",
    ),
    _Command(
        "compare",
        "train and compare methods over several seeds",
        "CompareConfig",
        "mixreg.experiments.compare:compare",
        "mixreg.experiments.compare:plan_comparison",
        default="few-digits",
    ),
    _Command(
        "tune",
        "choose the law of mixing and the correction on held-out data",
        "TuneOptions",
        "mixreg.experiments.tune:tune",
    ),
    _Command(
        "reproduce",
        "make a figure or table of the paper",
        "ReproduceOptions",
        "mixreg.experiments.reproduce:reproduce",
        "mixreg.experiments.reproduce:plan_reproduction",
        writes="results",
    ),
    _Command(
        "diagnose",
        "measure the Mixup risk and its regularizers on a trained model",
        "DiagnoseOptions",
        "mixreg.experiments.diagnose:diagnose_checkpoint",
    ),
    _Command(
        "export",
        "write the rescaled prediction of a checkpoint as a file to deploy",
        "ExportOptions",
        "mixreg.experiments.export:export_checkpoint",
        writes="file",
    ),
    _Command(
        "report",
        "one page of any runs and results, with all tested claims of the paper",
        "ReportOptions",
        "mixreg.experiments.report:report",
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; an error is told in one line, with exit status 2.

    Args:
        arguments: the words after `mixreg`; by default those of the process.
    """
    _write_any_text()
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        _run(words)
        sys.stdout.flush()
    except MixregError as error:
        sys.exit(_failure(str(error)))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        sys.exit(_failure(failure_text(error)))


def _run(words: Sequence[str]) -> None:
    if not words or words[0] in {"-h", "--help"}:
        print(_overview())
        return
    if words[0] == "--version":
        print(metadata.version("mixreg"))
        return
    command = next((c for c in _COMMANDS if c.name == words[0]), None)
    if command is None:
        raise ConfigurationError(_unknown("command", words[0], [c.name for c in _COMMANDS]))
    try:
        settings = _imported(f"mixreg.settings:{command.settings}")
        shows = {"--print-config", "--print_config"} & {*words}
        values = read_settings(command, settings, [word for word in words[1:] if word not in shows])
        if shows:
            print(_as_file(values), end="")
        else:
            _call(command, values)
    except ModuleNotFoundError as error:
        if (error.name or "mixreg").partition(".")[0] == "mixreg":
            raise
        raise MixregError(
            f"`mixreg {command.name}` needs the package {error.name}, which is not installed; "
            "install it with: pip install 'mixreg[cli]'"
        ) from error


def _imported(name: str) -> Any:
    module, _, member = name.partition(":")
    return getattr(importlib.import_module(module), member)


def _call(command: _Command, settings: Any) -> None:
    if command.plan and settings.dry_run:
        print(_imported(command.plan)(settings))
    elif written := _imported(command.run)(settings):
        text, path = written
        print(f"{text}\n{command.writes}: {path}")


def _train(config: Any) -> None:
    from mixreg.training import is_first_process, train

    run = train(config)
    if is_first_process():
        last = run.read_result().history[-1]
        values = ", ".join(f"{name} {value:.4g}" for name, value in last.items())
        print(f"{run.path}: finished ({values})\nnext: mixreg evaluate {run.path}")


# -- words to settings -----------------------------------------------------------------------------


def read_settings(command: _Command, settings: type, words: Sequence[str]) -> Any:
    """Settings from the words of a command, above those of its configuration file."""
    hints = typing.get_type_hints(settings)
    parser = _parser(command, settings, hints)
    parsed, unknown = parser.parse_known_args(_normalised(words, hints))
    if unknown:
        options = [option for action in parser._actions for option in action.option_strings]
        name = unknown[0].partition("=")[0]
        raise ConfigurationError(f"{_unknown('option', name, options)}; see `{parser.prog} --help`")
    given = vars(parsed)
    if command.default and not given.keys() & {"config", "data"}:
        given["config"] = command.default
    values: dict[str, Any] = {}
    if (config := given.pop("config", None)) is not None:
        for name, value in _configuration(config).items():
            if name not in hints:
                raise ConfigurationError(f"{config}: {_unknown('setting', name, list(hints))}")
            values[name] = _decode(f"{config}: {name}", value, hints[name], strict=True)
    for name, word in given.items():
        label = name if name in _positional(settings) else f"--{name.replace('_', '-')}"
        values[name] = _decode(label, word, hints[name], strict=False)
    return settings(**values)


def _positional(settings: type) -> list[str]:
    """The settings that have no default."""
    from mixreg.settings import default_of

    fields = dataclasses.fields(settings)
    return [field.name for field in fields if default_of(field) is dataclasses.MISSING]


def _decode(label: str, value: Any, hint: Any, *, strict: bool) -> Any:
    """One value of a setting; a word of the command line stands for a number, a path or a list."""
    from msgspec import ValidationError, convert

    from mixreg.settings import spelled

    if not strict and isinstance(value, str):
        value = re.sub(r"^([+-]?)\.(?=\d)", r"\g<1>0.", value)
        if _is_list(hint):
            inside = re.sub(r"^\s*\[(.*)\]\s*$", r"\1", value)
            value = [part.strip() for part in inside.split(",")] if inside.strip() else []
    if not strict and hint is bool:
        value, strict = {"true": True, "false": False}.get(value, value), True
    try:
        return convert(value, hint, strict=strict, dec_hook=_path)
    except (ValidationError, RecursionError, UnicodeError) as error:
        given = repr(value)
        shortened = given if len(given) < 60 else f"{given[:50]}..."
        raise ConfigurationError(f"{label} must be {spelled(hint)}, got {shortened}") from error


def _path(kind: type, value: Any) -> Path:
    if kind is not Path or not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    return Path(value)


def _is_list(hint: Any) -> bool:
    return get_origin(hint) is list


def _configuration(name: str) -> dict[str, Any]:
    """The settings in a YAML file, or in the shipped recipe of that name."""
    from mixreg.training.files import read_settings, recipe

    if Path(name).exists():
        return read_settings(Path(name))
    try:
        return recipe(name)
    except ValueError as error:
        raise ConfigurationError(f"--config: there is no file {name}, and {error}") from error


def _as_file(settings: Any) -> str:
    """Settings as a file that --config takes."""
    import msgspec

    from mixreg.training.files import text_of

    return text_of(msgspec.to_builtins(settings, enc_hook=str))


def _normalised(words: Sequence[str], hints: dict[str, Any]) -> list[str]:
    """Options with underscores as with dashes, and switches without a value as switched on."""
    result: list[str] = []
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        name, equals, value = word.partition("=")
        if re.fullmatch(r"--[a-zA-Z][\w-]*", name):
            name = name.replace("_", "-")
            is_switch = hints.get(name[2:].replace("-", "_")) is bool
            if not equals and is_switch and following not in {"true", "false"}:
                equals, value = "=", "true"
        result.append(name + equals + value)
    return result


# -- help ------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message}; see `{self.prog} --help`")


class _Formatter(argparse.HelpFormatter):
    """Options and their meaning in two columns as wide as the terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)

    def _format_usage(self, usage: Any, actions: Any, groups: Any, prefix: Any) -> str:
        del usage, groups, prefix
        names = [str(action.dest).upper() for action in actions if not action.option_strings]
        return f"usage: {' '.join([self._prog, *names])} [--option value ...]\n\n"


def _parser(command: _Command, settings: type, hints: dict[str, Any]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f"mixreg {command.name}",
        description=f"{command.summary[0].upper()}{command.summary[1:]}.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        formatter_class=_Formatter,
        add_help=False,
    )
    meanings = _meanings(settings)
    fields = {field.name: field for field in dataclasses.fields(settings)}
    for name in _positional(settings):
        nargs = "+" if _is_list(hints[name]) else None
        parser.add_argument(name, nargs=nargs, help=meanings[name])
    options = ["config", *(name for name in fields if name not in _positional(settings))]
    placed = {name for names in _GROUPS.values() for name in names}
    groups = _GROUPS | {_RARE: tuple(name for name in options if name not in placed)}
    for title, names in groups.items():
        group = parser.add_argument_group(title)
        for name in [name for name in names if name in options]:
            first = f"; without it and --data, {command.default}" if command.default else ""
            meaning = meanings.get(
                name, f"YAML file of settings, or name of a shipped recipe{first}"
            )
            default = _default(fields[name]) if name in fields else ""
            metavar = _metavar(hints.get(name, Path), is_switch=default == _OFF)
            group.add_argument(
                f"--{name.replace('_', '-')}",
                metavar=metavar,
                help=meaning + default * (default != _OFF),
            )
    group.add_argument("--print-config", action="store_true", help="print all settings as YAML")
    group.add_argument("-h", "--help", action="help", help="show this help")
    return parser


def _metavar(hint: Any, *, is_switch: bool) -> str:
    """What stands for the value of an option in the help."""
    if is_switch:
        return ""
    if _is_list(hint):
        return "A,B,..."
    kinds = {hint, *get_args(hint)}
    return next((name for kind, name in _METAVARS.items() if kind in kinds), "NAME")


def _meanings(settings: type) -> dict[str, str]:
    """The first clause on each field in the docstrings of a class and those it extends."""
    meanings: dict[str, str] = {}
    for part in reversed(settings.__mro__):
        text = inspect.cleandoc(part.__doc__ or "").partition("\nArgs:\n")[2]
        for name, meaning in re.findall(r"^    (\w+): (.*?)(?=^    \w|^\S|\Z)", text, re.M | re.S):
            clause = re.split(r"[;:.](?:\s|$)", " ".join(meaning.split()))[0]
            meanings[name] = clause.replace("%", "%%")
    return meanings


def _default(field: Any) -> str:
    from mixreg.settings import as_word, default_of

    value = default_of(field)
    if value is None or value is dataclasses.MISSING or value == []:
        return ""
    return f" ({as_word(value)})".replace("%", "%%")


def _overview() -> str:
    width = max(len(command.name) for command in _COMMANDS)
    lines = [f"  {command.name:{width}}  {command.summary}" for command in _COMMANDS]
    return "\n".join(
        [
            "usage: mixreg COMMAND [--option value ...]\n",
            "Mixup training, its rescaled prediction, and the regularization it induces.\n",
            *lines,
            "\n`mixreg COMMAND --help` lists the options of a command; `mixreg --version`.",
        ]
    )


# -- errors and output -----------------------------------------------------------------------------


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    """An unknown name, with the nearest known one."""
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known are: {', '.join(known)}"
    return f"unknown {kind} {name!r}{hint}"


def _failure(message: str) -> int:
    words = [word if len(word) <= _LONGEST else f"{word[:100]}..." for word in message.split()]
    print(f"mixreg: error: {' '.join(words)}", file=sys.stderr)
    return 2


def _write_any_text() -> None:
    """Let output in a narrow encoding write a minus sign as "-" instead of failing."""
    codecs.register_error("mixreg.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="mixreg.plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in text), error.end
