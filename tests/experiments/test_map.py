"""The map: where its laws lie, what is measured of them, and what is made of the numbers."""

import dataclasses

import numpy as np
import pytest
import torch

from mixreg import Beta, approximate_mixup_risk
from mixreg._random import generator
from mixreg.experiments import _runs
from mixreg.experiments import map as module
from mixreg.experiments.map import ERM, NOISY, Grid, Point
from mixreg.report import Record, Records, read_document
from mixreg.settings import ReproduceOptions
from mixreg.training import RunDirectory, load_run

LINE = [Point("Beta(1)", 0.25, 1 / 12, True), Point(ERM, 0.0, 0.0, True)]
LINE += [Point("off", 0.25, 0.125, False), Point("under", 0.4, 0.16, False)]
SETTING = module.PRESETS["smoke"][0].setting


def options(folder, scale="smoke"):
    return ReproduceOptions(name="map", scale=scale, output=folder, jobs=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("map")
    with pytest.MonkeyPatch.context() as patch:
        setting = dataclasses.replace(SETTING, alphas=(1.0,))
        patch.setitem(module.PRESETS, "smoke", (Grid(setting, (1.0,)),))
        patch.setattr(module, "RANKED_ON", 30)
        module.reproduce(options(folder))
        return read_document(folder / "map" / "map.json"), module.runs(options(folder))


@pytest.mark.parametrize("scale", module.PRESETS)
def test_laws_off_the_curve_stand_in_the_columns_of_those_on_it(scale, tmp_path):
    runs = module.runs(options(tmp_path, scale))
    assert len({run.directory for run in runs}) == len(runs)
    for grid in module.PRESETS[scale]:
        own = [run for run in runs if _runs.label(run) == grid.setting.label and run.seed == 0]
        points = [module.point_of(run) for run in own]
        assert len(points) == 1 + len(grid.setting.alphas) + len(grid.columns) * len(grid.levels)
        columns = {Beta(alpha).shrinkage for alpha in grid.columns}
        for run, point in zip(own, points, strict=True):
            numbers = run.law.shrinkage, run.law.gamma_squared
            assert point.is_beta == (run.theta_mean is None)
            assert point.name == ERM or (point.a1, point.a2) == pytest.approx(numbers, rel=1e-12)
            assert point.is_beta or min(abs(point.a1 - a1) for a1 in columns) < 1e-12


def test_numbers_are_those_of_the_stored_networks(made):
    document, runs = made
    for run in runs:
        trained, name = load_run(run.directory, {}), module.point_of(run).name
        x, y = (torch.cat(part) for part in zip(*trained.data.batches("test", 100), strict=True))
        source = generator("map", "noise")
        noise = torch.randn(x.shape, generator=source)
        with torch.inference_mode():
            right = (trained.net(x + 0.5 * noise).argmax(1) == y).double().mean()
        own = document.records.where(method=name, seed=run.seed)
        (noisy,) = own.where(prediction=NOISY)
        assert noisy.value == pytest.approx(float(right), abs=1e-12)
        (nll,) = own.where(prediction="rescaled", metric="nll")
        used = "raw" if name == ERM else "rescaled"
        stored = RunDirectory(run.directory).read_evaluation().results[used].metrics.nll
        assert nll.value == stored


def test_terms_are_those_of_networks_that_were_trained_once(made):
    document, runs = made
    (run,) = [run for run in runs if run.method == "erm" and run.seed == 0]
    trained, other = load_run(run.directory, {}), runs[-1]
    batch = next(iter(trained.data.train_batches(30, seed=0, epoch=0)))
    risk = approximate_mixup_risk(trained.net, *batch, "cross_entropy", other.law)
    at = {"method": ERM, "seed": 0, "prediction": module.point_of(other).name}
    for term in module.TERMS:
        (record,) = document.records.where(metric=term, **at)
        assert record.value == pytest.approx(float(getattr(risk, term)), rel=1e-9)


def test_the_page_has_every_number_as_a_frame(made):
    document, _ = made
    (sequence,) = document.frames
    assert list(sequence.values) == list(module.SHOWN)
    assert [claim.statement for claim in document.claims] == [
        s.statement for s, *_ in module.PREDICTED
    ]


def records(value, metric="nll", prediction="raw", seeds=3):
    """A number of every law, by law and seed."""
    return Records(
        Record(SETTING.label, p.name, None, k, prediction, metric, value(p, k))
        for p in LINE
        for k in range(seeds)
    )


def test_slopes_are_those_of_the_plane():
    rng = np.random.default_rng(0)
    planes = rng.normal(size=(3, 3))
    found = module.slopes(records(lambda p, k: planes[k] @ (1, p.a1, p.a2)), LINE, "NLL, raw")
    for axis in (1, 2):
        expected = {k: pytest.approx(0.1 * planes[k][axis]) for k in range(3)}
        assert found[axis - 1] == expected


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        ({"off": -0.1}, "off, is better than every law of the curve in NLL, raw (0.9"),
        ({"off": -0.1, ERM: -0.2}, "In none of 10 numbers"),
        ({"off": 0.1}, "In none of 10 numbers"),
    ],
)
def test_a_law_wins_only_against_every_one_on_the_curve(gain, words):
    every = records(lambda p, k: 1 + gain.get(p.name, 0) + 1e-4 * k * p.a2)
    (entry,) = module.winners(SETTING, every, LINE)
    assert entry.text.startswith(words)


def test_rank_correlations():
    laws = [point for point in LINE if point.name != ERM]
    truth = Records(
        record
        for shown in module.RANKED
        for record in records(lambda p, k: p.a2 + 1e-3 * k, *module.SHOWN[shown])
    )
    terms = [
        Record(SETTING.label, source, None, k, law.name, term, -law.a2 if term == "r1" else law.a2)
        for source in (ERM, "Beta(1)")
        for term in module.TERMS
        for law in laws
        for k in range(3)
    ]
    found = dict(module._ranks(Records([*truth, *terms]), laws))
    assert {cell.text for cell in found["a2 itself"]} == {"1.00"}
    assert {cell.text for cell in found["R1, ERM"]} == {"−1.00 ± 0.00"}
    assert {cell.text for cell in found["approximate risk (12), Beta(1)"]} == {"1.00 ± 0.00"}
