"""One training epoch of LeNet on CIFAR-10 with crop, flip and mixup, against the usual pipeline.

    MIXREG_DATA=/path/to/data python benchmarks/epoch.py --output results.json

Both sides train the same network by the same plain loop: SGD with momentum, batches of 128,
cross-entropy with soft targets, mixup with α = 1 for each sample on ours and, as its default is,
for each batch on timm's.

- "mixreg": `mixreg.data` (uint8 images in memory, crop, flip and normalisation on whole batches),
  `mixreg.Mixup`, channels_last.
- "usual": torchvision's `CIFAR10`, its PIL transforms, a `DataLoader` with 2 workers, timm's
  `Mixup` with label smoothing off; timm needs even batches, so the last one, of 80, stays.
- "usual, channels_last": the same with the network and the batches in channels_last memory.

The step alone, on one batch that is already there, says how much of each epoch is the network.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import timm.data
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import CIFAR10

import _harness
from mixreg import Beta, Mixup, cross_entropy
from mixreg.data import load
from mixreg.models import build

BATCH, CLASSES, ALPHA = 128, 10, 1.0
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)

Batches = Iterable[tuple[Tensor, Tensor]]


def epoch(memory_format: torch.memory_format, batches: Callable[[], Batches]) -> Callable[[], None]:
    """A function that trains a network of its own on one pass of mixed batches."""
    torch.manual_seed(0)
    net = build("lenet", input_shape=(3, 32, 32), num_outputs=CLASSES)
    net = net.to(memory_format=memory_format)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    def run() -> None:
        for x, targets in batches():
            step(net, optimizer, x.to(memory_format=memory_format), targets)

    return run


def step(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, targets: Tensor) -> None:
    """One step of SGD."""
    optimizer.zero_grad()
    cross_entropy(targets, net(x)).mean().backward()
    optimizer.step()


def ours(root: str) -> Callable[[], Batches]:
    """Mixed batches from memory; every pass is a new epoch."""
    data = load("cifar10", root, validation_fraction=0.0)
    mixup = Mixup(Beta(ALPHA), CLASSES, generator=torch.Generator().manual_seed(0))
    epochs = iter(range(1_000_000))

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in data.train_batches(BATCH, seed=0, epoch=next(epochs)):
            yield mixup.transform(x, y)

    return batches


def usual(root: str) -> Callable[[], Batches]:
    """Mixed batches by torchvision, PIL, two workers and timm."""
    augment = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    to_floats = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    data = CIFAR10(root, train=True, transform=transforms.Compose(augment + to_floats))
    loader = DataLoader(data, BATCH, shuffle=True, num_workers=2)
    mixup = timm.data.Mixup(mixup_alpha=ALPHA, label_smoothing=0.0, num_classes=CLASSES)
    return lambda: (mixup(x, y) for x, y in loader)


def main() -> None:
    """Measure, print and store."""
    options = _harness.arguments(__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(options.threads)
    root = os.environ.get("MIXREG_DATA", "data")
    one_batch = [(torch.randn(BATCH, 3, 32, 32), torch.full((BATCH, CLASSES), 1 / CLASSES))]
    epochs = {
        "mixreg": epoch(torch.channels_last, ours(root)),
        "usual": epoch(torch.contiguous_format, usual(root)),
        "usual, channels_last": epoch(torch.channels_last, usual(root)),
    }
    steps = {
        "step, channels_last": epoch(torch.channels_last, lambda: one_batch),
        "step": epoch(torch.contiguous_format, lambda: one_batch),
    }
    results: dict[str, Any] = {"batch_size": BATCH, "repeats": options.repeats or 3}
    results["epoch"] = _harness.summary(
        _harness.interleaved(epochs, results["repeats"]), baseline="mixreg"
    )
    _harness.report(f"one epoch, {options.threads} threads", results["epoch"])
    results["step"] = _harness.summary(
        _harness.interleaved(steps, 50), baseline="step, channels_last"
    )
    _harness.report("one step", results["step"])
    results["environment"] = _harness.environment("timm", "torchvision")
    _harness.write(options.output, results)


if __name__ == "__main__":
    main()
