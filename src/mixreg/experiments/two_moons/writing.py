"""The files that a finished two-moon experiment leaves in a directory."""

from collections.abc import Iterator
from pathlib import Path

from mixreg.evaluation import MeanInterval
from mixreg.experiments.two_moons.boundaries import draw_fig1
from mixreg.experiments.two_moons.claims import Claim
from mixreg.experiments.two_moons.figures import draw_fig8, draw_fig9
from mixreg.experiments.two_moons.measures import Arm
from mixreg.experiments.two_moons.result import TwoMoonsResult
from mixreg.files import write_bytes

_DRAWINGS = {"fig1.svg": draw_fig1, "fig8.svg": draw_fig8, "fig9.svg": draw_fig9}
_TABLE = ("train_nll", "train_accuracy", "test_nll", "test_accuracy", "test_ece", "test_brier")


def write(result: TwoMoonsResult, directory: Path) -> None:
    """Write `result.json`, the three figures and `findings.md` with its tables.

    Args:
        result: the finished experiment.
        directory: where they go; made if it is not there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    result.save(directory / "result.json")
    for name, draw in _DRAWINGS.items():
        draw(result, directory / name)
    write_bytes(directory / "findings.md", findings(result).encode())


def findings(result: TwoMoonsResult) -> str:
    """What was measured, as two tables in Markdown.

    Args:
        result: the finished experiment.

    Returns:
        The text.
    """
    lines = ["# Two moons", "", _setting(result), "", "## At the end of training", ""]
    lines += _outcomes(result)
    lines += ["", "## What the paper says", "", "Differences are paired by repetition.", ""]
    lines += _claims(result)
    return "\n".join(lines) + "\n"


def _setting(result: TwoMoonsResult) -> str:
    s, machine = result.settings, result.environment
    return (
        f"{s.repetitions} repetitions, {s.epochs} epochs, batches of {s.batch_size}, step size "
        f"{s.learning_rate:g}, α = {s.alpha:g}, M = {s.num_features}, σ = {s.feature_scale:g}, "
        f"{s.label_noise:.0%} of the training labels flipped. Means over repetitions ± half "
        f"their 95% confidence interval. Trained and measured in {result.seconds:.0f} s, of which "
        f"{result.processor_seconds:.0f} s of processor time, with {machine['threads']} thread(s) "
        f"on {machine['processor']}."
    )


def _outcomes(result: TwoMoonsResult) -> Iterator[str]:
    yield _row("model", *_TABLE)
    yield _row(*["---"] * (1 + len(_TABLE)))
    for outcome in result.outcomes:
        yield _row(_name(outcome.arm), *(_number(outcome.mean(name)) for name in _TABLE))


def _claims(result: TwoMoonsResult) -> Iterator[str]:
    yield _row("claim", "measured", "difference", "verdict")
    yield _row(*["---"] * 4)
    for finding in result.findings:
        about, difference = _about(finding.claim), _number(finding.difference)
        yield _row(finding.claim.statement, about, difference, finding.verdict)


def _about(claim: Claim) -> str:
    """What was subtracted from what."""
    first, second = _name(claim.first), _name(claim.second)
    if claim.towards is None:
        return f"{claim.metric}: {first} − {second}"
    third = _name(claim.towards)
    return f"{claim.metric}: distance to {third}, {first} − {second}"


def _name(arm: Arm) -> str:
    method, prediction = arm
    return method if prediction == "raw" else f"{method}, {prediction}"


def _number(interval: MeanInterval) -> str:
    if interval.half_width is None:
        return f"{interval.mean:.4f}"
    return f"{interval.mean:.4f} ± {interval.half_width:.4f}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
