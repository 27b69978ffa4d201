"""Only repetitions of which no run is missing can be compared seed by seed."""

import pytest

from mixreg.data.location import MissingDataError
from mixreg.experiments.sweeping.missing import whole_seeds
from mixreg.training import TrainConfig

RUNS = [TrainConfig(method=method, seed=seed) for seed in range(2) for method in ("erm", "mixup")]


def test_a_repetition_is_left_out_whole():
    whole = whole_seeds(RUNS, ["", "no data", "", ""])
    assert whole == (RUNS[2:], ("seed 0 is left out: no data",))
    assert whole_seeds(RUNS, [""] * 4) == (RUNS, ())


def test_nothing_left_is_an_error():
    with pytest.raises(MissingDataError, match="nothing is left to report: no data here"):
        whole_seeds(RUNS, ["no data here", "", "", "no data there"])
