"""Mixing at a hidden layer: (4), (5) and (22) for the part of the network behind it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mixreg._checks import Place, evaluating, logits_of, split
from mixreg._random import draw_seed
from mixreg._random import generator as own_generator
from mixreg.laws import MixingLaw
from mixreg.mixing import MixedBatch, Mixup
from mixreg.prediction import Link, shrink, unshrink
from mixreg.statistics import TrainingStatistics


class HiddenMixture(NamedTuple):
    """What a network made of a batch that was mixed behind one of its layers.

    Attributes:
        outputs: of the network.
        batch: the mixed batch; its `inputs` are the layer's mixed outputs.
        layer: name of the layer.
    """

    outputs: Any
    batch: MixedBatch
    layer: str


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """Means of the outputs of one layer, and of the labels.

    Args:
        layer: name of the layer, "" for the inputs of the network.
        stats: h̄ and ȳ.
    """

    layer: str
    stats: TrainingStatistics

    @classmethod
    def from_loader(
        cls,
        net: nn.Module,
        layer: str,
        loader: Iterable[Any],
        num_classes: int | None = None,
        *,
        inputs: Place | None = None,
        labels: Place | None = None,
    ) -> "LayerStatistics":
        """Average over one pass of a loader through the trained network, in evaluation mode.

        Args:
            net: the network after its training: what a layer gives out moves with its weights.
            layer: name of the layer.
            loader: batches as `TrainingStatistics.from_loader` takes them; x is what `net` takes,
                a mapping for keyword arguments.
            num_classes: number of classes c; needed for class indices.
            inputs: where in a batch x is.
            labels: where y is.

        Returns:
            The statistics of the layer.

        Raises:
            TypeError: the layer gives out something else than one tensor.
            ValueError: there is no such layer, or it is not run once.
        """
        hidden: list[Tensor] = []

        def kept(h: Tensor) -> Tensor:
            hidden.append(h)
            return h

        def pairs() -> Iterable[tuple[Tensor, Tensor]]:
            for batch in loader:
                x, y = split(batch, inputs, labels)
                _run(net, layer, x, kept)
                yield hidden.pop(), y

        with evaluating(net), torch.no_grad():
            return cls(layer, TrainingStatistics.from_loader(pairs(), num_classes))


class ManifoldMixup:
    """Mixup of what a layer gives out: one layer, or one drawn for each batch.

    Args:
        net: the network.
        layers: name of the layer, or several of which one is drawn for each batch, each with the
            same chance; "" stands for the inputs of the network.
        mixup: mixes the hidden batch.
        generator: CPU generator that seeds the draws of layers, as that of `Mixup`.

    Raises:
        ValueError: no layer, or one that the network does not have.

    Source: Verma et al., "Manifold Mixup: Better Representations by Interpolating Hidden States",
    2019; Carratino et al., equation 4, for the part of the network behind the layer.

    Example:
        >>> from mixreg import Beta
        >>> net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> manifold = ManifoldMixup(net, ["", "1"], Mixup(Beta(1.0), num_classes=3))
        >>> outputs, batch, layer = manifold(torch.randn(5, 2), torch.tensor([0, 1, 2, 0, 1]))
        >>> outputs.shape, batch.targets.shape
        (torch.Size([5, 3]), torch.Size([5, 3]))
    """

    def __init__(
        self,
        net: nn.Module,
        layers: str | Sequence[str],
        mixup: Mixup,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        self.net, self.mixup = net, mixup
        self.layers = _checked(net, layers)
        self._generator = own_generator(draw_seed(generator), "layers")

    def __call__(self, x: Any, y: Tensor) -> HiddenMixture:
        """Run the network on a batch and mix behind a layer.

        Args:
            x: what the network takes, a mapping for keyword arguments.
            y: labels as `Mixup` takes them.

        Returns:
            Outputs for the mixed batch, the batch, and the layer.

        Raises:
            TypeError: the layer gives out something else than one tensor.
            ValueError: the layer is not run once.
        """
        layer = self.layers[int(torch.randint(len(self.layers), (), generator=self._generator))]
        batches: list[MixedBatch] = []

        def mixed(h: Any) -> Any:
            batches.append(self.mixup(h, y))
            return batches[0].inputs

        outputs = _run(self.net, layer, x, mixed)
        return HiddenMixture(outputs, batches[0], layer)


class RescaledLayers(nn.Module):
    """A network trained with mixup at hidden layers, asked as these taught it: equation 22.

    With f = g ∘ h at the layer: pred(x) = (g(h̄ + θ̄ (h(x) − h̄)) − (1 − θ̄) ȳ) / θ̄. A network that
    was mixed at several layers was taught by each, so its prediction is the mean over these, with a
    pass for each.

    Args:
        net: the trained network.
        stats: statistics of every layer that was mixed at, and of no other.
        manifold: how it was trained; of it the layers and the law are taken.
        law: the law of its training, by default that of the last batch.
        link: as for `RescaledModel`.

    Raises:
        TypeError: statistics that do not say of which layer they are.
        ValueError: statistics of other layers than those of the training.

    Source: Carratino et al., equation 22, for the part of the network behind the layer.
    """

    def __init__(
        self,
        net: nn.Module,
        stats: Sequence[LayerStatistics],
        manifold: ManifoldMixup,
        law: MixingLaw | None = None,
        link: Link = "softmax",
    ) -> None:
        super().__init__()
        for of_layer in stats:
            if not isinstance(of_layer, LayerStatistics):
                raise TypeError(
                    "statistics of hidden layers are made by LayerStatistics.from_loader, got "
                    f"{type(of_layer).__name__}, which says of no layer"
                )
        names = [of_layer.layer for of_layer in stats]
        if sorted(names) != sorted(manifold.layers):
            raise ValueError(
                f"the network was mixed at the layers {', '.join(map(repr, manifold.layers))}, the "
                f"statistics are of {', '.join(map(repr, names))}"
            )
        self.net, self.layers, self.link = net, names, link
        self.law = manifold.mixup.law if law is None else law
        self.register_buffer("y_mean", stats[0].stats.y_mean)
        for k, of_layer in enumerate(stats):
            self.register_buffer(f"mean_{k}", of_layer.stats.x_mean)

    def forward(self, x: Any) -> Tensor:
        """Predict by equation 22.

        Args:
            x: what the network takes, a mapping for keyword arguments.

        Returns:
            Rescaled outputs, the mean over the layers.

        Raises:
            ValueError: outputs or hidden values of another shape than the statistics.
        """
        every = []
        for k, layer in enumerate(self.layers):
            mean = self.get_buffer(f"mean_{k}")

            def shrunk(h: Tensor, mean: Tensor = mean) -> Tensor:
                return shrink(h, mean, self.law)

            every.append(logits_of(_run(self.net, layer, x, shrunk)))
        outputs = torch.stack(every).mean(0)
        return unshrink(outputs, self.get_buffer("y_mean"), self.law, link=self.link)


def _checked(net: nn.Module, layers: str | Sequence[str]) -> tuple[str, ...]:
    names = (layers,) if isinstance(layers, str) else tuple(layers)
    known = dict(net.named_modules())
    for name in names:
        if name not in known:
            raise ValueError(f"the network has no layer {name!r}; it has {', '.join(known)}")
    if not names or len({*names}) < len(names):
        raise ValueError(f"need at least one layer, each once, got {layers!r}")
    return names


def _run(net: nn.Module, layer: str, x: Any, change: Callable[[Any], Any]) -> Any:
    """Outputs of the network where what one layer gives out is changed on the way."""
    if layer == "":
        return _called(net, change(x))
    runs = 0

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Tensor:
        nonlocal runs
        runs += 1
        if not isinstance(output, Tensor):
            raise TypeError(
                f"layer {layer!r} gives out {type(output).__name__}, not one tensor; choose a "
                "layer inside of it or behind it"
            )
        if runs > 1:
            raise ValueError(f"layer {layer!r} runs more than once; choose another one")
        changed: Tensor = change(output)
        return changed

    (name,) = _checked(net, layer)
    handle = net.get_submodule(name).register_forward_hook(hook)
    try:
        outputs = _called(net, x)
    finally:
        handle.remove()
    if runs == 0:
        raise ValueError(f"layer {layer!r} is not run in a pass; choose another one")
    return outputs


def _called(net: nn.Module, x: Any) -> Any:
    return net(**x) if isinstance(x, Mapping) else net(x)
