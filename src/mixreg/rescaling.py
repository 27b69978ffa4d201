"""Equation 22 in a network itself: by hooks, or as torch-uncertainty's post-processing."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from mixreg._checks import logits_of
from mixreg._errors import ConfigurationError
from mixreg.laws import MixingLaw
from mixreg.prediction import Inputs, Link, Outputs, RescaledModel
from mixreg.recipes.recipe import Recipe
from mixreg.statistics import TrainingStatistics

_INPUTS = ("pixel_values", "inputs_embeds", "input_values", "input_features")


class Rescaling:
    """The hooks of a network that predicts by equation 22; `remove()` takes them away."""

    def __init__(self, model: RescaledModel) -> None:
        self._model = (model,)
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
        model = self._model[0]
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
        rescaled = self._model[0].unshrunk(logits_of(output))
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
        >>> import torch
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
    if any(
        isinstance(getattr(hook, "__self__", None), Rescaling)
        for hook in net._forward_hooks.values()
    ):
        raise ValueError("the network is rescaled already; take its hooks away first, by remove()")
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
