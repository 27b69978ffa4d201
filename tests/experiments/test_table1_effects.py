import dataclasses

import pytest

from mixreg.experiments.table1.effects import COLUMNS, PAPER, RowKey, RunKey, table_rows
from mixreg.experiments.table1.measurement import Measurement
from mixreg.experiments.table1.page import table1_numbers, table1_study

PLAIN = Measurement(
    accuracy=0.9,
    nll=0.4,
    ece=0.05,
    roughness=1.0,
    jacobian=8.0,
    probability_jacobian=0.1,
    scaled_accuracy=(0.8, 0.7),
    scaled_nll=(0.6, 0.7),
)
NOISY = dataclasses.replace(PLAIN, accuracy=0.7)


def table(clean, noisy=None, seeds=5, spread=1e-4):
    """ERM, and mixup with the given changes; every number differs a little between the seeds."""
    measured = {}
    for seed in range(seeds):
        for method, sign in (("erm", 1), ("mixup", -1)):
            for noise, base, changes in ((0.0, PLAIN, clean), (0.4, NOISY, noisy or {})):
                changed = dataclasses.replace(base, **(changes if method == "mixup" else {}))
                jitter = sign * (1 + noise) * spread * (seed - (seeds - 1) / 2)
                measured[RunKey(method, noise, seed)] = {"raw": moved(changed, jitter)}
    return measured


def moved(measurement, jitter):
    names = ("accuracy", "nll", "ece", "roughness", "jacobian", "probability_jacobian")
    values = {name: getattr(measurement, name) + jitter for name in names}
    scaled = tuple(value + 2 * jitter for value in measurement.scaled_accuracy)
    return dataclasses.replace(measurement, **values, scaled_accuracy=scaled)


def verdicts(*changes, **settings):
    rows = table_rows(table(*changes, **settings))
    return next(row for row in rows if row.key.method == "mixup").verdicts


@pytest.mark.parametrize(
    ("column", "clean", "noisy", "expected"),
    [
        ("calibration", {"ece": 0.03}, {}, "shown"),
        ("calibration", {"ece": 0.03, "nll": 0.3}, {}, "shown"),
        ("calibration", {"ece": 0.03, "nll": 0.6}, {}, "mixed"),
        ("calibration", {"ece": 0.07}, {}, "opposite"),
        ("calibration", {"ece": 0.07, "nll": 0.3}, {}, "mixed"),
        ("calibration", {"nll": 0.3}, {}, "not shown"),
        ("jacobian", {"roughness": 0.8}, {}, "shown"),
        ("jacobian", {"jacobian": 4.0}, {}, "not shown"),
        ("jacobian", {"roughness": 1.2, "jacobian": 4.0}, {}, "mixed"),
        ("label-noise", {}, {"accuracy": 0.8}, "shown"),
        ("label-noise", {}, {"accuracy": 0.6}, "opposite"),
        ("label-noise", {"accuracy": 0.7}, {"accuracy": 0.6}, "mixed"),
        ("input-normalization", {"scaled_accuracy": (0.9, 0.8)}, {}, "shown"),
        ("input-normalization", {"accuracy": 0.75}, {}, "shown"),
        ("input-normalization", {"accuracy": 0.5, "scaled_accuracy": (0.5, 0.5)}, {}, "mixed"),
    ],
)
def test_a_verdict_needs_its_claim_and_no_guard_against_it(column, clean, noisy, expected):
    assert verdicts(clean, noisy)[column] == expected


def test_nothing_is_shown_by_one_seed_or_by_differences_within_the_spread():
    changes = {"ece": 0.03, "roughness": 0.5}
    assert verdicts(changes, seeds=1)["calibration"] == "not shown"
    assert verdicts(changes, seeds=2, spread=0.1)["calibration"] == "not shown"
    assert verdicts(changes)["calibration"] == "shown"
    assert set(verdicts({}).values()) == {"not shown"}


def test_what_was_not_measured_is_not_judged():
    measured = {key: value for key, value in table({"roughness": 0.5}).items() if key.noise == 0}
    for key in measured:
        if key == RunKey("mixup", 0.0, 3):
            raw = dataclasses.replace(measured[key]["raw"], roughness=None)
            measured[key] = {"raw": raw}
    row = next(row for row in table_rows(measured) if row.key.method == "mixup")
    assert row.verdicts["label-noise"] == "not measured"
    assert row.verdicts["jacobian"] == "not measured"
    assert "roughness" not in row.effects


def test_differences_are_paired_by_seed():
    measured = table({"nll": 0.3}, spread=1e-3)
    row = next(row for row in table_rows(measured) if row.key.method == "mixup")
    effect = row.effects["nll"]
    by_hand = [
        measured[RunKey("mixup", 0.0, k)]["raw"].nll - measured[RunKey("erm", 0.0, k)]["raw"].nll
        for k in range(5)
    ]
    assert effect.difference.mean == pytest.approx(sum(by_hand) / 5)
    assert effect.difference.n == 5
    assert table_rows(measured)[0].effects["nll"].difference is None


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr("mixreg.experiments.table1.page.table1_pictures", lambda *_: ())


def page(measured, scales=(0.5, 1.5)):
    return table1_study(
        table_rows(measured),
        subtitle="some data",
        measured=measured,
        scales=scales,
        settings=[],
        environment=[],
    )


def test_the_page_says_what_is_shown_and_what_the_paper_has(undrawn):
    measured = table({"ece": 0.03, "roughness": 1.2, "jacobian": 9.0})
    told = [finding.text for finding in page(measured).findings]
    assert told[0].startswith("mixup, calibration: shown, ✓ in the paper (ECE −2.00 points, 95%")
    assert told[1].startswith("mixup, jacobian reg.: the opposite is shown, ✓ in the paper")
    assert "no effect that these 5 seeds can show, ✓ in the paper" in told[2]
    tables = page(measured).tables
    cells = tables[0].rows[0]
    assert [cell.text for cell in cells[1]] == ["✓ | ✓", "✗ | ✓", "· | ✓", "· | ✓"]
    assert [cell.judgement for cell in cells[1]][:2] == ["better", "worse"]
    assert [table.name for table in tables[1:]] == [*COLUMNS, "further"]
    baseline, mixup = tables[1].rows
    assert (baseline[1][0].text, baseline[1][1].text) == ("5.00 ± 0.02", "")
    assert mixup[1][1].text.startswith("−2.00 (−2.04 to −1.96)")
    assert mixup[1][1].judgement == "better"


def test_what_the_paper_does_not_know_is_told_only_when_shown(undrawn):
    measured = {
        key._replace(method=key.method.replace("mixup", "label-smoothing")): value
        for key, value in table({"roughness": 0.8}).items()
    }
    told = [finding.text for finding in page(measured).findings]
    assert len(told) == 2
    assert "calibration: no effect" in told[0]
    assert "jacobian reg.: shown, not known to the paper" in told[1]


def test_a_row_without_the_paper_is_not_compared_with_it(undrawn):
    measured = table({"ece": 0.03})
    for key in list(measured):
        if key.method == "mixup":
            measured[key] = measured[key] | {"rescaled": measured[key]["raw"]}
    cells = dict(page(measured).tables[0].rows)["mixup, rescaled"]
    assert cells[0].text == "✓ | –"
    assert not any("rescaled" in f.text and "paper" in f.text for f in page(measured).findings)
    assert RowKey("mixup", "rescaled") not in PAPER


def test_caveats_count_the_intervals_and_the_bounds(undrawn):
    measured = table({})
    for key in list(measured):
        if key.method == "erm":
            cold = dataclasses.replace(measured[key]["raw"], temperature=0.1, remark="it is sure")
            measured[key] = measured[key] | {"temperature": cold}
    caveats = " ".join(page(measured).caveats)
    assert "holds 20 paired 95% intervals" in caveats
    assert "In 5 of 5 runs it is sure; there the temperature is a bound" in caveats
    assert "one seed" in " ".join(page(table({}, seeds=1)).caveats)
    assert "With 3 seeds" in " ".join(page(table({}, seeds=3)).caveats)


def test_pictures_need_what_they_show():
    names = [picture.name for picture in page(table({})).pictures]
    assert names == ["effects", "input-scale", "label-noise"]
    alone = {
        key: value for key, value in table({}).items() if key.method == "erm" and key.noise == 0
    }
    assert page(alone).pictures == []
    clean = {key: value for key, value in table({}).items() if key.noise == 0}
    assert [picture.name for picture in page(clean).pictures] == ["effects", "input-scale"]


def test_numbers_keep_every_seed():
    numbers = table1_numbers(table_rows(table({"ece": 0.03})))
    mixup = next(row for row in numbers if row["row"] == "mixup")
    assert len(mixup["effects"]["ece"]["by_seed"]) == 5
    assert mixup["effects"]["ece"]["judgement"] == "better"
    assert mixup["verdicts"]["calibration"] == "shown"
