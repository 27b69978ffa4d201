"""Mixing a batch: `mixreg.Mixup` for each sample against timm, torchvision and one streaming pass.

    python benchmarks/mixing.py --threads 1 --output results.json

The streaming pass is `torch.add(a, b, out=c)` on tensors of the batch's size: two reads and one
write. (Mixing reads one tensor twice, which a cache makes cheaper.) "out=" reuses one output
buffer; without it every batch is written to new memory, as the peers' are. For a batch of 38 MB the
operating system must clear that memory page by page, which can take several times as long as the
mixing. So each case runs in a process of its own: what another one has freed would be used again
without being cleared. Every candidate draws λ ~ Beta(α, α), mixes inputs and
class indices, and returns mixed targets.

Each peer gets what it needs: timm mixes in place, so it works on a tensor of its own, which is not
restored between rounds (its entries drift towards a common value; no time depends on that) and is
spared a copy that most training loops need; it also wants an even batch. timm's label smoothing is
off. timm's default and torchvision draw one λ for the whole batch, which is less work.

A CIFAR batch fits into the processor's cache. Training mixes another batch each time, so 64 batches
are mixed in turn; one batch over and over is the second case. A timing lasts 0.1 s: `Mixup` draws
for many batches at once, and every timing must have its share of these draws.
"""

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import timm.data
import torch
from torchvision.transforms import v2

import _harness
from mixreg import Beta, Mixup


class Case(NamedTuple):
    """A batch to mix, how often, and how many different batches are mixed in turn."""

    shape: tuple[int, ...]
    num_classes: int
    repeats: int
    batches: int


CASES = {
    "cifar": Case((128, 3, 32, 32), 10, 40, 64),
    "cifar, one batch in cache": Case((128, 3, 32, 32), 10, 40, 1),
    "imagenet": Case((64, 3, 224, 224), 1000, 20, 1),
}


def candidates(case: Case, alpha: float) -> dict[str, Callable[[], Any]]:
    """What is timed on one batch."""
    generator = torch.Generator().manual_seed(0)
    inputs, others, owned = (
        itertools.cycle([torch.randn(case.shape, generator=generator) for _ in range(case.batches)])
        for _ in range(3)
    )
    y = torch.randint(case.num_classes, case.shape[:1], generator=generator)
    out = torch.empty(case.shape)
    mixup = Mixup(Beta(alpha), case.num_classes, generator=generator)
    settings = {"mixup_alpha": alpha, "label_smoothing": 0.0, "num_classes": case.num_classes}
    timm_sample = timm.data.Mixup(mode="elem", **settings)
    timm_batch = timm.data.Mixup(mode="batch", **settings)
    torchvision = v2.MixUp(alpha=alpha, num_classes=case.num_classes)
    return {
        "streaming pass": lambda: torch.add(next(inputs), next(others), out=out),
        "mixreg, out=": lambda: mixup(next(inputs), y, out=out),
        "mixreg": lambda: mixup(next(inputs), y),
        "timm, per sample": lambda: timm_sample(next(owned), y),
        "timm, per batch": lambda: timm_batch(next(owned), y),
        "torchvision, per batch": lambda: torchvision(next(inputs), y),
    }


def main() -> None:
    """Measure, print and store."""
    parser = _harness.arguments(__doc__.splitlines()[0])
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--case", choices=CASES, help="measure this one alone and print JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.case is not None:
        case = CASES[options.case]
        repeats = options.repeats or case.repeats
        seconds = _harness.interleaved(candidates(case, options.alpha), repeats, at_least=0.1)
        table = _harness.summary(seconds, baseline="streaming pass")
        print(json.dumps({"shape": case.shape, "repeats": repeats, "times": table}))
        return
    results: dict[str, Any] = {"alpha": options.alpha, "cases": {}}
    for name in CASES:
        command = [sys.executable, __file__, *sys.argv[1:], "--case", name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        results["cases"][name] = json.loads(done.stdout.splitlines()[-1])
        title = f"{name}: float32 {CASES[name].shape}, {options.threads} threads"
        _harness.report(title, results["cases"][name]["times"])
    results["environment"] = _harness.environment("timm", "torchvision")
    _harness.write(options.output, results)


if __name__ == "__main__":
    main()
