"""`mixreg evaluate`: every correction and metric of a classifier, from logits computed once."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from mixreg import _stored
from mixreg._errors import CheckpointError, ConfigurationError
from mixreg._random import generator
from mixreg.data import Preprocessing, Split, is_own
from mixreg.evaluation import Evaluation, Predictions, evaluate, predict
from mixreg.evaluation.predictions import FORMAT
from mixreg.experiments._foreign import assumptions, find_origin, renormalised
from mixreg.experiments.evaluate_shift import shift_document
from mixreg.report import RunResult, check_replaceable, comparison, write_document
from mixreg.settings import CheckpointOptions, EvaluateOptions
from mixreg.training import (
    METHODS,
    RunDirectory,
    TrainConfig,
    TrainedClassifier,
    environment,
    load_bare,
    load_run,
)

_UNSAID = (
    "needs examples that these weights were not trained on; say which with --held-out validation "
    "or --held-out test-half"
)


def load_checkpoint(options: CheckpointOptions, **settings: Any) -> TrainedClassifier:
    """The classifier that the options name; settings are those of a file of weights."""
    path = options.checkpoint
    if not path.exists():
        raise CheckpointError(f"there is no run directory and no file of weights at {path}")
    origin = find_origin(path)
    if origin is None:
        if options.mean or options.std or options.weights:
            raise ConfigurationError(
                f"{path} is a run, which knows its weights and how its inputs were normalised; "
                "leave out --mean, --std and --weights"
            )
        return load_run(path, options.given())
    given = origin.settings_for(options.data) | options.given()
    missing = [name for name in ("data", "model", "alpha") if name not in given]
    if missing:
        kind = "file of weights" if path.is_file() else "folder of a network"
        raise ConfigurationError(
            f"{path} is a {kind}; say what it is with " + ", ".join(f"--{name}" for name in missing)
        )
    trained = load_bare(
        origin.stored,
        TrainConfig(**given | settings, output=path.parent),
        name=options.weights,
        build=origin.build if options.model is None else None,
        assumed=origin.recipe if options.alpha is None else None,
    )
    trained = dataclasses.replace(trained, notes=(*origin.notes, *trained.notes))
    images = origin.images or Preprocessing()
    mean, std = options.mean or images.mean, options.std or images.std
    if is_own(trained.data.name) or not (mean or std):
        return trained
    return renormalised(trained, mean, std)


def evaluate_checkpoint(options: EvaluateOptions) -> tuple[str, Path]:
    """Evaluate one checkpoint with every correction and write its report."""
    held_out = options.held_out
    output = options.output or beside(options.checkpoint, "evaluation")
    check_replaceable(output, name="metrics", page="report")
    check_replaceable(output, name="shift")
    fraction = TrainConfig().validation_fraction if held_out == "validation" else 0.0
    trained = load_checkpoint(options, validation_fraction=fraction)
    if held_out != "none" and trained.run is not None:
        raise ConfigurationError(
            f"{options.checkpoint} is a run and knows its held-out examples; leave out --held-out"
        )
    if held_out == "validation" and trained.data.size("validation") == 0:
        raise ConfigurationError(f"{trained.data.name} has no held-out examples; take test-half")
    is_own = trained.run is not None and options.output is None
    is_own = is_own and set(options.given()) <= {"data_root"}
    directory = options.checkpoint if is_own else output
    evaluation = evaluate_trained(trained, directory, halve=held_out == "test-half")
    result = run_result(trained.config, trained.run, evaluation)
    title = f"{trained.config.data}, {trained.config.model}, {options.checkpoint.name}"
    document = comparison([result], title=title, baseline=result.method)
    notes = list(assumptions(trained, evaluation.results["raw"].metrics.accuracy))
    fitted = "The temperatures are fitted to every second test example"
    rest = ", on which the correction is chosen too; all metrics are those of the other "
    halved = [f"{fitted}{rest}{evaluation.count}."] if held_out == "test-half" else []
    document = dataclasses.replace(document, caveats=(*document.caveats, *notes, *halved))
    page = write_document(document, output, name="metrics", page="report")
    if options.shift is None:
        return document.text(), page
    shifted = shift_document(trained, digest_of(trained), evaluation, directory, options.shift)
    if halved:
        notes.append(f"{fitted}, unshifted; the metrics here are those of all examples.")
    caveats = (*shifted.caveats, *notes, f"The unshifted test set: {page}.")
    shifted = dataclasses.replace(shifted, caveats=caveats)
    return shifted.text(), write_document(shifted, output, name="shift")


def beside(checkpoint: Path, name: str) -> Path:
    """A folder in the run, or one beside the file of weights, which is named after it."""
    if checkpoint.is_dir():
        return checkpoint / name
    return checkpoint.parent / f"{checkpoint.stem}-{name}"


def run_result(config: TrainConfig, run: RunDirectory | None, evaluation: Evaluation) -> RunResult:
    """An evaluated classifier as the report takes it; a bare checkpoint has no run."""
    return RunResult(
        method=config.method,
        seed=config.seed,
        alpha=config.alpha if METHODS[config.method].mixes and not config.theta_mean else None,
        evaluation=evaluation,
        history=() if run is None else tuple(run.read_result().history),
        config=config.identity(),
        environment=environment() if run is None else run.read_environment(),
    )


def evaluate_trained(
    trained: TrainedClassifier, directory: Path, *, halve: bool = False
) -> Evaluation:
    """Evaluate, from logits that the directory keeps, and write `evaluation.json` beside them."""
    file = directory / "evaluation.json"
    if file.is_file() and (trained.run is None or trained.run.path != directory):
        _stored.decode(file, Evaluation, remedy="delete it or choose another --output")
    directory.mkdir(parents=True, exist_ok=True)
    source = digest_of(trained)
    validation = None
    if trained.data.size("validation") > 0:
        validation = _predictions(trained, "validation", directory, source)
    test = _predictions(trained, "test", directory, source)
    if halve:
        validation, test = (
            Predictions(test.raw[k::2], test.shrunk[k::2], test.labels[k::2]) for k in (0, 1)
        )
    evaluation = evaluate(
        validation,
        test,
        y_mean=trained.class_means,
        law=trained.output_law,
        generator=generator("bootstrap", source),
    )
    if trained.run is None:
        absent = dict.fromkeys(evaluation.absent, _UNSAID)
        evaluation = dataclasses.replace(evaluation, absent=absent)
    _stored.write(file, evaluation)
    return evaluation


def digest_of(trained: TrainedClassifier) -> str:
    """Digest of all that predictions depend on."""
    sizes = [trained.data.size(split) for split in ("train", "validation", "test")]
    assumed = [] if trained.assumed is None else [trained.assumed.to_dict()]
    splits: tuple[Split, ...] = ("validation", "test")
    contents = [trained.data.digest(split) for split in splits] if is_own(trained.data.name) else []
    known = [trained.config.identity(), sizes, *assumed, *contents]
    settings = json.dumps(known, sort_keys=True)
    weights = save({name: value.contiguous() for name, value in trained.net.state_dict().items()})
    parts = (settings.encode(), weights, trained.stats.x_mean.numpy().tobytes())
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _predictions(
    trained: TrainedClassifier, split: Split, directory: Path, source: str
) -> Predictions:
    file = directory / f"logits-{split}.safetensors"
    if file.is_file():
        try:
            return Predictions.load(file, source=source)
        except CheckpointError as error:
            with file.open("rb") as stored:
                if FORMAT.encode() not in stored.read(4096):
                    raise CheckpointError(f"{error}, or choose another --output") from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        predictions = predict(
            trained.net,
            trained.data.batches(split, 500),
            trained.stats.x_mean,
            trained.recipe.input_law,
            device=device,
        )
    except ValueError as error:
        raise CheckpointError(f"these weights cannot be evaluated: {error}") from error
    predictions.save(file, source=source)
    return predictions
