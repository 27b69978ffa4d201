"""Run the two-moon experiments: Figures 1, 8 and 9."""

import time
from collections.abc import Mapping

from torch import Tensor

from mixreg.evaluation import mean_interval
from mixreg.experiments.two_moons.features import draw_features
from mixreg.experiments.two_moons.measures import PREDICTIONS, Measured, Measures
from mixreg.experiments.two_moons.methods import (
    METHODS,
    FixedPoints,
    Method,
    fixed_mixup_risk,
    make_trainable,
)
from mixreg.experiments.two_moons.picture import make_picture
from mixreg.experiments.two_moons.problem import make_problem
from mixreg.experiments.two_moons.result import Curve, Outcome, TwoMoonsResult
from mixreg.experiments.two_moons.settings import TwoMoonsSettings
from mixreg.experiments.two_moons.training import train
from mixreg.training import environment


def run(settings: TwoMoonsSettings, *, progress: bool = False) -> TwoMoonsResult:
    """Train all repetitions and methods as one batch, and measure them.

    Args:
        settings: one of `SCALES`, or any other.
        progress: show a progress bar.

    Returns:
        Curves, outcomes and the picture.

    Raises:
        MixregError: a training diverged.

    Source: Carratino et al., appendix B.3 and Figure 1.
    """
    begin, work = time.monotonic(), time.process_time()
    law, seeds = settings.law, settings.seeds
    problem = make_problem(seeds, label_noise=settings.label_noise, dtype=settings.dtype)
    features = draw_features(
        seeds,
        num_features=settings.num_features,
        scale=settings.feature_scale,
        dtype=settings.dtype,
    )
    methods = {method: make_trainable(method, problem, features, law) for method in METHODS}
    risks = {name: m.objective for name, m in methods.items() if isinstance(m, FixedPoints)}
    risks["mixup"] = fixed_mixup_risk(problem, features, law, draws=settings.risk_draws)
    measures = Measures(problem, features, law, risks)
    history: list[Measured] = []
    weights = train(
        methods,
        problem,
        law,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        record=lambda models: history.append(measures.during(models)),
        recorded_epochs=settings.recorded_epochs,
        progress=progress,
    )
    seconds, work = time.monotonic() - begin, time.process_time() - work
    return TwoMoonsResult(
        settings=settings,
        environment=environment(),
        seconds=seconds,
        processor_seconds=work,
        epochs=settings.recorded_epochs,
        curves=_curves(history),
        outcomes=_outcomes(measures, weights),
        picture=make_picture(settings),
    )


def _curves(history: list[Measured]) -> tuple[Curve, ...]:
    return tuple(
        Curve(arm, metric, tuple(mean_interval(then[arm][metric].tolist()) for then in history))
        for arm, values in history[0].items()
        for metric in values
    )


def _outcomes(measures: Measures, weights: Mapping[Method, Tensor]) -> tuple[Outcome, ...]:
    found = measures.at_the_end(weights)
    outcomes = []
    for method, w in weights.items():
        for prediction in PREDICTIONS:
            edges, shares = measures.confidences(w, prediction)
            values = found[method, prediction]
            outcomes.append(
                Outcome(
                    arm=(method, prediction),
                    values={name: tuple(v.tolist()) for name, v in values.items()},
                    confidence_edges=tuple(edges),
                    confidence_shares=tuple(mean_interval(s.tolist()) for s in shares.mT),
                )
            )
    return tuple(outcomes)
