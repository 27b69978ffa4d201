"""Every correction and metric of a trained classifier, from logits that are computed once."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from mixreg._errors import CheckpointError, ConfigurationError
from mixreg._files import write_json
from mixreg.data import Split
from mixreg.evaluation import Evaluation, Predictions, evaluate, predict
from mixreg.report import RunResult, comparison, write_document
from mixreg.training import (
    METHODS,
    RunDirectory,
    TrainConfig,
    TrainedClassifier,
    environment,
    load_bare,
    load_run,
)


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What to evaluate, and what to assume of a checkpoint that does not say it itself.

    Args:
        checkpoint: directory of a finished run, or a file of weights (.safetensors, .pt, .pth).
        data: name of the data set; for a run, by default the one it was trained on.
        data_root: folder of the data sets; by default $MIXREG_DATA, else ./data.
        model: name of the model; a file of weights needs it.
        alpha: shape α of the mixup a file of weights was trained with.
        mixing_probability: chance that a sample was mixed.
        output: directory of the report; by default `evaluation` inside the run, or
            `NAME-evaluation` beside the file NAME.
    """

    checkpoint: Path
    data: str | None = None
    data_root: Path | None = None
    model: str | None = None
    alpha: float | None = None
    mixing_probability: float | None = None
    output: Path | None = None

    def given(self) -> dict[str, Any]:
        """The settings that were given.

        Returns:
            Those that are not None, without checkpoint and output.
        """
        values = dataclasses.asdict(self)
        return {
            name: value
            for name, value in values.items()
            if value is not None and name not in {"checkpoint", "output"}
        }


def load_checkpoint(options: EvaluateOptions) -> TrainedClassifier:
    """The classifier that the options name.

    Args:
        options: checkpoint and assumptions.

    Returns:
        The classifier.

    Raises:
        CheckpointError: there is nothing readable.
        ConfigurationError: a file of weights without the model or α it needs.
    """
    path = options.checkpoint
    if path.is_dir():
        return load_run(path, options.given())
    if not path.is_file():
        raise CheckpointError(f"there is no run directory and no file of weights at {path}")
    missing = [n for n in ("data", "model", "alpha") if getattr(options, n) is None]
    if missing:
        raise ConfigurationError(
            f"{path} is a file of weights; say what it is with "
            + ", ".join(f"--{name}" for name in missing)
        )
    return load_bare(path, TrainConfig(**options.given(), output=path.parent))


def evaluate_checkpoint(options: EvaluateOptions) -> tuple[str, Path]:
    """Evaluate one checkpoint with every correction and write its report.

    Args:
        options: checkpoint and assumptions.

    Returns:
        The table for the terminal, and the report's path.
    """
    trained = load_checkpoint(options)
    output = options.output or beside(options.checkpoint, "evaluation")
    is_plain_run = trained.run is not None and set(options.given()) <= {"data_root"}
    evaluation = evaluate_trained(trained, options.checkpoint if is_plain_run else output)
    result = run_result(trained.config, trained.run, evaluation)
    title = f"{trained.config.data}, {trained.config.model}, {options.checkpoint.name}"
    document = comparison([result], title=title, baseline=result.method)
    page = write_document(document, output, name="metrics", page="report")
    return document.text(), page


def beside(checkpoint: Path, name: str) -> Path:
    """Where a report on a checkpoint goes by default.

    Args:
        checkpoint: directory of a run, or a file of weights.
        name: kind of the report.

    Returns:
        A folder in the run, or one beside the file, which is named after it.
    """
    if checkpoint.is_dir():
        return checkpoint / name
    return checkpoint.parent / f"{checkpoint.stem}-{name}"


def run_result(config: TrainConfig, run: RunDirectory | None, evaluation: Evaluation) -> RunResult:
    """An evaluated classifier as the report takes it.

    Args:
        config: how it was trained.
        run: its directory, None for a bare checkpoint.
        evaluation: its evaluation.

    Returns:
        The result, with configuration, environment and history.
    """
    return RunResult(
        method=config.method,
        seed=config.seed,
        alpha=config.alpha if METHODS[config.method].mixes else None,
        evaluation=evaluation,
        history=() if run is None else tuple(run.read_result().history),
        config=config.identity(),
        environment=environment() if run is None else run.read_environment(),
    )


def evaluate_trained(trained: TrainedClassifier, directory: Path) -> Evaluation:
    """Evaluate a classifier with every correction.

    The logits of the validation and test sets are saved in the directory, and used again for the
    same weights, training means and settings; the evaluation is written beside them.

    Args:
        trained: the classifier.
        directory: where the logits and `evaluation.json` go.

    Returns:
        Metrics, reliability and histograms of each correction.

    Raises:
        CheckpointError: the network's outputs are not finite.
    """
    directory.mkdir(parents=True, exist_ok=True)
    source = _source(trained)
    validation = None
    if trained.data.size("validation") > 0:
        validation = _predictions(trained, "validation", directory, source)
    test = _predictions(trained, "test", directory, source)
    evaluation = evaluate(validation, test, y_mean=trained.class_means, law=trained.law)
    write_json(directory / "evaluation.json", evaluation.to_dict())
    return evaluation


def _source(trained: TrainedClassifier) -> str:
    """Digest of all that predictions depend on."""
    sizes = [trained.data.size(split) for split in ("train", "validation", "test")]
    settings = json.dumps([trained.config.identity(), sizes], sort_keys=True)
    parts = (settings.encode(), _weights(trained.net), trained.stats.x_mean.numpy().tobytes())
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _weights(net: nn.Module) -> bytes:
    return save({name: value.contiguous() for name, value in net.state_dict().items()})


def _predictions(
    trained: TrainedClassifier, split: Split, directory: Path, source: str
) -> Predictions:
    file = directory / f"logits-{split}.safetensors"
    if file.is_file():
        try:
            return Predictions.load(file, source=source)
        except CheckpointError:
            file.unlink()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        predictions = predict(
            trained.net,
            trained.data.batches(split, 500),
            trained.stats.x_mean,
            trained.law,
            device=device,
        )
    except ValueError as error:
        raise CheckpointError(f"these weights cannot be evaluated: {error}") from error
    predictions.save(file, source=source)
    return predictions
