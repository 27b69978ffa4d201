"""Logits of classifiers on shifted test sets: each computed once, kept, and read in parts."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mixreg._checks import evaluating
from mixreg._errors import CheckpointError, ConfigurationError
from mixreg._files import whole_file
from mixreg.data import Dataset, InMemoryDataset, Normalisation
from mixreg.data.corruptions import CorruptedSet, corrupted_sets
from mixreg.data.published import data_root
from mixreg.data.robustness import RobustnessSet
from mixreg.evaluation import Metrics, Predictions
from mixreg.evaluation.predictions import class_logits
from mixreg.prediction import shrink
from mixreg.training import TrainConfig, TrainedClassifier

PUBLISHED = {"cifar10": "CIFAR-10-C", "cifar100": "CIFAR-100-C"}
"""Folders with the published corruptions of a data set, looked for beside it."""

_BATCH = 500

View = Callable[[Tensor], Tensor]
"""What is done to inputs before the network sees them."""


@dataclass(frozen=True, eq=False)
class ShiftedSet:
    """Labelled inputs in the model's own space, in the same order in every pass."""

    kind: str  # "clean", of severity 0, without a shift
    severity: int
    labels: Tensor
    batches: Callable[[], Iterable[Tensor]]  # begins a pass over the inputs
    digest: str  # of all that decides the inputs
    source: str  # where they come from, in words


def corrupted_test_sets(
    data: Dataset, published: Path | None, cache: Path, *, count: int | None = None, **which: Any
) -> Iterator[ShiftedSet]:
    """The clean test set, or some of it, then every corruption: published, else kept."""
    if not isinstance(data, InMemoryDataset) or data.normalisation is None:
        raise ConfigurationError(
            f"corruptions are for images in memory (cifar10, cifar100, fashion-mnist), not for "
            f"{data.name}"
        )
    images, labels = data.samples("test")
    pixels = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
    rows = _rows(labels, count)
    used = slice(None) if published else rows  # published files hold all images
    clean, truth = np.ascontiguousarray(pixels[used]), labels[used].numpy()
    try:
        sets = corrupted_sets(clean, truth, published=published, cache=cache, **which)
    except ValueError as error:
        raise ConfigurationError(f"{data.name} cannot be corrupted: {error}") from error
    for one in chain([CorruptedSet("clean", 0, pixels, "the clean test set")], sets):
        whole = len(one.images) == len(pixels)
        yield _in_model_space(one, labels[rows], data.normalisation, rows if whole else slice(None))


def _rows(labels: Tensor, count: int | None) -> slice | NDArray[np.int64]:
    """The first so many examples, or as many at even distances where those lack a class."""
    if count is None or set(labels[:count].tolist()) == set(labels.tolist()):
        return slice(count)
    return np.arange(count) * len(labels) // count


def of_files(one: RobustnessSet, trained: TrainedClassifier, source: str) -> ShiftedSet:
    """Files of images as the network is shown them; -1, no class, stands as class 0."""
    normalisation = trained.data.normalisation
    assert normalisation is not None  # of images
    begin = partial(one.batches, normalisation, trained.config.workers)
    labels = one.labels.clamp(min=0)
    return ShiftedSet(one.kind, one.severity, labels, begin, one.digest(), source)


def published_folder(config: TrainConfig) -> Path | None:
    """Where the published corruptions of a data set lie, if they are there."""
    folder = data_root(config.data_root) / PUBLISHED.get(config.data, "")
    return folder if config.data in PUBLISHED and folder.is_dir() else None


def _in_model_space(
    one: CorruptedSet,
    labels: Tensor,
    normalisation: Normalisation,
    rows: slice | NDArray[np.int64],
) -> ShiftedSet:
    pixels = np.ascontiguousarray(one.images[rows])
    digest = hashlib.sha256(repr((pixels.shape, normalisation)).encode())
    digest.update(pixels.data)
    batches = partial(_batches, pixels, normalisation)
    which = "first" if isinstance(rows, slice) else "evenly spaced"
    said = one.source if len(pixels) == len(one.images) else f"{one.source}, {which} {len(pixels)}"
    return ShiftedSet(one.kind, one.severity, labels, batches, digest.hexdigest(), said)


def _batches(pixels: NDArray[np.uint8], normalisation: Normalisation) -> Iterator[Tensor]:
    for start in range(0, len(pixels), _BATCH):
        images = torch.from_numpy(np.array(pixels[start : start + _BATCH]))
        yield normalisation(images.permute(0, 3, 1, 2))


def logits(
    net: nn.Module, classifier: str, test: ShiftedSet, views: Mapping[str, View], folder: Path
) -> dict[str, Tensor]:
    """Logits (n, c) at several views of each input, mapped from files that are made once."""
    key = hashlib.sha256(f"{classifier} {test.digest}".encode()).hexdigest()[:16]
    files = {
        name: folder / f"{test.kind}-{test.severity}-{name}-{key}.safetensors" for name in views
    }
    if missing := {name: view for name, view in views.items() if not files[name].is_file()}:
        folder.mkdir(parents=True, exist_ok=True)
        _compute(net, test, missing, files)
    return {name: _mapped(file, len(test.labels)) for name, file in files.items()}


def _compute(
    net: nn.Module, test: ShiftedSet, views: Mapping[str, View], files: Mapping[str, Path]
) -> None:
    """One pass in constant memory: the rows of every view go to its file as they come."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net, rows = net.to(device), 0
    with ExitStack() as stack:
        stack.enter_context(evaluating(net))
        stack.enter_context(torch.inference_mode())
        opened = {name: stack.enter_context(whole_file(files[name])) for name in views}
        for x in test.batches():
            for name, view in views.items():
                values = class_logits(net(view(x.to(device)))).float()
                if not values.isfinite().all():
                    raise CheckpointError(
                        f"the network gives logits that are not finite for {test.kind} images of "
                        f"severity {test.severity} ({name})"
                    )
                if rows == 0:
                    opened[name].write(_header(len(test.labels), values.shape[1]))
                opened[name].write(values.numpy().tobytes())
            rows += len(x)
        if rows != len(test.labels):
            raise ValueError(f"{len(test.labels)} labels need as many inputs, got {rows}")


def _header(n: int, c: int) -> bytes:
    """What a safetensors file of float32 logits (n, c) begins with."""
    about = {"dtype": "F32", "shape": [n, c], "data_offsets": [0, 4 * n * c]}
    text = json.dumps({"logits": about}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _mapped(file: Path, n: int) -> Tensor:
    """The logits of a file, whose pages are read when they are used."""
    try:
        with safe_open(file, "pt") as stored:
            values: Tensor = stored.get_tensor("logits")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{file} is damaged: {error}; delete it and run the same command again"
        ) from error
    if values.dtype != torch.float32 or values.ndim != 2 or len(values) != n:
        raise CheckpointError(
            f"{file} holds {values.dtype} of shape {tuple(values.shape)}, expected float32 logits "
            f"of {n} examples; delete it and run the same command again"
        )
    return values


@dataclass(frozen=True)
class Scores:
    """The metrics of every prediction of one classifier on one shifted test set."""

    kind: str
    severity: int
    count: int
    source: str
    metrics: dict[str, Metrics]

    @classmethod
    def of(cls, test: ShiftedSet, metrics: dict[str, Metrics]) -> Self:
        """The metrics with what they were measured on."""
        return cls(test.kind, test.severity, len(test.labels), test.source, metrics)


def views_of(trained: TrainedClassifier, alphas: Iterable[float]) -> dict[str, View]:
    """The inputs as they are, and shrunk by the law of each α."""
    laws = {alpha: trained.assuming(alpha).recipe.input_law for alpha in alphas}
    shrunk = {
        shrunk_by(alpha): partial(shrink, x_mean=trained.stats.x_mean, law=law)
        for alpha, law in laws.items()
    }
    return {"raw": lambda x: x, **shrunk}


def shrunk_by(alpha: float) -> str:
    """The name of a view that is shrunk by the law of α."""
    return f"shrunk-alpha{alpha:g}"


def predictions_of(
    trained: TrainedClassifier, classifier: str, test: ShiftedSet, folder: Path
) -> Predictions:
    """The logits of a classifier and its own law on one set."""
    alpha = trained.config.alpha
    kept = logits(trained.net, classifier, test, views_of(trained, [alpha]), folder)
    return Predictions(kept["raw"], kept[shrunk_by(alpha)], test.labels)
