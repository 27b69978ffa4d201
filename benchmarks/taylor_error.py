"""What the approximate Mixup risk leaves out, at finished runs: where its Taylor expansions err.

    python benchmarks/taylor_error.py RUN... --output results/benchmarks/taylor-error.json

For drawn perturbations (δ, ε) of 300 training examples and Beta(1) it takes the loss on modified
data, the Mixup risk, that of the network's tangents ℓ(ỹ + ε, f(x̃) + ∇f(x̃)·δ), and (12), which
expands the loss as well, without and with its third order, and with R2. The second derivatives in
R2 are zero almost everywhere in a piecewise-linear network, so R2 is taken over the step of the
mixing: ½ (softmax f(x̃) − ỹ)·(f(x̃ + δ) + f(x̃ − δ) − 2 f(x̃)). For each risk it finds the factor
by which the logits of the same network should be multiplied: below 1 the risk asks for smoother
predictions than the network's. "Less" is the paired difference to that of the Mixup risk. The
models of two moons are trained here, on five seeds.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

import _harness
from mixreg import Beta, mix, shrink
from mixreg.evaluation import mean_interval
from mixreg.experiments.two_moons import Settings, make_problem, train
from mixreg.training import load_run

EXAMPLES, DRAWS, LAW = 300, 6, Beta(1.0)
FACTORS = torch.linspace(0.2, 3, 57)


def risks(
    s: float, y: Tensor, mixed_y: Tensor, u: Tensor, v: Tensor, w: Tensor, back: Tensor
) -> dict[str, float]:
    """All risks with the logits u at x̃, their slopes v, w and back at x̃ ± δ, all times s."""
    u, v, w, back = s * u, s * v, s * w, s * back
    p, largest = u.softmax(1), u.logsumexp(1)
    mean = (p * v).sum(1)
    second, third = ((p * (v - mean.unsqueeze(1)) ** k).sum(1) for k in (2, 3))
    square = largest + mean + second / 2 - (mixed_y * (u + v)).sum(1)
    r2 = ((p - y) * (w + back - 2 * u)).sum(1) / 2
    return {
        "modified": float((largest - (y * u).sum(1)).mean()),
        "mixup": float((w.logsumexp(1) - (mixed_y * w).sum(1)).mean()),
        "tangents": float(((u + v).logsumexp(1) - (mixed_y * (u + v)).sum(1)).mean()),
        "approximate": float(square.mean()),
        "third order": float((square + third / 6).mean()),
        "with R2": float((square + r2).mean()),
    }


@torch.no_grad()
def measure(run: Path) -> tuple[str, dict[str, float]]:
    """The risks at one run."""
    trained = load_run(run)
    seed, net = trained.config.seed, trained.net
    x, labels = next(iter(trained.data.train_batches(EXAMPLES, seed=seed, epoch=0)))
    x_mean, y_mean = trained.stats.x_mean.float(), trained.stats.y_mean.float()
    y, source = torch.eye(len(y_mean))[labels], torch.Generator().manual_seed(seed)
    inputs, targets = shrink(x, x_mean, LAW), shrink(y, y_mean, LAW)
    parts = []
    for _ in range(DRAWS):
        theta = LAW.sample_theta(len(x), generator=source).float()
        partner = torch.randint(len(x), (len(x),), generator=source)
        mixed = mix(x, y, theta, partner)
        u, v = torch.func.jvp(net, (inputs,), (mixed.inputs - inputs,))
        back = net(2 * inputs - mixed.inputs)
        parts.append((targets, mixed.targets, u, v, net(mixed.inputs), back))
    drawn = [torch.cat(part) for part in zip(*parts, strict=True)]
    return f"{trained.config.data}, {trained.config.model}, {trained.config.method}", asked(drawn)


def asked(drawn: list[Tensor]) -> dict[str, float]:
    """All risks of drawn perturbations, and the factor of the logits that is best for each."""
    found = risks(1.0, *drawn)
    curves = [risks(float(s), *drawn) for s in FACTORS]
    for name in list(found):
        best = min(range(len(FACTORS)), key=lambda k: curves[k][name])
        found[f"factor for {name}"] = float(FACTORS[best])
    for name in ("tangents", "approximate", "third order", "with R2"):
        for what in ("", "factor for "):
            found[f"{what}{name}, less"] = found[f"{what}{name}"] - found[f"{what}mixup"]
    return found


def two_moons() -> Iterator[tuple[str, dict[str, float]]]:
    """The risks at random Fourier features, by mixup and by the approximate risk."""
    problem = make_problem(Settings(precision="float64"), range(5))
    models = train(Settings(), problem, ("mixup", "approximate"))
    inputs, targets = problem.modified()
    jets, draws = problem.phi.jets(inputs), [problem.mixed(k, "taylor") for k in range(DRAWS)]
    for method, w in models.items():
        u, *slopes = torch.einsum("snkm,sm->ksn", jets, w)

        def at(x: Tensor, w: Tensor = w) -> Tensor:
            return (problem.phi(x) * w.unsqueeze(1)).sum(2)

        parts = []
        for x, y in draws:
            step = x - inputs
            v = slopes[0] * step[..., 0] + slopes[1] * step[..., 1]
            parts.append((targets, y, u, v, at(x), at(inputs - step)))
        drawn = [torch.cat(part, 1) for part in zip(*parts, strict=True)]
        for seed in range(len(w)):
            pairs = [torch.stack([1 - t[seed], t[seed]], 1) for t in drawn[:2]]
            pairs += [torch.stack([torch.zeros_like(z[seed]), z[seed]], 1) for z in drawn[2:]]
            yield f"two-moons, features, {method}", asked(pairs)


def main() -> None:
    """Measure each run, and print means over the seeds of each kind of run."""
    parser = _harness.arguments(__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    kinds: dict[str, list[dict[str, float]]] = {}
    for kind, found in chain(map(measure, options.runs), two_moons()):
        kinds.setdefault(kind, []).append(found)
    results = {
        kind: {name: mean_interval([each[name] for each in found])._asdict() for name in found[0]}
        for kind, found in kinds.items()
    }
    for kind, values in results.items():
        print(kind)
        for name, value in values.items():
            print(f"  {name:30} {value['mean']:.4f} ± {value['half_width'] or 0:.4f}")
    about = {"environment": _harness.environment(), "runs": [run.name for run in options.runs]}
    _harness.write(options.output, about | {"risks": results})


if __name__ == "__main__":
    main()
