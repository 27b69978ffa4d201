"""Exact terms: R1 to R4 of LeNet on CIFAR-10 as n grows, and the exact Mixup risk of two moons.

    MIXREG_DATA=/path/to/data python benchmarks/exact_terms.py --output results.json

Every n runs in a process of its own, whose peak resident memory is the operating system's figure
less that of the process before the terms (PyTorch and the data). The factorisation of the inputs is
timed apart from the terms, which should grow linearly in n. LeNet is piecewise linear, so R2 is 0.
The two-moon model has random Fourier features (M = 1000, σ = 10) on 150 points.
"""

import json
import resource
import subprocess
import sys
import time

import torch

import _harness
from mixreg import Beta, approximate_mixup_risk, mixup_risk
from mixreg.covariance import Whitening
from mixreg.data import load
from mixreg.models import build

SIZES = (500, 1000, 2000, 4000)


def lenet_terms(n: int) -> dict[str, float]:
    """Seconds and peak memory of the exact terms on n images, in this process."""
    data = load("cifar10", augment=False)
    net = build("lenet", input_shape=data.input_shape, num_outputs=data.num_classes).eval()
    x, y = next(iter(data.batches("train", n)))
    before = _peak_mib()
    start = time.perf_counter()
    whitening = Whitening.from_data(x)
    factored = time.perf_counter()
    terms = approximate_mixup_risk(
        net, x, y, "cross_entropy", Beta(1.0), second_order=False, whitening=whitening
    )
    done = time.perf_counter()
    return {
        "n": n,
        "factorisation_seconds": factored - start,
        "terms_seconds": done - factored,
        "terms_ms_a_sample": 1e3 * (done - factored) / n,
        "total_seconds": done - start,
        "peak_mib": _peak_mib(),
        "peak_mib_beyond_data": _peak_mib() - before,
        "total_risk": float(terms.total),
    }


def two_moons_risk() -> dict[str, float]:
    """Seconds of the exact Mixup risk over all pairs of 150 points, and its quadrature error."""
    data = load("two-moons", validation_fraction=0.0)
    net = build("random-fourier-features", input_shape=data.input_shape, num_outputs=2).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(0))
    x, y = next(iter(data.batches("train", 150)))
    mixup_risk(net, x, y, "cross_entropy", Beta(1.0))
    start = time.perf_counter()
    value = mixup_risk(net, x, y, "cross_entropy", Beta(1.0))
    seconds = time.perf_counter() - start
    finer = mixup_risk(net.double(), x.double(), y, "cross_entropy", Beta(1.0), order=64)
    return {"n": len(x), "seconds": seconds, "relative_error": abs(value / finer - 1)}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure, print and store."""
    parser = _harness.arguments(__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, help="measure this n alone and print JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.size is not None:
        print(json.dumps(lenet_terms(options.size)))
        return
    rows = []
    for n in SIZES:
        command = [sys.executable, __file__, "--size", str(n), "--threads", str(options.threads)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        row = rows[-1]
        print(
            f"n = {n}: factorisation {row['factorisation_seconds']:.1f} s, terms "
            f"{row['terms_seconds']:.1f} s ({row['terms_ms_a_sample']:.1f} ms a sample), "
            f"peak {row['peak_mib']:.0f} MiB"
        )
    moons = two_moons_risk()
    print(
        f"two moons, n = {moons['n']}: exact Mixup risk in {moons['seconds']:.2f} s, "
        f"relative error {moons['relative_error']:.1e}"
    )
    environment = _harness.environment()
    _harness.write(options.output, {"lenet": rows, "two_moons": moons, "environment": environment})


if __name__ == "__main__":
    main()
