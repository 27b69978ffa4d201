"""Mixup of linear least squares on real data."""

import pytest
import torch

from mixreg import Beta, Constant, Uniform
from mixreg.experiments import corollary3
from mixreg.report import read_document
from mixreg.risk import linear_mixup_risk
from mixreg.settings import ReproduceOptions


@pytest.mark.parametrize("law", [Beta(0.3), Beta(3.0), Uniform(0.1, 0.6), Constant(0.8)])
def test_the_fit_minimises_the_closed_form(law, generator):
    x = torch.randn(12, 3, dtype=torch.float64, generator=generator)
    y = torch.randn(12, 2, dtype=torch.float64, generator=generator)
    fitted = corollary3.mixup_fit(x, y, law)
    least = linear_mixup_risk(fitted[:-1].T, fitted[-1], x, y, law)
    for _ in range(20):
        step = 1e-3 * torch.randn(4, 2, dtype=torch.float64, generator=generator)
        moved = fitted + step
        assert linear_mixup_risk(moved[:-1].T, moved[-1], x, y, law) > least


def test_a_line_is_fitted_exactly():
    x = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
    fitted = corollary3.mixup_fit(x, 3 * x + 1, Beta(1.0))
    torch.testing.assert_close(fitted, torch.tensor([[3.0], [1.0]], dtype=torch.float64))


def test_fits_agree_on_real_data(tmp_path):
    options = ReproduceOptions(name="corollary3", scale="smoke", seeds=3, output=tmp_path)
    text, page = corollary3.reproduce(options)
    stored = read_document(tmp_path / "corollary3.json")
    assert page.is_file()
    assert "holds" in text
    assert [claim.verdict for claim in stored.claims] == ["holds"] * 3
    assert len(stored.records) == 9
    assert all(record.value < 1e-9 for record in stored.records)
