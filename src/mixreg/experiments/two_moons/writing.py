"""The files that a finished two-moon experiment leaves in a directory."""

from collections.abc import Iterator
from pathlib import Path

from mixreg._files import write_bytes
from mixreg.experiments.two_moons.page import about, arm_name, mean_cell, two_moons_study
from mixreg.experiments.two_moons.result import TwoMoonsResult
from mixreg.report.page import render_page
from mixreg.report.study import study_article

_TABLE = ("train_nll", "train_accuracy", "test_nll", "test_accuracy", "test_ece", "test_brier")


def write(result: TwoMoonsResult, directory: Path) -> None:
    """Write `result.json`, the three figures, `findings.md` with its tables, and the page.

    Args:
        result: the finished experiment.
        directory: where they go; made if it is not there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    result.save(directory / "result.json")
    study = two_moons_study(result)
    for picture in study.pictures:
        write_bytes(directory / f"{picture.name}.svg", picture.svg.encode())
    write_bytes(directory / "findings.md", findings(result).encode())
    page = render_page([study_article(study, source="result.json")])
    write_bytes(directory / "two-moons.html", page.encode())


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
        yield _row(arm_name(outcome.arm), *(mean_cell(outcome.mean(name)) for name in _TABLE))


def _claims(result: TwoMoonsResult) -> Iterator[str]:
    yield _row("claim", "measured", "difference", "verdict")
    yield _row(*["---"] * 4)
    for finding in result.findings:
        told, difference = about(finding), mean_cell(finding.difference)
        yield _row(finding.claim.statement, told, difference, finding.verdict)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
