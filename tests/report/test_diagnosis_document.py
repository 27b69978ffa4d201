"""A diagnosis as a document: what its sentences say follows its numbers."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mixreg import Beta
from mixreg.diagnostics import diagnose
from mixreg.experiments.diagnose import diagnosis_document
from mixreg.risk import RiskEstimate
from mixreg.settings import DiagnoseOptions, TrainConfig


def diagnosed(scale=1.0, loss="cross_entropy", **settings):
    source = torch.Generator().manual_seed(0)
    x = torch.randn(12, 3, generator=source, dtype=torch.float64)
    weight = torch.randn(3, 3, generator=source, dtype=torch.float64)
    y = torch.softmax(3 * x @ weight, 1) if loss == "squared_error" else (x @ weight).argmax(1)

    def net(x):
        return scale * torch.tanh(x @ weight)

    return diagnose(net, x, y, loss, Beta(1.0), generator=source, pairs=20, **settings)


def document(diagnosis, method="mixup"):
    run = SimpleNamespace(
        run=True, config=TrainConfig(method=method), data=SimpleNamespace(notes=())
    )
    return diagnosis_document(diagnosis, run, DiagnoseOptions(checkpoint=Path("a run")))


def sentences(diagnosis, method="mixup"):
    page = document(diagnosis, method)
    return " ".join([*(finding.text for finding in page.findings), *page.caveats])


@pytest.mark.parametrize(
    ("offset", "error", "expected"),
    [
        (0.1, 0.0, "approximation lies 0.1 below the Mixup risk"),
        (-0.1, 0.0, "approximation lies 0.1 above the Mixup risk"),
        (0.1, 0.1, "These draws show no difference"),
        (0.1, 0.01, "below the Mixup risk"),
    ],
)
def test_the_gap_is_told_no_further_than_its_interval(undrawn, offset, error, expected):
    diagnosis = diagnosed()
    mixup = RiskEstimate(diagnosis.approximate.total + offset, error, 100)
    text = sentences(dataclasses.replace(diagnosis, mixup=mixup))
    assert expected in text
    assert ("95% CI" in text) == (error > 0)


@pytest.mark.parametrize(
    ("about", "method", "expected"),
    [
        ({"scale": 0.01}, "mixup", ["more than the", "larger logits would lower", "lie above it"]),
        (
            {"scale": 100.0},
            "mixup",
            ["less than the", "smaller logits would lower", "lie below it"],
        ),
        ({"scale": -100.0}, "mixup", ["costs more by the curvature"]),
        ({}, "mixup", ["outputs gain more by following", "perturbations take"]),
        ({"second_order": False}, "mixup", ["R2 was left out"]),
        ({"scale": 1e4}, "mixup", ["depend on the cut-off"]),
        ({}, "erm", ["The method erm mixes nothing"]),
    ],
)
def test_sentences_follow_the_numbers(undrawn, about, method, expected):
    diagnosis = diagnosed(**about)
    text = sentences(diagnosis, method)
    assert all(sentence in text for sentence in expected)
    terms = diagnosis.approximate
    assert ("costs more by the curvature" in text) == (terms.r1_plus_r3 > 0)
    assert ("cut-off" in text) == (terms.cut_off > 0)
    assert ("mixes nothing" in text) == (method == "erm")
    assert ("R2 was left out" in text) == (not terms.second_order)
    assert "linearly independent" not in text


def test_few_samples_are_warned_of(undrawn, generator):
    x, y = torch.randn(3, 9, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2])
    few = diagnose(lambda x: x[:, :3], x, y, "cross_entropy", Beta(1.0), generator=generator)
    assert "3 samples are linearly independent" in sentences(few)


def test_regression_has_no_entropies_and_numbers_are_plain_json():
    diagnosis = diagnosed(loss="squared_error")
    page = document(diagnosis)
    assert "entropies" not in [part.name for part in (*page.tables, *page.pictures)]
    numbers, norms = (
        json.loads(json.dumps(page.numbers, allow_nan=False)),
        diagnosis.jacobian.outputs,
    )
    outputs = numbers["jacobian"]["outputs"]
    assert outputs["mean"] == pytest.approx(float(norms.mean()))
    assert outputs["quantile_0.5"] == pytest.approx(float(norms.quantile(0.5)))
    assert (numbers["gap"], numbers["entropy"]) == (diagnosis.gap, None)


def test_a_network_without_slope_is_drawn(generator):
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 1, 0, 1, 0])
    flat = diagnose(lambda x: 0 * x, x, y, "cross_entropy", Beta(1.0), generator=generator)
    page = document(flat)
    assert len(page.pictures) == 3
    assert "Between samples" not in page.text()
