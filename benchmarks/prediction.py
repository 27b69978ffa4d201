"""Prediction: what `RescaledModel` adds to the forward pass of torchvision's ResNet-18.

    python benchmarks/prediction.py --output results.json

The network predicts one image and 64 in evaluation mode, without gradients, of 32×32 and of 224×224
pixels: as it is, wrapped, and with equation 22 folded into its weights.
"""

from collections.abc import Callable
from typing import Any

import torch
from torchvision.models import resnet18

import _harness
from mixreg import Beta, RescaledModel, TrainingStatistics

CLASSES = 10
REPEATS = {(1, 32): 100, (64, 32): 30, (1, 224): 50, (64, 224): 12}


def candidates(batch: int, size: int) -> dict[str, Callable[[], Any]]:
    """What is timed on a batch of images of one size."""
    torch.manual_seed(0)
    net = resnet18(num_classes=CLASSES).eval()
    x, y = torch.randn(batch, 3, size, size), torch.randint(CLASSES, (batch,))
    rescaled = RescaledModel(net, TrainingStatistics.from_tensors(x, y, CLASSES), Beta(1.0))
    folded = rescaled.fold()
    return {
        "plain": lambda: net(x),
        "rescaled": lambda: rescaled(x),
        "folded": lambda: folded(x),
    }


def main() -> None:
    """Measure, print and store."""
    options = _harness.arguments(__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(options.threads)
    results: dict[str, Any] = {"cases": {}}
    for (batch, size), default in REPEATS.items():
        repeats = options.repeats or default
        with torch.inference_mode():
            seconds = _harness.interleaved(candidates(batch, size), repeats)
        table = _harness.summary(seconds, baseline="plain")
        title = f"ResNet-18, float32 ({batch}, 3, {size}, {size}), {options.threads} threads"
        _harness.report(title, table)
        results["cases"][f"{batch}, {size}"] = {"repeats": repeats, "times": table}
    results["environment"] = _harness.environment("torchvision")
    _harness.write(options.output, results)


if __name__ == "__main__":
    main()
