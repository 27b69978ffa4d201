"""Deciding with one model: all corrections of many test examples, with their intervals.

    python benchmarks/intervals.py --threads 1 --output results/benchmarks/intervals.json

Logits of up to 10⁶ examples and 10 classes are saved and read back. Timed are the reading (mapped,
with its digest checked) and `evaluate`: two temperatures on 5,000 held-out examples, seven
corrections, and 2,000 resamples for the interval of each difference. The memory is the peak during
`evaluate` beyond what the process held before (Linux).

"shift" is one shifted set of as many images in two views: the logits of a linear network, written
as they come, then every correction's metrics and its 2,000 resamples from the mapped file, as
`mixreg evaluate --shift` does it.
"""

import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

import _harness
from mixreg import Beta
from mixreg.evaluation import CORRECTIONS, Predictions, evaluate
from mixreg.evaluation.corrections import UNTEMPERED
from mixreg.experiments._shifted import ShiftedSet, logits
from mixreg.experiments.evaluate_shift import resampled
from mixreg.experiments.fig5 import score

CLASSES, HELD_OUT = 10, 5000
COUNTS = (10_000, 100_000, 1_000_000)


def predictions(n: int, generator: torch.Generator) -> Predictions:
    """Logits that are not sure enough, and labels drawn from what they should be."""
    logits = 2 * torch.randn(n, CLASSES, generator=generator)
    labels = torch.multinomial((logits / 0.75).softmax(1), 1, generator=generator).squeeze(1)
    return Predictions(logits, logits + torch.randn(n, CLASSES, generator=generator) / 5, labels)


def measured(n: int) -> dict[str, float]:
    """Seconds and memory for n examples."""
    generator = torch.Generator().manual_seed(n)
    validation = predictions(HELD_OUT, generator)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "logits.safetensors"
        predictions(n, generator).save(file)
        start = time.perf_counter()
        test = Predictions.load(file)
        read, cpu = time.perf_counter(), time.process_time()
        Path("/proc/self/clear_refs").write_text("5")  # the peak is that from now on
        before = _peak_mib()
        y_mean = torch.full((CLASSES,), 1 / CLASSES)
        evaluate(validation, test, y_mean=y_mean, law=Beta(1.0), generator=generator)
        return {
            "read_s": read - start,
            "evaluate_s": time.perf_counter() - read,
            "evaluate_cpu_s": time.process_time() - cpu,
            "added_mib": _peak_mib() - before,
        }


def shifted(n: int) -> dict[str, float]:
    """Seconds and memory for the logits and the numbers of a set of n images."""
    generator = torch.Generator().manual_seed(n)
    images = torch.randn(500, 3, 32, 32, generator=generator)
    labels = torch.randint(CLASSES, (n,), generator=generator)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, CLASSES))
    temperatures = {c: 1.5 if c in UNTEMPERED else None for c in CORRECTIONS}
    trained: Any = SimpleNamespace(
        net=net, class_means=torch.full((CLASSES,), 1 / CLASSES), output_law=Beta(1.0)
    )
    test = ShiftedSet(
        "noise", 1, labels, lambda: (images[: n - k] for k in range(0, n, len(images))), "", ""
    )
    views = {"raw": lambda x: x, "shrunk": lambda x: 0.75 * x}
    with tempfile.TemporaryDirectory() as folder:
        Path("/proc/self/clear_refs").write_text("5")
        before, start = _peak_mib(), time.process_time()
        kept = logits(net, "linear", test, views, Path(folder))
        found = Predictions(kept["raw"], kept["shrunk"], labels)
        score(trained, test, found, temperatures)
        resampled(trained, found, temperatures)
        return {"cpu_s": time.process_time() - start, "added_mib": _peak_mib() - before}


def _peak_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """Measure, print and store."""
    options = _harness.arguments(__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(options.threads)
    results: dict[str, Any] = {
        "classes": CLASSES,
        "held_out": HELD_OUT,
        "examples": {},
        "shift": {},
    }
    for n in COUNTS:
        results["examples"][str(n)] = row = measured(n)
        print(
            f"{n:>9} examples: read in {row['read_s']:.1f} s, evaluated in "
            f"{row['evaluate_s']:.1f} s ({row['evaluate_cpu_s']:.1f} CPU s), "
            f"{row['added_mib']:.0f} MiB more"
        )
    for n in (1000, *COUNTS):
        results["shift"][str(n)] = row = shifted(n)
        print(f"{n:>9} shifted images: {row['cpu_s']:.1f} CPU s, {row['added_mib']:.0f} MiB more")
    results["environment"] = _harness.environment()
    _harness.write(options.output, results)


if __name__ == "__main__":
    main()
