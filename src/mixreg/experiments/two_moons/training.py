"""Plain SGD on all repetitions at once."""

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor
from tqdm.auto import tqdm

from mixreg._errors import MixregError
from mixreg.experiments.two_moons.methods import Method, Trainable
from mixreg.experiments.two_moons.problem import Problem, draw_epoch
from mixreg.laws import MixingLaw

Weights = dict[Method, Tensor]
"""w of each method, shape (S, M)."""


def train(
    methods: Mapping[Method, Trainable],
    problem: Problem,
    law: MixingLaw,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    record: Callable[[Weights], None] | None = None,
    recorded_epochs: Collection[int] = (),
    progress: bool = False,
) -> Weights:
    """Minimise the objective of each method from w = 0.

    All methods take the same batches in the same order, and what is drawn for a repetition depends
    on its seed and the epoch alone.

    Args:
        methods: the methods.
        problem: the repetitions.
        law: law of λ.
        epochs: passes over the training points.
        batch_size: b.
        learning_rate: step size γ.
        record: called with the weights after each recorded epoch.
        recorded_epochs: numbers of finished epochs after which to call it.
        progress: show a progress bar.

    Returns:
        The weights.

    Raises:
        MixregError: the weights are no longer finite.

    Source: Carratino et al., appendix B.3.
    """
    parameters = {name: method.start() for name, method in methods.items()}
    for epoch in tqdm(range(epochs), desc="two moons", unit="epoch", disable=not progress):
        draws = draw_epoch(problem, epoch, law)
        for name, method in methods.items():
            objective = method.of_epoch(draws)
            for start in range(0, problem.size, batch_size):
                rows = draws.order[:, start : start + batch_size]
                step = objective.gradient(parameters[name], rows)
                parameters[name].sub_(step, alpha=learning_rate)
        if record is not None and epoch + 1 in recorded_epochs:
            record(_weights(methods, parameters, epoch + 1))
    return _weights(methods, parameters, epochs)


def _weights(
    methods: Mapping[Method, Trainable], parameters: Mapping[Method, Tensor], epochs: int
) -> Weights:
    weights = {name: method.weights(parameters[name]) for name, method in methods.items()}
    for name, w in weights.items():
        if not bool(torch.isfinite(w).all()):
            raise MixregError(
                f"training by {name!r} diverged within {epochs} epochs; lower the learning rate"
            )
    return weights
