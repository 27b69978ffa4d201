import dataclasses
import json

import pytest
import torch

from mixreg import Beta
from mixreg.diagnostics import diagnose
from mixreg.report.diagnosis import Subject, diagnosis_document
from mixreg.risk import RiskEstimate

MIXED = Subject("a run", "some data", "mixup", assumed_law=False, reference=None)


def found(scale=1.0, loss="cross_entropy", **settings):
    source = torch.Generator().manual_seed(0)
    x = torch.randn(12, 3, generator=source, dtype=torch.float64)
    weight = torch.randn(3, 3, generator=source, dtype=torch.float64)
    y = torch.softmax(3 * x @ weight, 1) if loss == "squared_error" else (x @ weight).argmax(1)

    def net(x):
        return scale * torch.tanh(x @ weight)

    return diagnose(net, x, y, loss, Beta(1.0), generator=source, pairs=20, **settings)


def study(diagnosis, subject=MIXED):
    return diagnosis_document(diagnosis, subject, settings={"seed": 0}, environment={"cores": 1})


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr("mixreg.report.diagnosis.diagnosis_pictures", lambda _: ())


def sentences(diagnosis, subject=MIXED):
    page = study(diagnosis, subject)
    return " ".join([*(finding.text for finding in page.findings), *page.caveats])


def with_mixup(diagnosis, value, error):
    return dataclasses.replace(diagnosis, mixup=RiskEstimate(value, error, 100))


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
    diagnosis = found()
    told = sentences(with_mixup(diagnosis, diagnosis.approximate.total + offset, error))
    assert expected in told
    assert ("95% CI" in told) == (error > 0)


def test_the_scale_of_the_logits_decides_what_is_said_of_entropies(undrawn):
    timid, sure = sentences(found(0.01)), sentences(found(100.0))
    assert "more than the" in timid
    assert "larger logits would lower the loss" in timid
    assert "lie above it" in timid
    assert "less than the" in sure
    assert "smaller logits would lower the loss" in sure
    assert "lie below it" in sure


def test_the_sign_of_the_jacobian_term_is_told(undrawn):
    gains, costs = found(1.0), found(-100.0)
    assert gains.approximate.r1_plus_r3 < 0 < costs.approximate.r1_plus_r3
    assert "outputs gain more by following" in sentences(gains)
    assert "costs more by the curvature" in sentences(costs)
    assert "perturbations take" in sentences(gains)


def test_caveats_come_with_their_causes(undrawn, generator):
    plain = sentences(found())
    assert "cut-off" not in plain
    assert "linearly independent" not in plain
    assert "mixes nothing" not in plain
    assert "R2 was left out" in sentences(found(second_order=False))
    assert "depend on the cut-off" in sentences(found(1e4))
    assert "The method erm mixes nothing" in sentences(
        found(), Subject("a run", "d", "erm", assumed_law=True, reference=None)
    )
    x, y = torch.randn(3, 9, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2])
    few = diagnose(lambda x: x[:, :3], x, y, "cross_entropy", Beta(1.0), generator=generator)
    assert "3 samples are linearly independent" in sentences(few)


def test_regression_has_no_entropies():
    page = study(found(loss="squared_error"))
    assert "entropies" not in [table.name for table in page.tables]
    assert "entropies" not in [picture.name for picture in page.pictures]
    assert page.numbers["entropy"] is None


def test_numbers_are_plain_json():
    diagnosis = found()
    numbers = json.loads(json.dumps(study(diagnosis).numbers, allow_nan=False))
    norms = diagnosis.jacobian.outputs
    assert numbers["jacobian"]["outputs"]["mean"] == pytest.approx(float(norms.mean()))
    assert numbers["jacobian"]["outputs"]["quantile_0.5"] == pytest.approx(
        float(norms.quantile(0.5))
    )
    assert numbers["gap"] == diagnosis.gap


def test_a_network_without_slope_is_drawn(generator):
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 1, 0, 1, 0])
    flat = diagnose(lambda x: 0 * x, x, y, "cross_entropy", Beta(1.0), generator=generator)
    page = study(flat)
    assert len(page.pictures) == 3
    assert "Between samples" not in page.text()
