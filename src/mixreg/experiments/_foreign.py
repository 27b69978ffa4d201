"""Weights from elsewhere: how their inputs were normalised, and whether that is plausible."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from mixreg._errors import ConfigurationError
from mixreg.data.augmentation import Normalisation
from mixreg.training import TrainedClassifier

_USUAL = (
    ((0.0,), (1.0,)),
    ((0.5,), (0.5,)),
    ((0.0,), (1 / 255,)),
    ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
)
"""Means and deviations by which other programs normalise images: to [0, 1], to [−1, 1], not at all,
and as torchvision does for ImageNet."""

_SAMPLES, _MARGIN, _ERRORS = 2000, 0.05, 3
"""A training accuracy, of about so many examples, is not plausible where it lies more than the
margin below the test accuracy, or not so many standard errors above what the most frequent class
alone gives, or more than so many below what another usual normalisation gives."""


class Renormalised(nn.Module):
    """A network that was trained on inputs of another normalisation than the data set's own."""

    def __init__(
        self, net: nn.Module, ours: Normalisation, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        n = len(ours.mean)
        is_finite = all(map(math.isfinite, (*mean, *std)))
        if {len(mean), len(std)} - {1, n} or not is_finite or min(std) <= 0:
            raise ConfigurationError(
                f"--mean and --std need one finite number each or {n}, deviations above 0, got "
                f"{_listed(mean)} and {_listed(std)}"
            )
        self.net, self.constants = net, (tuple(mean), tuple(std))
        own_mean, own_std, other_mean, other_std = (
            torch.tensor(values, dtype=torch.float64).expand(n).reshape(n, 1, 1)
            for values in (ours.mean, ours.std, mean, std)
        )
        self.scale: Tensor
        self.offset: Tensor
        self.register_buffer("scale", (own_std / other_std).float())
        self.register_buffer("offset", ((own_mean - other_mean) / other_std).float())

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.net(x * self.scale + self.offset)
        return outputs


def renormalised(
    trained: TrainedClassifier, mean: Sequence[float], std: Sequence[float]
) -> TrainedClassifier:
    """The classifier behind images of this mean and deviation, in units of the largest pixel."""
    ours = trained.data.normalisation
    if ours is None:
        raise ConfigurationError(
            f"--mean and --std are for images, and {trained.data.name} holds features"
        )
    return dataclasses.replace(trained, net=Renormalised(trained.net, ours, mean, std).eval())


def assumptions(trained: TrainedClassifier, test_accuracy: float = 0.0) -> Iterator[str]:
    """What was assumed of a file of weights, and what makes its training accuracy implausible."""
    yield from trained.data.notes
    if trained.run is not None:
        return
    yield from trained.notes
    ours, net, others = trained.data.normalisation, trained.net, []
    if ours is not None:
        inner = net.net if isinstance(net, Renormalised) else net
        own = (tuple(ours.mean), tuple(ours.std))
        used = net.constants if isinstance(net, Renormalised) else own
        usual = [(m, s) for m, s in (own, *_USUAL) if len(m) in {1, len(own[0])} and (m, s) != used]
        others = [Renormalised(inner, ours, *constants) for constants in usual]
        if not trained.config.mean:
            yield f"The inputs were normalised with {_options(*used)}, {_source(used, own)}."
    every = max(1, trained.data.size("train") // _SAMPLES)
    batches = trained.data.batches("train", 500, world_size=every)
    (accuracy, *accuracies), labels = _accuracies([net, *others], batches)
    n, common = len(labels), float(labels.bincount().max()) / len(labels)
    error = _ERRORS * (0.25 / n) ** 0.5
    doubt = f"On {n} training examples the accuracy is {accuracy:.4f}, which is not plausible:"
    wrong = "are model, classes and normalisation (--mean, --std) those of its training?"
    if accuracy <= common + error:
        yield f"{doubt} the most frequent class alone gives {common:.4f}; {wrong}"
    elif accuracy < test_accuracy - _MARGIN:
        yield f"{doubt} on the test examples it is {test_accuracy:.4f}; {wrong}"
    best = max(accuracies, default=0.0)
    if best > accuracy + error:
        better = others[accuracies.index(best)].constants
        yield f"{doubt} it is {best:.4f} with {_options(*better)}."


@torch.inference_mode()
def _accuracies(
    nets: Sequence[nn.Module], batches: Iterable[tuple[Tensor, Tensor]]
) -> tuple[list[float], Tensor]:
    """The accuracy of each network on the same batches, one at a time in memory, and the labels."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    nets = [net.to(device).eval() for net in nets]
    hits, labels = [0] * len(nets), []
    for x, y in batches:
        for k, net in enumerate(nets):
            u = net(x.to(device)).reshape(len(x), -1).cpu()
            classes = (u[:, 0] > 0).long() if u.shape[1] == 1 else u.argmax(1)
            hits[k] += int((classes == y).sum())
        labels.append(y)
    every = torch.cat(labels)
    return [hit / len(every) for hit in hits], every


def _source(used: object, own: object) -> str:
    return "the data set's own" if used == own else "as given"


def _options(mean: Sequence[float], std: Sequence[float]) -> str:
    return f"--mean {_listed(mean)} --std {_listed(std)}"


def _listed(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in values) + "]"
