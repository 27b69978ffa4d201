"""One training step with the approximate Mixup risk against ERM, mixup and the naive way.

    python benchmarks/approximate_step.py --threads 1 --output results.json

All candidates do the same step on the same batch: gradients to none, forward, backward, SGD with
momentum. Times are interleaved, so that a change in the machine's load meets all alike; reported
are medians and the median over rounds of the ratio within a round. Inputs are random, since no
time here depends on their values.

Memory is what one step has allocated at its peak beyond what lives before it (parameters, their
momentum, the batch), counted from the allocator events of PyTorch's profiler: bytes of tensors,
not the resident size of the process, in which the interpreter and the libraries weigh more.

The naive way forms every example's Jacobian by `vmap(jacrev)` and multiplies it with the dense
covariance of the inputs, factors shared between the examples; in LeNet's case 3072 × 3072.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap
from torch.profiler import ProfilerActivity, profile

import _harness
from mixreg import Beta, MixingLaw, Mixup, TrainingStatistics, cross_entropy, dense_targets
from mixreg.models import build
from mixreg.risk.approximate_loss import ApproximateMixupLoss

INPUT_SHAPE, CLASSES = (3, 32, 32), 10
COUNT = 50_000


class Setting(NamedTuple):
    """A network, a batch and what is known of the training set."""

    net: nn.Module
    x: Tensor
    y: Tensor
    stats: TrainingStatistics
    law: MixingLaw


def setting(model: str, batch_size: int) -> Setting:
    """A model in channels_last with random inputs, as from a training set of 50,000."""
    generator = torch.Generator().manual_seed(0)
    net = build(model, input_shape=INPUT_SHAPE, num_outputs=CLASSES)
    net = net.to(memory_format=torch.channels_last)
    x = torch.randn(batch_size, *INPUT_SHAPE, generator=generator)
    y = torch.randint(CLASSES, (batch_size,), generator=generator)
    stats = TrainingStatistics(
        torch.zeros(INPUT_SHAPE, dtype=torch.float64),
        torch.full((CLASSES,), 1 / CLASSES, dtype=torch.float64),
        COUNT,
    )
    return Setting(net, x.to(memory_format=torch.channels_last), y, stats, Beta(1.0))


def steps(at: Setting) -> dict[str, Callable[[], None]]:
    """A step of each method."""
    targets = dense_targets(at.y, CLASSES, dtype=torch.float32)
    mixup = Mixup(at.law, CLASSES, generator=torch.Generator().manual_seed(1))

    def mixed() -> Tensor:
        batch = mixup(at.x, at.y)
        return cross_entropy(batch.targets, at.net(batch.inputs)).mean()

    def approximate(directions: int) -> Callable[[], Tensor]:
        generator = torch.Generator().manual_seed(1)
        loss = ApproximateMixupLoss(at.stats, at.law, directions=directions, generator=generator)
        return lambda: loss(at.net, at.x, at.y)

    return {
        "erm": step(at.net, lambda: cross_entropy(targets, at.net(at.x)).mean()),
        "mixup": step(at.net, mixed),
        "approximate": step(at.net, approximate(1)),
        "approximate, two directions": step(at.net, approximate(2)),
    }


def step(net: nn.Module, objective: Callable[[], Tensor]) -> Callable[[], None]:
    """One step of SGD on an objective."""
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9)

    def run() -> None:
        optimizer.zero_grad()
        objective().backward()
        optimizer.step()

    return run


def naive_step(at: Setting) -> Callable[[], None]:
    """E_Q from every Jacobian and a dense covariance, without R2."""
    d = at.x.flatten(1)
    e = dense_targets(at.y, CLASSES, dtype=torch.float32) - 1 / CLASSES
    inputs, targets = at.law.theta_mean * at.x, 1 / CLASSES + at.law.theta_mean * e
    covariance, cross = d.T @ d / len(d), d.T @ e / len(d)
    variance, gamma_squared = at.law.theta_variance, at.law.gamma_squared

    def output(x: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        return functional_call(at.net, parameters, (x.unsqueeze(0),)).squeeze(0)

    def objective() -> Tensor:
        parameters = dict(at.net.named_parameters())
        jacobian = vmap(jacrev(output), (0, None))(inputs, parameters).flatten(2)
        logits = at.net(inputs)
        p = logits.softmax(1)
        hessian = torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)
        along = (jacobian @ d.unsqueeze(2)).squeeze(2)
        shared = jacobian @ covariance @ jacobian.mT
        second_moment = variance * along.unsqueeze(2) * along.unsqueeze(1) + gamma_squared * shared
        products = variance * (along * e).sum(1) + gamma_squared * (jacobian.mT * cross).sum((1, 2))
        r13 = (hessian * second_moment).sum((1, 2)) / 2 - products
        return (cross_entropy(targets, logits) + r13).mean()

    return step(at.net, objective)


def peak_bytes(run: Callable[[], None]) -> int:
    """The most that one step has allocated beyond what lived before it."""
    run()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    events = [e for e in record.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def main() -> None:
    """Measure, print and store."""
    parser = _harness.arguments(__doc__.splitlines()[0])
    parser.add_argument("--model", default="lenet", choices=("lenet", "resnet20"))
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--naive_repeats", type=int, default=3, help="0 leaves the naive way out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    at = setting(options.model, options.batch_size)
    candidates = steps(at)
    repeats = options.repeats or 100
    table = _harness.summary(_harness.interleaved(candidates, repeats), baseline="erm")
    _harness.report(f"a step, {options.model}, batch {options.batch_size}", table)
    results = {"steps": table, "peak_bytes": {}}
    if options.naive_repeats and options.model == "lenet":
        rivals = {"approximate": candidates["approximate"], "naive": naive_step(at)}
        seconds = _harness.interleaved(rivals, options.naive_repeats)
        results["naive"] = _harness.summary(seconds, baseline="approximate")
        _harness.report("against dense Jacobians and covariances", results["naive"])
        candidates["naive"] = rivals["naive"]
    print("\npeak memory of a step")
    for name, run in candidates.items():
        results["peak_bytes"][name] = peak_bytes(run)
        ratio = results["peak_bytes"][name] / results["peak_bytes"]["erm"]
        print(f"  {name:<28}{results['peak_bytes'][name] / 2**20:10.1f} MiB  x{ratio:.2f}")
    results |= {"model": options.model, "batch_size": options.batch_size, "repeats": repeats}
    _harness.write(options.output, results | {"environment": _harness.environment()})


if __name__ == "__main__":
    main()
