"""Run directories whose files cannot be read: found, and set aside with nothing deleted."""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import torch
from safetensors import safe_open

from mixreg.training import RunDirectory


def find_damage(run: RunDirectory) -> str:
    """Look at every file that a run is read from.

    Args:
        run: the run, begun or not.

    Returns:
        Which file cannot be read and why; empty if the run is sound, or has not begun.

    Raises:
        OSError: the file system fails, which says nothing about the file.
    """
    if not (run.path / "config.json").is_file():
        is_late = run.weights.exists() or (run.path / "result.json").exists()
        return f"{run.path / 'config.json'} is missing" if is_late else ""
    checks: list[tuple[Path, Callable[[Path], None]]] = [
        (run.path / "config.json", _check_settings),
        (run.path / "environment.json", _check_object),
    ]
    if run.finished:
        checks += [
            (run.path / "result.json", _check_result),
            (run.weights, _check_tensors),
            (run.statistics, _check_tensors),
            *((file, _check_tensors) for file in (run.path / "snapshots").glob("*.safetensors")),
        ]
    else:
        begun = (run.statistics, _check_tensors), (run.checkpoint, _check_checkpoint)
        checks += [(file, check) for file, check in begun if file.exists()]
    for file, check in checks:
        try:
            check(file)
        except FileNotFoundError:
            return f"{file} is missing"
        except OSError:
            raise
        except Exception as error:
            return f"{file} is damaged ({error})"
    return ""


def set_aside(run: RunDirectory) -> Path:
    """Move all files of a run into a new directory beside it.

    The lock stays, so that whoever holds it goes on holding it. The settings move last, so that a
    move that is interrupted is found and finished the next time.

    Args:
        run: the run, locked by the caller.

    Returns:
        The new directory, NAME.corrupt-1, or the next number that is free.
    """
    place = next(p for k in count(1) if not (p := _numbered(run.path, k)).exists())
    place.mkdir()
    files = [file for file in run.path.iterdir() if file.suffix != ".lock"]
    for file in sorted(files, key=lambda file: file.name == "config.json"):
        file.rename(place / file.name)
    return place


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.corrupt-{number}")


def _check_object(file: Path) -> None:
    if not isinstance(json.loads(file.read_text(encoding="utf-8")), dict):
        raise ValueError("no JSON object")


def _check_settings(file: Path) -> None:
    stored = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(stored["config"], dict) or "format" not in stored:
        raise ValueError("no settings of a run")


def _check_result(file: Path) -> None:
    history = json.loads(file.read_text(encoding="utf-8"))["history"]
    if not all("epoch" in entry for entry in history) or not history:
        raise ValueError("no history of a training")


def _check_tensors(file: Path) -> None:
    """Opening compares the table of contents with the file's length."""
    with file.open("rb"), safe_open(file, framework="pt"):
        pass


def _check_checkpoint(file: Path) -> None:
    stored = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    if not {"history", "state_dict", "optimizer_states"} <= stored.keys():
        raise ValueError("no checkpoint of a training")
