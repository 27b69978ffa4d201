r"""CutMix and timm's default mixture on CIFAR-10: which half of equation 22 helps their models.

    python benchmarks/recipes.py cutmix timm-default --seeds 5 --runs mixreg-runs/recipes \\
        --output results/recipes-cifar10

trains LeNet for 20 epochs by a plain loop, mixed by timm's own `Mixup`, unless it finds the network
in --runs; then every prediction that x̄, ȳ and the law of a recipe give without held-out labels is
measured on the test set. `mixup=PATTERN` names finished runs of `mixreg train` instead of a recipe.
"""

import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from timm.data import Mixup
from torch import Tensor
from torch.nn import functional

import _harness
import mixreg
from mixreg import RescaledModel, TrainingStatistics, data, models
from mixreg.calibration import apply_temperature, fit_temperature
from mixreg.data import Dataset
from mixreg.evaluation import mean_interval, metrics, paired_difference
from mixreg.recipes import Recipe, from_timm

CLASSES, SIZE, EPOCHS, MILESTONE, BATCH = 10, (32, 32), 20, 10, 128
RECIPES = {
    "cutmix": {"mixup_alpha": 0.0, "cutmix_alpha": 1.0, "label_smoothing": 0.0},
    "timm-default": {"mixup_alpha": 0.8, "cutmix_alpha": 1.0, "label_smoothing": 0.1},
}
PREDICTIONS: dict[str, dict[str, Any]] = {
    "raw": {"inputs": "keep", "outputs": "keep"},
    "inputs only": {"inputs": "shrink", "outputs": "keep"},
    "outputs only": {"inputs": "keep", "outputs": "scale"},
    "rescaled": {"inputs": "shrink", "outputs": "scale"},
    "two views": {"inputs": "both", "outputs": "scale"},
}
METRICS = ("accuracy", "nll", "ece")


def recipe_of(name: str) -> Recipe:
    """The laws of a recipe, read from the mixing object itself."""
    return from_timm(Mixup(**RECIPES[name], num_classes=CLASSES), image_size=SIZE)


def train(name: str, seed: int, dataset: Dataset, file: Path) -> None:
    """Train one network and keep it with its means and laws."""
    net = models.build("lenet", input_shape=dataset.input_shape, num_outputs=CLASSES, seed=seed)
    net = net.to(memory_format=torch.channels_last)
    np.random.seed(seed)  # timm draws from NumPy's global state
    mixing = Mixup(**RECIPES[name], num_classes=CLASSES)
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [MILESTONE], 0.1)
    start = time.monotonic()
    for epoch in range(EPOCHS):
        total = 0.0
        for x, y in dataset.train_batches(BATCH, seed=seed, epoch=epoch):
            inputs, targets = mixing(x.clone(), y)
            loss = functional.cross_entropy(net(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += len(x) * float(loss.detach())
        scheduler.step()
        mean = total / dataset.size("train")
        print(f"epoch {epoch + 1}: {mean:.4f}, {time.monotonic() - start:.0f} s", flush=True)
    batches = dataset.train_batches(500, seed=seed, epoch=0)
    stats = TrainingStatistics.from_loader(batches, CLASSES, progress=False)
    model = RescaledModel(net, stats, recipe_of(name))
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, file)


def trained(name: str, seed: int, dataset: Dataset, runs: Path) -> RescaledModel:
    """The model of a recipe and a seed, or of the run that "name=PATTERN" stands for."""
    _, _, pattern = name.partition("=")
    if pattern:
        return mixreg.load(pattern.format(seed=seed))
    file = runs / f"{name}-seed{seed}.safetensors"
    if not file.exists():
        train(name, seed, dataset, file)
    net = models.build("lenet", input_shape=dataset.input_shape, num_outputs=CLASSES)
    return RescaledModel.from_state_dict(net, load_file(file)).eval()


def logits(model: RescaledModel, dataset: Dataset, split: Any) -> tuple[Tensor, Tensor]:
    """Predictions and labels of a split."""
    batches = list(dataset.batches(split, 500))
    with torch.inference_mode():
        return torch.cat([model(x) for x, _ in batches]), torch.cat([y for _, y in batches])


def measured(model: RescaledModel, dataset: Dataset) -> dict[str, dict[str, float]]:
    """Test metrics of every prediction, with means of pixels and of channels, and of f(x)/T."""
    stats = TrainingStatistics(model.x_mean.double(), model.y_mean.double(), dataset.size("train"))
    found = {}
    for name, options in PREDICTIONS.items():
        for suffix, means in {"": stats, ", means of channels": stats.per_channel()}.items():
            if suffix and options["inputs"] == "keep":
                continue
            one = RescaledModel(model.net, means, model.law, **options).eval()
            found[name + suffix] = metrics(*logits(one, dataset, "test"))
    raw = RescaledModel(model.net, stats, model.law, **PREDICTIONS["raw"]).eval()
    temperature = fit_temperature(*logits(raw, dataset, "validation"))
    test, labels = logits(raw, dataset, "test")
    found["temperature"] = metrics(apply_temperature(test, temperature), labels)
    return {name: {m: getattr(values, m) for m in METRICS} for name, values in found.items()}


def main() -> None:
    """Train what is missing, measure, print and store."""
    parser = _harness.arguments(__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=Path("mixreg-runs/recipes"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows, runs = [], {}
    for recipe in options.recipes:
        name = recipe.partition("=")[0]
        by_seed = {}
        for seed in range(options.seeds):
            dataset = data.load("cifar10", seed=seed, augment=False)
            by_seed[seed] = measured(trained(recipe, seed, dataset, options.runs), dataset)
        runs[name] = by_seed
        rows += table(name, by_seed)
    for row in rows:
        print(row)
    if options.output:
        about = {"recipes": RECIPES, "epochs": EPOCHS, "milestone": MILESTONE, "batch": BATCH}
        results = {"about": about, "runs": runs, "environment": _harness.environment("timm")}
        _harness.write(options.output / "metrics.json", results)
        with (options.output / "table.csv").open("w", newline="") as file:
            csv.writer(file).writerows([list(rows[0]), *(list(row.values()) for row in rows)])


def table(name: str, by_seed: dict[int, dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """One row a prediction and metric: mean, difference to raw, and their 95% half widths."""
    rows = []
    for prediction in by_seed[0]:
        for metric in METRICS:
            values = {seed: found[prediction][metric] for seed, found in by_seed.items()}
            raw = {seed: found["raw"][metric] for seed, found in by_seed.items()}
            mean, less = mean_interval([*values.values()]), paired_difference(values, raw)
            row = {"recipe": name, "prediction": prediction, "metric": metric, "n": mean.n}
            row |= {"mean": mean.mean, "half_width": mean.half_width}
            rows.append(row | {"less_raw": less.mean, "less_raw_half_width": less.half_width})
    return rows


if __name__ == "__main__":
    main()
