"""The rescaled prediction of a model trained with mixup (equation 22), by a module or by hooks."""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self, get_args, overload

import torch
from torch import Tensor, nn

from mixreg._checks import (
    PROBABILITIES,
    are_probabilities,
    check_inputs,
    check_tensor,
    dims,
    fits,
    logits_of,
)
from mixreg._errors import CheckpointError, ConfigurationError
from mixreg.folding import FoldedNormalisation, fold, folded_normalisation
from mixreg.laws import Constant, MixingLaw, law_from_dict
from mixreg.recipes.recipe import PixelLaw, Recipe, recipe_from_dict
from mixreg.statistics import TrainingStatistics

Link = Literal["softmax", "sigmoid", "identity"]
Inputs = Literal["shrink", "keep", "both"]
Outputs = Literal["scale", "keep"]

_CALLER = 6  # frames from a warning to the line that called the module, through nn.Module's two
_INPUTS = ("pixel_values", "inputs_embeds", "input_values", "input_features")


def shrink(x: Tensor, x_mean: Tensor, law: MixingLaw | PixelLaw) -> Tensor:
    """Inputs shrunk towards their mean: x̃ = x̄ + θ̄ (x − x̄) (equations 5 and 21).

    Args:
        x: inputs, floating point, shape (n, ...).
        x_mean: x̄, the shape of one input, or one number for each channel, such as (3, 1, 1).
        law: law of λ the model was trained with; a law of pixels shrinks each by its own θ̄.

    Returns:
        Shrunk inputs, in the dtype of `x`.

    Raises:
        TypeError: `x` is not floating point.
        ValueError: the mean has not the shape of one input, or the law is of another image size.

    Example:
        >>> from mixreg import Beta
        >>> shrink(torch.tensor([[4.0]]), torch.tensor([0.0]), Beta(1.0))
        tensor([[3.]])
    """
    return _shrunk(x, x_mean, law.shrinkage)


def unshrink(
    outputs: Tensor,
    y_mean: Tensor,
    law: MixingLaw,
    *,
    link: Link = "identity",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Outputs mapped back from shrunk labels: (u − (1 − θ̄) ȳ) / θ̄ (equation 22).

    For `link="sigmoid"` each output is one logit u, equivalent to the two-class logits (0, u) with
    means (1 − ȳ, ȳ); equation 22 for those two gives u/θ̄ + (2ȳ − 1)(1 − 1/θ̄). Labels that were
    smoothed by s besides are (1 − s) times those of mixup plus s/K, which is undone likewise.

    Args:
        outputs: u = f(x̃), shape (n,) or (n, c).
        y_mean: ȳ, the shape of one output.
        law: law of λ the model was trained with.
        link: "softmax" and "identity" apply the formula as it stands, "sigmoid" the one above.
        label_smoothing: s in [0, 1), towards equal probabilities.

    Returns:
        Rescaled outputs.

    Raises:
        TypeError: the outputs are not one floating-point tensor.
        ValueError: an unknown link, a mean that has not the shape of one output, or smoothing of
            values that are no probabilities.

    Example:
        >>> from mixreg import Beta
        >>> unshrink(torch.tensor([[0.75, 0.25]]), torch.tensor([0.5, 0.5]), Beta(1.0))
        tensor([[0.8333, 0.1667]])
    """
    _check_known(link)
    _check_smoothing(label_smoothing, link)
    outputs = logits_of(outputs)
    mean = _fitting_mean(y_mean, outputs, link).to(outputs.device, outputs.dtype)
    kept = 1 - label_smoothing
    return (outputs - _shift(mean, law, link, label_smoothing)) / (kept * law.theta_mean)


class RescaledModel(nn.Module):
    """A trained model asked for predictions as mixup taught it: equation 22.

    pred(x) = (f(x̄ + θ̄ (x − x̄)) − (1 − θ̄) ȳ) / θ̄

    in the space of the outputs of f: logits for classification, values for regression. The inner
    model is used as it is. Means and law travel in the `state_dict`: the means as buffers, the law
    as JSON in a byte tensor.

    Args:
        net: f, the trained model, (n, ...) → (n, c) or (n,), or an output that holds such `logits`,
            as Hugging Face's do.
        stats: x̄ and ȳ of the training data in the model's own input space.
        law: law of λ the model was trained with, or a `Recipe` of another library, whose inputs
            and labels may have laws of their own.
        link: "softmax" for class logits; "sigmoid" for independent logits, each equivalent to two
            classes; "identity" for regression, and for the literal formula.
        inputs: "shrink" them as equation 22 does, "keep" them, or take the mean of the outputs of
            "both", which costs a second pass. By default they are shrunk, but kept after a recipe
            with boxes, which leave pixels as bright as they were: results/recipes-cifar10.
        outputs: "scale" them as equation 22 does, or "keep" them.

    Raises:
        TypeError: the law is none.
        ValueError: an unknown link or option, statistics that do not fit, or a network that
            predicts by equation 22 itself, after `rescale_`.

    Source: Carratino et al., equation 22 and Algorithm 1.

    Example:
        >>> from mixreg import Beta
        >>> x, y = torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1])
        >>> stats = TrainingStatistics.from_tensors(x, y, num_classes=2)
        >>> model = RescaledModel(nn.Linear(1, 2), stats, Beta(1.0))
        >>> model(x).shape
        torch.Size([2, 2])
    """

    x_mean: Tensor
    y_mean: Tensor
    pixel_map: Tensor | None

    def __init__(
        self,
        net: nn.Module,
        stats: TrainingStatistics,
        law: MixingLaw | Recipe,
        link: Link = "softmax",
        *,
        inputs: Inputs | None = None,
        outputs: Outputs = "scale",
    ) -> None:
        super().__init__()
        if not isinstance(law, MixingLaw | Recipe):
            raise TypeError(f"law must be a mixing law such as Beta(1.0), got {law!r}")
        _check_link(link, stats.y_mean)
        _check_smoothing(law.label_smoothing if isinstance(law, Recipe) else 0.0, link)
        _check_not_rescaled(net)
        self.net = net
        low, high = stats.x_min, stats.x_max
        edges = None if low is None or high is None else (low, high)
        boxes = isinstance(law, Recipe) and isinstance(law.input_law, PixelLaw)
        self._set(law, link, edges, inputs or ("keep" if boxes else "shrink"), outputs)
        self.register_buffer("x_mean", stats.x_mean.to(*_placement(net)))
        self.register_buffer("y_mean", stats.y_mean.to(*_placement(net)))

    def forward(self, x: Tensor) -> Tensor:
        """Predict by equation 22.

        Args:
            x: inputs as the trained model takes them, shape (n, ...).

        Returns:
            Rescaled outputs, the shape and dtype of the inner model's.

        Raises:
            TypeError: integer inputs, or outputs that are not one floating-point tensor.
            ValueError: inputs or outputs of another shape than the statistics.
        """
        shrunk = self.shrunk(x)
        outputs = logits_of(self.net(x if self.inputs == "keep" else shrunk))
        if self.inputs == "both":
            outputs = (outputs + logits_of(self.net(x))) / 2
        return self.unshrunk(outputs)

    def shrunk(self, x: Tensor) -> Tensor:
        """What the inner model is asked at: x̄ + θ̄ (x − x̄).

        Args:
            x: inputs, shape (n, ...).

        Returns:
            Shrunk inputs.
        """
        amount = self._recipe.input_law.shrinkage if self.pixel_map is None else self.pixel_map
        shrunk = _shrunk(x, self.x_mean, amount)
        if self._range_unchecked and not torch.compiler.is_compiling():
            self._check_range(x)
        return shrunk

    def unshrunk(self, outputs: Tensor) -> Tensor:
        """What the outputs of the inner model say: (u − (1 − θ̄) ȳ) / θ̄, or u where they are kept.

        Args:
            outputs: u, shape (n,) or (n, c).

        Returns:
            Rescaled outputs.
        """
        if self.outputs == "keep":
            return outputs
        recipe = self._recipe
        rescaled = unshrink(
            outputs,
            self.y_mean,
            recipe.label_law,
            link=self.link,
            label_smoothing=recipe.label_smoothing,
        )
        if self._outputs_unchecked and not torch.compiler.is_compiling():
            self._check_outputs(outputs)
        return rescaled

    @overload
    def fold(
        self,
        into: Literal["weights"] = "weights",
        *,
        first: str | None = None,
        last: str | Sequence[str] | None = None,
        example: Tensor | None = None,
    ) -> nn.Module: ...

    @overload
    def fold(
        self,
        into: Literal["normalisation"],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        last: str | Sequence[str] | None = None,
        example: Tensor | None = None,
    ) -> FoldedNormalisation: ...

    def fold(
        self,
        into: Literal["weights", "normalisation"] = "weights",
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        first: str | None = None,
        last: str | Sequence[str] | None = None,
        example: Tensor | None = None,
    ) -> nn.Module | FoldedNormalisation:
        """The inner network with equation 22 merged into it, by `mixreg.folding.fold`.

        Into the normalisation (p − m)/s of pixels p, where x̄ is one number for each channel, goes
        its inner half: s' = s/θ̄ and m' = m − s (1 − θ̄)/θ̄ x̄. Then only the last layer changes, so
        that it works for networks that begin with anything, at any image size, and keeps all keys.

        Args:
            into: "weights" of the first and the last layer, or "normalisation" and the last layer.
            mean: m of each channel, for `into="normalisation"`.
            std: s of each channel.
            first: name of the layer that takes the input; by default the first one called.
            last: name or names of those that give the output; by default found likewise.
            example: inputs (n, ...) at which the result is compared; by default drawn around x̄.

        Returns:
            A network of the class of the inner one, which in evaluation mode predicts what this
            model does, without its warnings; with its normalisation, where that was asked for.

        Raises:
            ValueError: the network does not begin and end with layers that this can be merged
                into, or the means do not fit.
        """
        if into not in ("weights", "normalisation"):
            raise ValueError(f"into must be 'weights' or 'normalisation', got {into!r}")
        recipe, scaled = self._recipe, self.outputs == "scale"
        if self.inputs == "both" or (self.inputs == "shrink" and self.pixel_map is not None):
            raise ValueError(
                "only one shrinkage of all inputs folds into weights, not a map over pixels or the "
                "mean of two views; keep the RescaledModel, which is exact for every network"
            )
        kept, law = 1 - recipe.label_smoothing, recipe.label_law
        shrinkage = float(recipe.input_law.shrinkage) if self.inputs == "shrink" else 0.0
        folded = fold(
            self.net,
            self.x_mean,
            shrinkage=shrinkage if into == "weights" else 0.0,
            shift=_shift(self.y_mean, law, self.link, recipe.label_smoothing) * scaled,
            divisor=kept * law.theta_mean if scaled else 1.0,
            first=first,
            last=last,
            example=example,
        )
        if into == "weights":
            return folded
        return folded_normalisation(folded, self.x_mean, shrinkage, mean, std)

    @classmethod
    def from_state_dict(cls, net: nn.Module, state: Mapping[str, Tensor]) -> Self:
        """The model whose `state_dict` this is, with no statistics at hand.

        Args:
            net: a network of the class of the inner one; its weights are replaced.
            state: what `state_dict` gave.

        Returns:
            The model.

        Raises:
            CheckpointError: the state lacks means or law, or they are none.
            RuntimeError: the weights are those of another network.

        Example:
            >>> from mixreg import Beta
            >>> x, y = torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1])
            >>> stats = TrainingStatistics.from_tensors(x, y, num_classes=2)
            >>> state = RescaledModel(nn.Linear(1, 2), stats, Beta(1.0)).state_dict()
            >>> RescaledModel.from_state_dict(nn.Linear(1, 2), state).law
            Beta(alpha=1.0)
        """
        missing = [name for name in ("x_mean", "y_mean", "_extra_state") if name not in state]
        if missing:
            raise CheckpointError(
                f"no state of a RescaledModel: it has no {', '.join(missing)}; for weights alone "
                "make RescaledModel(net, stats, law)"
            )
        try:
            for name in ("x_mean", "y_mean"):
                check_tensor(state[name], name, name)
            stats = TrainingStatistics(state["x_mean"].double(), state["y_mean"].double(), 1)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"no means of a RescaledModel: {error}") from error
        model = cls(net, stats, Constant(1.0), "identity")
        model.load_state_dict(state)
        return model

    def get_extra_state(self) -> Tensor:
        """Law, link and input range as JSON bytes, so that a state dict holds tensors alone."""
        about = {
            "law": self.law.to_dict(),
            "link": self.link,
            "input_range": self.input_range,
            "inputs": self.inputs,
            "outputs": self.outputs,
        }
        return torch.tensor(list(json.dumps(about).encode()), dtype=torch.uint8, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Take law, link and input range from a loaded state dict, or raise a CheckpointError."""
        try:
            about: dict[str, Any] = json.loads(bytes(state.tolist()))
            stored, link = about["law"], about["link"]
            law = recipe_from_dict(stored) if "labels" in stored else law_from_dict(stored)
            edges = about["input_range"]
            input_range = None if edges is None else (float(edges[0]), float(edges[1]))
            _check_known(link)
            self._set(law, link, input_range, about["inputs"], about["outputs"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"no law and link of a RescaledModel: {error}") from error

    def extra_repr(self) -> str:
        """Law, link and options."""
        options = f"inputs={self.inputs!r}, outputs={self.outputs!r}"
        return f"law={self.law}, link={self.link!r}, {options}"

    def _set(
        self,
        law: MixingLaw | Recipe,
        link: Link,
        input_range: tuple[float, float] | None,
        inputs: Inputs,
        outputs: Outputs,
    ) -> None:
        """Take all but network and means; a map over pixels is worked out once."""
        for name, value, known in (("inputs", inputs, Inputs), ("outputs", outputs, Outputs)):
            if value not in get_args(known):
                raise ValueError(f"{name} must be one of {get_args(known)}, got {value!r}")
        recipe = law if isinstance(law, Recipe) else Recipe(law, law)
        amount = recipe.input_law.shrinkage
        pixel_map = amount.to(*_placement(self.net)) if isinstance(amount, Tensor) else None
        self.register_buffer("pixel_map", pixel_map, persistent=False)
        self.law, self.inputs, self.outputs, self._recipe = law, inputs, outputs, recipe
        self.link: Link = link
        self.input_range = input_range
        self._range_unchecked = input_range is not None
        self._outputs_unchecked = link == "softmax"

    def _check_range(self, x: Tensor) -> None:
        """Warn once; look at every batch on the CPU but, to keep its queue full, one elsewhere."""
        assert self.input_range is not None
        low, high = self.input_range
        try:
            smallest, largest = (float(edge) for edge in torch.aminmax(x.detach()))
        except RuntimeError:  # no values to look at: an empty, meta, fake or vmapped batch
            return
        far = smallest < low - (high - low) or largest > high + (high - low)
        self._range_unchecked = x.device.type == "cpu" and not far
        if far:
            warnings.warn(
                f"inputs range over [{smallest:.4g}, {largest:.4g}], far outside the "
                f"[{low:.4g}, {high:.4g}] of the training statistics; normalise them as for "
                "training, or measure the statistics on inputs like these",
                stacklevel=_CALLER,
            )

    def _check_outputs(self, outputs: Tensor) -> None:
        """Look at one batch, and warn where it holds probabilities instead of logits."""
        try:
            probable = are_probabilities(outputs)
        except RuntimeError:  # no values to look at, as in _check_range
            return
        self._outputs_unchecked = False
        if probable:
            warnings.warn(PROBABILITIES, stacklevel=_CALLER)


class Rescaling:
    """The hooks of a network that predicts by equation 22; `remove()` takes them away."""

    def __init__(self, model: RescaledModel) -> None:
        self._model = model
        self._handles = [
            model.net.register_forward_pre_hook(self._before, with_kwargs=True),
            model.net.register_forward_hook(self._after),
        ]

    def remove(self) -> None:
        """Let the network predict as it did."""
        for handle in self._handles:
            handle.remove()

    def _before(
        self, net: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        model = self._model
        if net.training:
            return None
        if kwargs.get("labels") is not None:
            raise ValueError(
                "with labels=... the network takes the loss of its own logits, not of the rescaled "
                "ones; leave them out and take the loss of what it returns (transformers.Trainer: "
                "compute_loss_func)"
            )
        if model.inputs == "keep":
            return None
        if args:
            return (model.shrunk(args[0]), *args[1:]), kwargs
        name = next((name for name in _INPUTS if isinstance(kwargs.get(name), Tensor)), None)
        if name is None:
            raise TypeError(
                f"found none of {', '.join(_INPUTS)} and no positional input among the arguments "
                f"{', '.join(kwargs) or '(none)'}; token ids cannot be averaged, so pass embeddings"
            )
        return args, {**kwargs, name: model.shrunk(kwargs[name])}

    def _after(self, net: nn.Module, _: tuple[Any, ...], output: Any) -> Any:
        if net.training:
            return None
        rescaled = self._model.unshrunk(logits_of(output))
        if isinstance(output, Tensor):
            return rescaled
        output.logits = rescaled
        return output


def rescale_(
    net: nn.Module,
    stats: TrainingStatistics,
    law: MixingLaw | Recipe,
    link: Link = "softmax",
    *,
    inputs: Inputs | None = None,
    outputs: Outputs = "scale",
) -> Rescaling:
    """Make a network itself predict by equation 22 in evaluation mode.

    Its class, parameters, state keys and `save_pretrained` stay as they are, and so does what it
    does in training mode. The input is its first positional argument, or what Hugging Face's
    networks call `pixel_values`, `inputs_embeds`, `input_values` or `input_features`.

    Args:
        net: f, which gets two hooks.
        stats: x̄ and ȳ of the training data.
        law: law of λ the model was trained with, or a recipe.
        link: as of `RescaledModel`.
        inputs: "shrink" or "keep", by default as `RescaledModel`.
        outputs: "scale" or "keep".

    Returns:
        The hooks, to remove them.

    Raises:
        ValueError: two views, which take two passes; a network that was rescaled before; or what
            `RescaledModel` refuses.

    Example:
        >>> from mixreg import Beta
        >>> x, y = torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1])
        >>> stats = TrainingStatistics.from_tensors(x, y, num_classes=2)
        >>> net = nn.Linear(1, 2).eval()
        >>> expected = RescaledModel(nn.Linear(1, 2), stats, Beta(1.0)).eval()
        >>> _ = expected.net.load_state_dict(net.state_dict())
        >>> hooks = rescale_(net, stats, Beta(1.0))
        >>> torch.equal(net(x), expected(x))
        True
    """
    model = RescaledModel(net, stats, law, link, inputs=inputs, outputs=outputs)
    if model.inputs == "both":
        raise ValueError("hooks take one pass; for the mean of two views use RescaledModel")
    return Rescaling(model)


class PostProcessing(nn.Module):
    """Equation 22 as a post-processing object of torch-uncertainty.

    A routine gives it the network (`set_model`) and its post-processing loader (`fit`), on which x̄
    and ȳ are measured unless they are given; the training set is the right one. Neither network nor
    means enter the routine's state.

    Args:
        law: law of λ the model was trained with, or a recipe.
        stats: x̄ and ȳ of the training data, if they are known.
        num_classes: number of classes, for class indices.
        link: as of `RescaledModel`.
        options: `inputs` and `outputs` of `RescaledModel`.

    Raises:
        ConfigurationError: it is asked before there are a network and means.
    """

    def __init__(
        self,
        law: MixingLaw | Recipe,
        stats: TrainingStatistics | None = None,
        *,
        num_classes: int | None = None,
        link: Link = "softmax",
        **options: Any,
    ) -> None:
        super().__init__()
        self.law, self.link, self.num_classes, self.options = law, link, num_classes, options
        self.stats, self._is_given = stats, stats is not None
        self._model: tuple[nn.Module, ...] = ()
        self._rescaled: tuple[RescaledModel, ...] = ()

    @property
    def trained(self) -> bool:
        """Whether x̄ and ȳ are known."""
        return self.stats is not None

    @property
    def model(self) -> nn.Module | None:
        """The network."""
        return self._model[0] if self._model else None

    def set_model(self, model: nn.Module) -> None:
        """Take the network.

        Args:
            model: f, whose outputs are logits.
        """
        self._model, self._rescaled = (model,), ()

    def fit(self, dataloader: Iterable[Any], *, progress: bool = True) -> None:
        """Measure x̄ and ȳ, unless they were given.

        Args:
            dataloader: batches (x, y) of training data without mixing.
            progress: show a progress bar.
        """
        if not self._is_given:
            self.stats, self._rescaled = None, ()
            self.stats = TrainingStatistics.from_loader(
                dataloader, self.num_classes, progress=progress
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """Rescaled logits.

        Args:
            inputs: as the network takes them, shape (n, ...).

        Returns:
            Logits, the shape of the network's outputs.

        Raises:
            ConfigurationError: there is no network, or no means.
        """
        if not self._model or self.stats is None:
            lacking = "fit(loader)" if self._model else "set_model(net)"
            raise ConfigurationError(f"the rescaled prediction needs {lacking} first")
        if not self._rescaled:
            model = RescaledModel(self._model[0], self.stats, self.law, self.link, **self.options)
            self._rescaled = (model,)
        rescaled: Tensor = self._rescaled[0](inputs)
        return rescaled


def _shrunk(x: Tensor, x_mean: Tensor, amount: float | Tensor) -> Tensor:
    check_inputs(x)
    if not fits(x, x_mean):
        raise ValueError(
            f"the statistics describe inputs of shape (n, {dims(x_mean)}), got "
            f"{tuple(x.shape)}; measure them on the inputs this model takes"
        )
    mean = x_mean.to(x.device, x.dtype).expand_as(x)
    if not isinstance(amount, Tensor):
        return torch.lerp(x, mean, amount)
    if x.shape[-2:] != amount.shape:
        raise ValueError(
            f"the recipe mixes images of {dims(amount)} pixels, the inputs have the shape "
            f"{tuple(x.shape)}; give the recipe the image size of the training"
        )
    return torch.lerp(x, mean, amount.to(x.device, x.dtype))


def _fitting_mean(y_mean: Tensor, outputs: Tensor, link: Link) -> Tensor:
    if link == "softmax" and outputs.ndim != 2:
        raise ValueError(
            f"link='softmax' needs outputs of shape (n, c), got {tuple(outputs.shape)}; "
            "for one logit use link='sigmoid', for regression link='identity'"
        )
    expected, shape = y_mean.shape, outputs.shape[1:]
    if outputs.ndim == 0 or (expected != shape and not expected.numel() == shape.numel() == 1):
        raise ValueError(
            f"the statistics describe targets of shape (n, {dims(y_mean)}), but the model's "
            f"outputs have shape {tuple(outputs.shape)}; measure them with the labels of this "
            "model (one logit: floating labels of shape (n,))"
        )
    return y_mean.reshape(shape)


def _shift(mean: Tensor, law: MixingLaw, link: Link, label_smoothing: float) -> Tensor:
    """What shrunk and smoothed labels have beside θ̄ (1 − s) y, in the space of the outputs."""
    uniform = label_smoothing / mean.numel() if link == "softmax" else 0.0
    towards = 2 * mean - 1 if link == "sigmoid" else mean  # the two classes' difference
    return (1 - label_smoothing) * law.shrinkage * towards + uniform


def _check_not_rescaled(net: nn.Module) -> None:
    """Refuse a network that predicts by equation 22 as it is, which would then be applied twice."""
    for module in net.modules():
        owners = [getattr(hook, "__self__", None) for hook in module._forward_hooks.values()]
        if any(isinstance(owner, Rescaling) for owner in owners):
            raise ValueError(
                "the network is rescaled already, by rescale_, which would be done twice; take its "
                "hooks away first, by remove()"
            )


def _check_smoothing(label_smoothing: float, link: Link) -> None:
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must lie in [0, 1), got {label_smoothing}")
    if label_smoothing and link == "identity":
        raise ValueError("values of a regression have no label smoothing; use link='softmax'")


def _check_known(link: str) -> None:
    if link not in get_args(Link):
        raise ValueError(f"link must be 'softmax', 'sigmoid' or 'identity', got {link!r}")


def _check_link(link: str, y_mean: Tensor) -> None:
    _check_known(link)
    if link == "softmax" and (y_mean.ndim != 1 or len(y_mean) < 2):
        raise ValueError(
            f"link='softmax' needs class means ȳ of shape (c,) with c >= 2, got "
            f"{tuple(y_mean.shape)}; for one logit use link='sigmoid', for regression 'identity'"
        )
    if link == "softmax" and abs(float(y_mean.sum()) - 1) > 1e-6:
        raise ValueError(
            f"link='softmax' needs class means ȳ that sum to 1, got {float(y_mean.sum()):.6g}; "
            "for multi-label targets use link='sigmoid', for regression 'identity'"
        )
    if link == "sigmoid" and not bool(((y_mean >= 0) & (y_mean <= 1)).all()):
        raise ValueError(
            "link='sigmoid' needs label means ȳ in [0, 1]; for regression use link='identity'"
        )


def _placement(net: nn.Module) -> tuple[torch.device, torch.dtype]:
    for parameter in net.parameters():
        if parameter.is_floating_point():
            return parameter.device, parameter.dtype
    return torch.device("cpu"), torch.get_default_dtype()
