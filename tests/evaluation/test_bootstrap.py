"""Intervals by test examples, against sets drawn one by one and the normal theory of means."""

import math

import pytest
import torch

from mixreg._random import generator
from mixreg.evaluation import metrics, paired_bootstrap
from mixreg.evaluation.intervals import RESAMPLED


def model(name, n, sureness=0.8, c=4):
    """Logits of a model that is not sure enough, of the same one corrected, and labels."""
    g = generator("bootstrap", name)
    z = 2 * torch.randn(n, c, generator=g, dtype=torch.float64)
    labels = torch.multinomial(z.softmax(1), 1, generator=g).squeeze(1)
    return sureness * z, z + 0.3 * torch.randn(n, c, generator=g), labels


def test_is_the_spread_over_sets_drawn_one_by_one():
    first, second, labels = model("explicit", 60)
    found = paired_bootstrap(first, second, labels, resamples=150, generator=generator(7))
    drawn = [
        [metrics(z[index], labels[index]) for z in (first, second)]
        for index in torch.randint(60, (150, 60), generator=generator(7))
    ]
    for name in RESAMPLED:
        changes = [getattr(a, name) - getattr(b, name) for a, b in drawn]
        spread = float(torch.tensor(changes, dtype=torch.float64).std())
        whole = [getattr(metrics(z, labels), name) for z in (first, second)]
        assert found[name].n == 60
        assert found[name].mean == pytest.approx(whole[0] - whole[1], abs=1e-14)
        assert found[name].half_width == pytest.approx(1.959963984540054 * spread, rel=1e-9)


def test_examples_in_blocks_are_those_in_one(monkeypatch):
    first, second, labels = model("blocks", 300)

    def differences():
        return paired_bootstrap(first, second, labels, resamples=100, generator=generator(7))

    whole = differences()
    blocks = [slice(0, 100), slice(100, 250), slice(250, 300)]
    monkeypatch.setattr("mixreg.evaluation.intervals.row_blocks", lambda _: blocks)
    for name, found in differences().items():
        assert found.mean == pytest.approx(whole[name].mean, abs=1e-14)
        assert found.half_width == pytest.approx(whole[name].half_width, rel=1e-9)


@pytest.mark.parametrize("n", [2000, 50_000])
@pytest.mark.parametrize("by_class", [False, True])
def test_means_agree_with_the_normal_theory(n, by_class):
    """Also beyond 2¹⁴ examples, which are dealt to groups, in any order of the examples."""
    first, second, labels = model("normal", n)
    if by_class:
        order = labels.argsort(stable=True)
        first, second, labels = first[order], second[order], labels[order]
    draws = generator("draws", n)
    found = paired_bootstrap(first, second, labels, resamples=1000, generator=draws)
    log_p = [z.log_softmax(1) for z in (first, second)]
    one_hot = torch.eye(4, dtype=torch.float64)[labels]
    values = {
        "accuracy": [(z.argmax(1) == labels).double() for z in (first, second)],
        "nll": [-(p * one_hot).sum(1) for p in log_p],
        "brier": [(p.exp() - one_hot).square().sum(1) for p in log_p],
    }
    for name, (a, b) in values.items():
        assert found[name].mean == pytest.approx(float((a - b).mean()), abs=1e-12)
        spread = 1.96 * float((a - b).std()) / math.sqrt(n)
        assert found[name].half_width == pytest.approx(spread, rel=0.1)  # 4 standard errors


def test_groups_of_examples_give_the_interval_of_the_ece_too(monkeypatch):
    first, second, labels = model("groups", 6000)
    single = paired_bootstrap(first, second, labels, generator=generator(0))
    monkeypatch.setattr("mixreg.evaluation.intervals._GROUPS", 1000)
    grouped = paired_bootstrap(first, second, labels, generator=generator(0))
    for name in RESAMPLED:  # 4 standard errors of 1000 groups
        assert grouped[name].mean == pytest.approx(single[name].mean, abs=1e-12)
        assert grouped[name].half_width == pytest.approx(single[name].half_width, rel=0.13)


@pytest.mark.parametrize("sureness", [0.7, 0.95])
def test_the_intervals_hold_what_test_sets_of_this_size_show_on_average(sureness):
    """Nominal 95%; over 300 sets, of which 4 standard errors are 5%. For the ECE rather more."""
    sets, n = 300, 400
    drawn = [model(f"set {k}", n, sureness) for k in range(sets)]
    found = [
        paired_bootstrap(*of, resamples=200, generator=generator(k)) for k, of in enumerate(drawn)
    ]
    for name in RESAMPLED:
        mean = math.fsum(of[name].mean for of in found) / sets
        covered = sum(of[name].low <= mean <= of[name].high for of in found) / sets
        assert 0.9 <= covered <= (1.0 if name == "ece" else 0.995), (name, covered)


def test_pairing_swapping_and_repeating():
    first, second, labels = model("swapped", 300)
    found = paired_bootstrap(first, second, labels, generator=generator(1))
    swapped = paired_bootstrap(second, first, labels, generator=generator(1))
    again = paired_bootstrap(first + 7, second, labels, generator=generator(1))
    alike = paired_bootstrap(first, first, labels, generator=generator(1))
    for name in RESAMPLED:
        assert swapped[name].mean == -found[name].mean
        assert swapped[name].half_width == found[name].half_width
        assert again[name] == pytest.approx(found[name], abs=1e-12)
        assert alike[name] == (0.0, 0.0, 300)
        assert alike[name].sign == 0


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"second": torch.zeros(5, 3)}, ValueError, r"same shape, got \(5, 4\) and \(5, 3\)"),
        ({"first": torch.full((5, 4), math.nan)}, ValueError, "row 0 holds NaN"),
        ({"labels": torch.full((5,), 4)}, ValueError, r"labels must lie in 0\.\.3"),
        ({"resamples": 99}, ValueError, "at least 100, got 99"),
        ({"generator": None}, TypeError, "generator must be a torch.Generator, got None"),
    ],
)
def test_refuses(changes, kind, message):
    logits = {"first": torch.zeros(5, 4), "second": torch.zeros(5, 4)}
    given = logits | {"labels": torch.zeros(5, dtype=torch.long), "generator": generator(0)}
    with pytest.raises(kind, match=message):
        paired_bootstrap(**(given | changes))
