"""What is measured of a finished training: all corrections, and the terms of the risk."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mixreg._errors import CheckpointError
from mixreg._files import write_json
from mixreg.covariance import Whitening
from mixreg.evaluation import Evaluation
from mixreg.experiments.evaluate import evaluate_trained
from mixreg.risk import approximate_mixup_risk
from mixreg.training import (
    RunDirectory,
    TrainConfig,
    TrainedClassifier,
    load_data,
    load_run,
    load_weights,
)

TERMS = ("modified", "r1", "r2", "r3", "r4", "r1_plus_r3", "total")
"""The loss on modified data (20), the terms of Theorem 2, and the approximate Mixup risk (12)."""


def measure(alphas: Sequence[float], samples: int, run: RunDirectory, config: TrainConfig) -> None:
    """Evaluate a finished run, where that is not done yet or cannot be read.

    A run trained without mixing is evaluated with the rescaling of every α.

    Args:
        alphas: the values of α.
        samples: training images on which the terms are evaluated at the run's snapshots.
        run: its directory.
        config: the run.
    """
    others = [alpha for alpha in alphas if config.method == "erm" and alpha != config.alpha]
    if not all(_is_read(read_evaluation, run, config, alpha) for alpha in (config.alpha, *others)):
        trained = load_run(run.path, {"data_root": config.data_root})
        evaluate_trained(trained, run.path)
        for alpha in others:
            other = dataclasses.replace(trained.config, alpha=alpha)
            evaluate_trained(
                dataclasses.replace(trained, config=other), _rescaled_with(run, alpha).parent
            )
    if config.snapshots and not _is_read(read_terms, run, samples):
        trained = load_run(run.path, {"data_root": config.data_root, "workers": 0})
        write_json(_terms_file(run, samples), _terms(trained, run, config.snapshots, samples))


def read_evaluation(run: RunDirectory, config: TrainConfig, alpha: float) -> Evaluation:
    """The evaluation of a run with the rescaling of some α.

    Args:
        run: its directory.
        config: the run.
        alpha: α.

    Returns:
        Metrics of every correction.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    if alpha == config.alpha:
        return run.read_evaluation()
    return RunDirectory(_rescaled_with(run, alpha).parent).read_evaluation()


def read_terms(run: RunDirectory, samples: int) -> list[dict[str, float]]:
    """The terms of the approximate Mixup risk at the snapshots of a run.

    Args:
        run: its directory.
        samples: training images they were evaluated on.

    Returns:
        "epoch" and `TERMS` by name, one mapping for each snapshot.

    Raises:
        CheckpointError: there are none, or they are damaged.
    """
    file = _terms_file(run, samples)
    try:
        stored: Mapping[str, Any] = json.loads(file.read_text())
        return [{name: entry[name] for name in ("epoch", *TERMS)} for entry in stored["terms"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{file} is missing or damaged ({error}); delete it and run again"
        ) from error


def _is_read(read: Callable[..., object], *arguments: object) -> bool:
    try:
        read(*arguments)
    except CheckpointError:
        return False
    return True


def _rescaled_with(run: RunDirectory, alpha: float) -> Path:
    return run.path / f"alpha{alpha:g}" / run.evaluation.name


def _terms_file(run: RunDirectory, samples: int) -> Path:
    return run.path / f"terms-{samples}.json"


def _terms(
    trained: TrainedClassifier, run: RunDirectory, snapshots: Sequence[int], samples: int
) -> dict[str, Any]:
    """The terms at every snapshot, on the same images for all runs of this data and seed."""
    data = load_data(dataclasses.replace(trained.config, augment=False))
    batches = data.train_batches(samples, seed=trained.config.seed, epoch=0)
    x, y = next(iter(batches))
    whitening = Whitening.from_data(x)
    entries = []
    for epoch in snapshots:
        net = load_weights(run.snapshot(epoch), trained.net).eval()
        found = approximate_mixup_risk(
            net, x, y, trained.config.loss, trained.law, whitening=whitening
        )
        terms = {name: getattr(found, name) for name in TERMS}
        entries.append({"epoch": float(epoch), **terms})
    return {"samples": samples, "terms": entries}
