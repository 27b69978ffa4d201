"""Two-moon repetitions: all as one batch against a loop over seeds with the ordinary parts.

The loop trains one network at a time with what the library offers for any network: the data set's
own batches, `RandomFourierFeatures`, `Mixup`, `ApproximateMixupLoss` and PyTorch's SGD. Both sides
start from data that are in memory; what the batch sets up once for a whole training (features, Gram
matrices) is timed once more apart, as a training of no epochs.

    python benchmarks/two_moons.py --output results/two-moons/benchmark.json
"""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

import _harness
from mixreg import Beta, Mixup, TrainingStatistics
from mixreg._random import generator
from mixreg.data import load
from mixreg.data.dataset import InMemoryDataset
from mixreg.experiments.two_moons import METHODS, PRESETS, Settings, make_problem, train
from mixreg.losses import logistic
from mixreg.models import build
from mixreg.perturbation import modified
from mixreg.risk.approximate_loss import ApproximateMixupLoss

PAPER = PRESETS["paper"]
EPOCHS = 10
REPEATS = 5


def main() -> None:
    """Time both ways for each method, and all methods together."""
    parser = _harness.arguments("Two-moon repetitions: one batch against a loop over seeds")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = dataclasses.replace(PAPER, epochs=EPOCHS)
    nothing = dataclasses.replace(settings, epochs=0)
    problem = make_problem(settings, range(settings.repetitions))
    tables = {}
    for name, methods in [*((m, [m]) for m in METHODS), ("all four", list(METHODS))]:
        seconds = _harness.interleaved(
            {
                "loop": lambda methods=methods: [loop(settings, method) for method in methods],
                "batch": lambda methods=methods: train(settings, problem, methods),
                "setup": lambda methods=methods: train(nothing, problem, methods),
            },
            options.repeats or REPEATS,
        )
        tables[name] = _harness.summary(seconds, baseline="batch")
        _harness.report(f"{name}: {settings.repetitions} seeds, {EPOCHS} epochs", tables[name])
    _harness.write(
        options.output,
        {
            "environment": _harness.environment(),
            "settings": dataclasses.asdict(settings),
            "methods": tables,
        },
    )


DATA: list[InMemoryDataset] = [
    load("two-moons", seed=seed, validation_fraction=0) for seed in range(PAPER.repetitions)
]


def loop(settings: Settings, method: str) -> None:
    """One seed after the other, each with its own network."""
    for seed, data in enumerate(DATA):
        net = build("random-fourier-features", input_shape=(2,), num_outputs=1, seed=seed)
        ((x, y),) = data.batches("train", data.size("train"))
        objective = loop_objective(method, net, x, y.float().unsqueeze(1), settings, seed)
        optimizer = torch.optim.SGD(net.parameters(), lr=settings.learning_rate)
        for epoch in range(settings.epochs):
            for inputs, labels in data.train_batches(settings.batch_size, seed=seed, epoch=epoch):
                optimizer.zero_grad()
                objective(inputs, labels.float().unsqueeze(1)).backward()
                optimizer.step()


def loop_objective(
    method: str, net: nn.Module, x: Tensor, y: Tensor, settings: Settings, seed: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """The objective of one batch of one network."""
    law, source = Beta(settings.alpha), generator(seed, "mixing")
    stats = TrainingStatistics.from_tensors(x, y)
    if method == "approximate":
        loss = ApproximateMixupLoss(stats, law, "logistic", generator=source)
        return lambda inputs, targets: loss(net, inputs, targets)
    if method == "mixup":
        mixup = Mixup(law, generator=source)

        def mixed(inputs: Tensor, targets: Tensor) -> Tensor:
            batch = mixup(inputs, targets)
            return logistic(batch.targets, net(batch.inputs)).mean()

        return mixed
    if method == "modified":

        def shrunk(inputs: Tensor, targets: Tensor) -> Tensor:
            points = modified(inputs, targets, stats.x_mean, stats.y_mean, law)
            return logistic(points.targets, net(points.inputs)).mean()

        return shrunk
    return lambda inputs, targets: logistic(targets, net(inputs)).mean()


if __name__ == "__main__":
    main()
