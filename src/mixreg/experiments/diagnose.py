"""`mixreg diagnose`: the regularization of the theory, measured on one trained classifier."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from mixreg._errors import ConfigurationError
from mixreg._random import generator
from mixreg.diagnostics import Diagnosis, diagnose
from mixreg.experiments._foreign import assumptions
from mixreg.experiments.evaluate import beside, load_checkpoint
from mixreg.report import check_replaceable, write_document
from mixreg.report.diagnosis import Subject, diagnosis_document
from mixreg.risk.mixup import folded_rule
from mixreg.settings import CheckpointOptions, DiagnoseOptions
from mixreg.training import METHODS, TrainedClassifier, environment, load_data

_QUADRATURE_ORDER = 16


def diagnose_checkpoint(options: DiagnoseOptions) -> tuple[str, Path]:
    """Diagnose one trained classifier and write the report; the text and the page."""
    output = options.output or beside(options.checkpoint, "diagnosis")
    check_replaceable(output, name="diagnosis")
    trained = load_checkpoint(options)
    reference = None
    if options.reference is not None:
        reference = load_checkpoint(_of_reference(options, options.reference))
        _check_reference(trained, reference, options.reference)
    x, y = _samples(trained, options)
    subject = Subject(
        name=options.checkpoint.resolve().name,
        data=trained.config.data,
        method=trained.config.method if trained.run is not None else "unknown",
        assumed_law=trained.run is not None and not METHODS[trained.config.method].mixes,
        reference=None if options.reference is None else options.reference.resolve().name,
    )
    asked = {name: _plain(value) for name, value in dataclasses.asdict(options).items()}
    document = diagnosis_document(
        _diagnose(trained, reference, x, y, options),
        subject,
        settings={"diagnose": asked, "train": trained.config.identity()},
        environment=environment(),
        caveats=list(assumptions(trained)),
    )
    return document.text(), write_document(document, output, name="diagnosis")


def _of_reference(options: DiagnoseOptions, path: Path) -> CheckpointOptions:
    """How the reference is loaded; a run knows how its inputs were normalised."""
    own: dict[str, Any] = {"mean": [], "std": [], "weights": None} if path.is_dir() else {}
    return dataclasses.replace(options, checkpoint=path, **own)


def _check_reference(trained: TrainedClassifier, reference: TrainedClassifier, path: Path) -> None:
    """Refuse a reference that was not trained on the same samples and labels as they are."""
    method = reference.config.method
    if reference.run is not None and method != "erm":
        raise ConfigurationError(
            f"the reference {path} was trained with the method {method}; Proposition 1 needs a "
            "model fitted to the labels as they are, a run with the method erm"
        )
    names = ("data", "seed", "validation_fraction", "label_noise", "loss")
    other = [
        f"{name} {getattr(reference.config, name)!r} there, {getattr(trained.config, name)!r} here"
        for name in names
        if getattr(reference.config, name) != getattr(trained.config, name)
    ]
    if other:
        raise ConfigurationError(
            f"the reference {path} was trained on other data ({'; '.join(other)}); Proposition 1 "
            "compares models of one training set"
        )


def _samples(trained: TrainedClassifier, options: DiagnoseOptions) -> tuple[Tensor, Tensor]:
    """Training samples without augmentation, the same for every model of this data and seed."""
    config = trained.config
    data = load_data(dataclasses.replace(config, augment=False))
    size = data.size("train")
    n = min(500, size) if options.samples is None else options.samples
    if n > size:
        raise ConfigurationError(
            f"samples={n}, but the training set of {config.data} has {size} samples; take at most "
            f"--samples {size}"
        )
    x, y = next(iter(data.train_batches(n, seed=options.seed, epoch=0)))
    return x, y.float().unsqueeze(1) if config.loss == "logistic" else y


def _diagnose(
    trained: TrainedClassifier,
    reference: TrainedClassifier | None,
    x: Tensor,
    y: Tensor,
    options: DiagnoseOptions,
) -> Diagnosis:
    """The diagnosis, on an accelerator if there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    nodes = len(folded_rule(trained.law, _QUADRATURE_ORDER).nodes)
    mixtures = nodes * len(x) ** 2 if options.exact else options.draws
    # Empirical, approximate with its second order, Jacobians, roughness, entropies at two inputs.
    seen = (6 + options.second_order) * len(x) + options.pairs + mixtures
    with _progress(trained.net, seen, options.progress):
        return diagnose(
            trained.net.to(device),
            x.to(device),
            y.to(device),
            trained.config.loss,
            trained.law,
            generator=generator(options.seed, "diagnosis"),
            draws=None if options.exact else options.draws,
            pairs=options.pairs,
            second_order=options.second_order,
            reference=None if reference is None else reference.net.to(device),
        )


@contextmanager
def _progress(net: nn.Module, total: int, show: bool) -> Iterator[None]:
    """A progress bar that counts the samples the network sees."""
    with tqdm(total=total, unit="sample", disable=None if show else True, delay=1) as bar:
        hook = net.register_forward_hook(lambda _net, _inputs, outputs: _advance(bar, outputs))
        try:
            yield
        finally:
            hook.remove()


def _advance(bar: Any, outputs: Tensor) -> None:
    bar.update(min(len(outputs), bar.total - bar.n))


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
