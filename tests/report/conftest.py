"""Runs with given numbers, without training anything."""

import dataclasses

import pytest
import torch

from mixreg import Beta
from mixreg._random import generator
from mixreg.evaluation import (
    CorrectedResult,
    Evaluation,
    Histogram,
    MeanInterval,
    Metrics,
    Predictions,
    ReliabilityCurve,
    evaluate,
)
from mixreg.report import (
    Claim,
    Document,
    Entry,
    Frame,
    Picture,
    PictureSequence,
    RunResult,
    Table,
    comparison,
    draw,
)
from mixreg.report.figures import BLUE, panels
from mixreg.report.page import Result

_CURVE = ReliabilityCurve((0.0, 0.5, 1.0), (0, 4), (None, 0.8), (None, 0.75))
_HISTOGRAM = Histogram((0.0, 0.5, 1.0), (1, 3))


def given(method, seed, alpha=None, *, theta_mean=0.75, absent=(), remark=None, **numbers):
    """A run whose corrections have the given metrics: raw={"nll": 1.0}, rescaled={...}, ..."""
    plain = {"accuracy": 0.5, "nll": 1.0, "ece": 0.1, "brier": 0.5, "entropy": 1, "confidence": 0.6}
    results = {
        name.replace("_and_", "+"): CorrectedResult(
            Metrics(**(plain | values)),
            1.5 if "temperature" in name else None,
            _CURVE,
            _HISTOGRAM,
            _HISTOGRAM,
            remark if "temperature" in name else None,
        )
        for name, values in numbers.items()
    }
    reasons = dict.fromkeys(absent, "needs held-out examples")
    return RunResult(method, seed, alpha, Evaluation(results, reasons, 100, 10, theta_mean))


def sampled(method, seed, alpha, *, sureness=1.0, validation=True, history=True, **about):
    """A run evaluated on random logits that are right as often as their softmax says."""
    g = generator("report", method, seed, str(alpha))

    def predictions(n):
        logits = 1.5 * torch.randn(n, 5, generator=g)
        labels = torch.multinomial(logits.softmax(1), 1, generator=g).squeeze(1)
        noise = 0.1 * torch.randn(n, 5, generator=g)
        return Predictions(sureness * logits, sureness * (logits + noise), labels)

    law, y_mean = Beta(alpha or 1.0), torch.full((5,), 0.2)
    held_out = predictions(200) if validation else None
    entries = [
        {"epoch": e + 1.0, "train_nll": 2.0 / (e + 1), "accuracy": 0.1 * e} for e in range(4)
    ]
    return RunResult(
        method,
        seed,
        alpha,
        evaluate(held_out, predictions(300), y_mean=y_mean, law=law, resamples=100, generator=g),
        entries if history else (),
        {"data": "digits", "epochs": 4, "optimizer": {"momentum": 0.9}} | about.get("config", {}),
        {"python": "3.11", "packages": {"torch": "2.9"}} | about.get("environment", {}),
    )


@pytest.fixture
def make_run():
    return given


@pytest.fixture
def sample_run():
    return sampled


@pytest.fixture(scope="session")
def two_methods():
    groups = (("erm", None, 1.8), ("mixup", 1.0, 0.7))
    return [sampled(m, seed, a, sureness=s) for seed in range(3) for m, a, s in groups]


@pytest.fixture(scope="session")
def report_results(everything, two_methods):
    """What one page is made of: two documents, and a comparison with two α of a method."""
    runs = [dataclasses.replace(run, alpha=a) for a in (0.2, 1.0) for run in two_methods[1::2]]
    return [
        Result(everything, "a/study.json"),
        Result(dataclasses.replace(everything, title="Again")),
        Result(comparison([*two_methods[::2], *runs], title="digits, mlp", baseline="erm")),
    ]


def drawn(name, slope):
    """A picture of one line."""

    def plot():
        figure, axes = panels(2, size=(4, 3))
        axes[0].plot([0, 1], [0, slope], color=BLUE)
        return figure

    return Picture(name, f"Slope {slope}", f"Caption of {slope}.", "Rises.", draw(plot))


@pytest.fixture(scope="session")
def everything():
    """A document with all that a document can have."""
    cells = {"0.25": ("−2.0 ± 0.1", "a"), "0.5": ("10.5 ± 0.1", "a"), "1": ("", "b")}
    cells["2"] = ("9.0 ± 0.1", "a")
    frames = [Frame(alpha, drawn(f"line-{alpha}", float(alpha))) for alpha in cells]
    rows = [(f"α = {alpha}", [Entry(text) for text in texts]) for alpha, texts in cells.items()]
    effects = {"one": (1.0, 0.4), "two": (-1.0, 0.4), "three": (0.1, 0.4)}
    return Document(
        "Everything",
        "two seeds",
        findings=[Entry("It is better.", "better"), Entry("Nothing is shown.")],
        caveats=["Not more than that."],
        tables=[Table("numbers", "Numbers", "What they mean.", ["", "NLL", "words"], rows)],
        pictures=[drawn("alone", 1.0)],
        settings=[{"alpha": 1.0, "seed": 0}, {"alpha": 1.0, "seed": 1}],
        environment=[{"python": "3"}],
        frames=[PictureSequence("line", "A line", "All of them.", "α", frames, start=1)],
        claims=[
            Claim(f"Claim {n}.", "section 5", "digits", "NLL", MeanInterval(*e, 5), "positive")
            for n, e in effects.items()
        ],
        missing=["CIFAR-100 is not at hand."],
    )
