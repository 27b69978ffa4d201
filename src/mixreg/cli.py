"""The command line: `mixreg train | evaluate | compare | diagnose | reproduce | report`."""

import dataclasses
import re
import sys
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import zip_longest
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from mixreg._errors import MixregError
from mixreg._files import failure_text
from mixreg.experiments import (
    REPRODUCIBLE,
    CompareConfig,
    DiagnoseOptions,
    EvaluateOptions,
    ReportOptions,
    ReproduceOptions,
    compare,
    diagnose_checkpoint,
    evaluate_checkpoint,
    plan_comparison,
    plan_reproduction,
    report,
    reproduce,
)
from mixreg.training import TrainConfig, is_first_process, train

_SWITCHES = ("dry_run", "skip_missing")
_RECIPES = resources.files("mixreg.training") / "recipes"


@dataclass(frozen=True)
class _Command:
    name: str
    summary: str
    settings: type
    run: Callable[[Any], None]
    positional: tuple[str, ...] = ()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; an error is told in one line, with exit status 2.

    Args:
        arguments: the words after `mixreg`; by default those of the process.
    """
    words = _normalised(sys.argv[1:] if arguments is None else arguments)
    try:
        parsed = _parser().parse_args(words)
    except UnicodeDecodeError as error:
        sys.exit(_failure(f"the file of --config holds no text: {error}"))
    command = next(c for c in _COMMANDS if c.name == parsed.command)
    try:
        command.run(_settings(command, parsed[command.name]))
    except MixregError as error:
        sys.exit(_failure(str(error)))
    except OSError as error:
        sys.exit(_failure(failure_text(error)))


def _train(config: TrainConfig) -> None:
    run = train(config)
    if not is_first_process():
        return
    last = run.read_result().history[-1]
    shown = ", ".join(f"{name} {value:.4g}" for name, value in last.items())
    print(f"{run.path}: finished ({shown})")
    print(f"next: mixreg evaluate {run.path}")


def _evaluate(options: EvaluateOptions) -> None:
    table, report = evaluate_checkpoint(options)
    print(f"{table}\nreport: {report}")


def _compare(config: CompareConfig) -> None:
    if config.dry_run:
        print(plan_comparison(config))
        return
    table, report = compare(config)
    print(f"{table}\nreport: {report}")


def _diagnose(options: DiagnoseOptions) -> None:
    table, report = diagnose_checkpoint(options)
    print(f"{table}\nreport: {report}")


def _reproduce(options: ReproduceOptions) -> None:
    if options.dry_run:
        print(plan_reproduction(options))
        return
    text, shown = reproduce(options)
    print(f"{text}\nresults: {shown}")


def _report(options: ReportOptions) -> None:
    text, page = report(options)
    print(f"{text}\nreport: {page}")


_COMMANDS = (
    _Command("train", "train one model, or resume its training", TrainConfig, _train),
    _Command(
        "evaluate",
        "evaluate a trained model: raw, rescaled, temperature-scaled, ...",
        EvaluateOptions,
        _evaluate,
        positional=("checkpoint",),
    ),
    _Command("compare", "train and compare methods over several seeds", CompareConfig, _compare),
    _Command(
        "reproduce",
        f"make a part of the paper: {', '.join(REPRODUCIBLE)}",
        ReproduceOptions,
        _reproduce,
        positional=("name",),
    ),
    _Command(
        "diagnose",
        "measure the Mixup risk and its regularizers on a trained model",
        DiagnoseOptions,
        _diagnose,
        positional=("checkpoint",),
    ),
    _Command(
        "report",
        "one page of any runs and results, with all tested claims of the paper",
        ReportOptions,
        _report,
        positional=("runs",),
    ),
)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="mixreg",
        description="Mixup training, its rescaled prediction, and the regularization it induces.",
        allow_abbrev=False,
    )
    subcommands = parser.add_subcommands(dest="command")
    for command in _COMMANDS:
        sub = ArgumentParser(description=command.summary, allow_abbrev=False)
        sub.add_argument(
            "--config", action="config", help="a YAML file, or the name of a shipped recipe"
        )
        for name in command.positional:
            hint = typing.get_type_hints(command.settings)[name]
            if typing.get_origin(hint) is list:
                sub.add_argument(name, type=typing.get_args(hint)[0], nargs="+")
            else:
                sub.add_argument(name, type=hint)
        sub.add_class_arguments(command.settings, skip=set(command.positional))
        subcommands.add_subcommand(command.name, sub, help=command.summary)
    return parser


def _settings(command: _Command, parsed: Namespace) -> Any:
    names = {field.name for field in dataclasses.fields(command.settings)}
    return command.settings(**{k: v for k, v in vars(parsed).items() if k in names})


def _normalised(words: Sequence[str]) -> list[str]:
    """Options with dashes or underscores, switches and lists in short form, recipes by name."""
    result: list[str] = []
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        name, equals, value = word.partition("=")
        if re.fullmatch(r"--[a-zA-Z][\w-]*", name):
            name = "--" + name[2:].replace("-", "_")
            if not equals and name[2:] in _SWITCHES and following not in {"true", "false"}:
                equals, value = "=", "true"
            result.append(name + equals + (_value(name, value) if equals else ""))
        elif result and result[-1].startswith("--"):
            result.append(_value(result[-1], word))
        else:
            result.append(word)
    return result


def _value(option: str, value: str) -> str:
    if option.removeprefix("--") in _list_options() and not value.startswith("["):
        return f"[{value}]"
    recipe = _RECIPES / f"{value}.yaml"
    if option == "--config" and not Path(value).exists() and recipe.is_file():
        return str(recipe)
    return value


def _list_options() -> set[str]:
    return {
        name
        for command in _COMMANDS
        for name, hint in typing.get_type_hints(command.settings).items()
        if typing.get_origin(hint) is list
    }


def _failure(message: str) -> int:
    print(f"mixreg: error: {message}", file=sys.stderr)
    return 2
