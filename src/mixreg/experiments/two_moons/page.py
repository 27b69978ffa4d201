"""The two-moon experiments as a page: figures, claims and numbers."""

from collections.abc import Iterator

from mixreg.evaluation import MeanInterval
from mixreg.experiments.two_moons.boundaries import fig1_svg
from mixreg.experiments.two_moons.claims import ERM, Finding
from mixreg.experiments.two_moons.figures import fig8_svg, fig9_svg
from mixreg.experiments.two_moons.measures import Arm
from mixreg.experiments.two_moons.picture import SCALE
from mixreg.experiments.two_moons.result import TwoMoonsResult
from mixreg.report.claims import Claim
from mixreg.report.study import Entry, Study, StudyTable
from mixreg.report.style import Picture

_COLUMNS = {
    "train_nll": "train NLL (nats)",
    "train_accuracy": "train accuracy",
    "test_nll": "test NLL (nats)",
    "test_accuracy": "test accuracy",
    "test_ece": "test ECE",
    "test_brier": "test Brier",
}


def two_moons_study(result: TwoMoonsResult) -> Study:
    """Figures 1, 8 and 9 with what the paper says of them, tested.

    Args:
        result: the finished experiment.

    Returns:
        The study; it needs nothing but the numbers of the result.
    """
    s = result.settings
    setting = f"two moons, random features, σ = {s.feature_scale:.3g}, α = {s.alpha:g}"
    return Study(
        title=f"Two moons: Figures 1, 8 and 9 (σ = {s.feature_scale:.3g})",
        subtitle=(
            f"logistic regression on {s.num_features} random Fourier features, {s.repetitions} "
            f"repetitions, {s.epochs} epochs, α = {s.alpha:g}, {s.label_noise:.0%} of the "
            "training labels flipped"
        ),
        findings=[],
        caveats=list(_caveats(result)),
        tables=[_table(result)],
        pictures=list(_pictures(result)),
        claims=[_tested(finding, setting) for finding in result.findings],
        settings=[s.to_dict()],
        environment=[result.environment],
    )


def about(finding: Finding) -> str:
    """What was subtracted from what, and what counts as no difference.

    Args:
        finding: a claim about two models.

    Returns:
        The text.
    """
    claim, margin = finding.claim, finding.margin
    first, second = arm_name(claim.first), arm_name(claim.second)
    within = "" if margin is None else f" (none within ±{margin:.2g}, half way to ERM)"
    if claim.towards is None:
        return f"{claim.metric}: {first} − {second}{within}"
    third = arm_name(claim.towards)
    return f"{claim.metric}: distance to {third}, {first} − {second}"


def arm_name(arm: Arm) -> str:
    """Method and prediction in words.

    Args:
        arm: method and prediction.

    Returns:
        The text.
    """
    method, prediction = arm
    return method if prediction == "raw" else f"{method}, {prediction}"


def mean_cell(interval: MeanInterval) -> str:
    """A mean with half its interval, in four digits.

    Args:
        interval: mean over repetitions.

    Returns:
        The text.
    """
    if interval.half_width is None:
        return f"{interval.mean:.4f}"
    return f"{interval.mean:.4f} ± {interval.half_width:.4f}"


def _tested(finding: Finding, setting: str) -> Claim:
    claim = finding.claim
    return Claim(
        statement=f"{claim.statement[0].upper()}{claim.statement[1:]}.",
        place=claim.place,
        setting=setting,
        measured=f"{about(finding)}, paired by repetition",
        effect=finding.difference,
        expected=claim.expected,
        margin=finding.margin,
    )


def _table(result: TwoMoonsResult) -> StudyTable:
    return StudyTable(
        "end-of-training",
        "At the end of training",
        "Means over repetitions ± half their 95% confidence interval. Training labels are the "
        "partly flipped ones, test labels are not flipped.",
        ["", *_COLUMNS.values()],
        [
            (arm_name(o.arm), [Entry(mean_cell(o.mean(name))) for name in _COLUMNS])
            for o in result.outcomes
        ],
    )


def _pictures(result: TwoMoonsResult) -> Iterator[Picture]:
    shares = result.picture.to_dict()
    shift, regularization = shares["shift"], shares["regularization"]
    yield Picture(
        "fig1",
        "Figure 1: data shift and regularization",
        "Functions learnt from the original data, with Mixup and from modified data. Colours are "
        "the predicted probability of the classes, dots the data that the method is shown, lines "
        "the decision boundaries. Between the moons, from the boundary of the original data to "
        "that of the modified data is the shift of the data, from there to that of Mixup the "
        f"regularization. Labels are not flipped here and σ is {SCALE:g}.",
        f"Of the area between the moons, the shift of the data changes the class in "
        f"{shift:.1%} and regularization in {regularization:.1%}.",
        fig1_svg(result),
    )
    yield Picture(
        "fig8",
        "Figure 8: course of training",
        "Lines are means over repetitions, bands their 95% confidence intervals. Losses are those "
        "of unmixed points; the training labels are the partly flipped ones. Dashes are "
        "predictions by equation 22; those of ERM, which only make it worse, are left out.",
        "The numbers at the end of training stand in the table.",
        fig8_svg(result),
    )
    sure = ", ".join(
        f"{arm_name(o.arm)} {o.mean('test_confidence').mean:.1%}" for o in result.outcomes
    )
    yield Picture(
        "fig9",
        "Figure 9: confidence of the predictions",
        "Test points by the probability of their more probable class. Bars are mean shares over "
        "repetitions with their 95% confidence intervals; the dotted line is the mean accuracy, "
        "which the mean confidence of calibrated predictions equals.",
        f"Mean confidence: {sure}.",
        fig9_svg(result),
    )


def _caveats(result: TwoMoonsResult) -> Iterator[str]:
    s = result.settings
    tested = sum(finding.difference.half_width is not None for finding in result.findings)
    if tested:
        yield (
            f"Many comparisons: {tested} paired 95% intervals are judged here. If nothing differed "
            f"at all, about {max(1, round(tested / 20))} of them would still exclude 0; none is "
            "widened for that."
        )
    else:
        yield "There is one repetition, so there are no intervals and nothing here is shown."
    if s.label_noise > 0:
        yield (
            "Only training labels are flipped, so no model that has learnt the flips is calibrated "
            "on the test points, and a larger ECE is no sign of a worse model; NLL and Brier score "
            "are the better judges."
        )
    means = [m.mean for m in result.curve(ERM, "test_nll").means]
    best = result.epochs[means.index(min(means))]
    if best < result.epochs[-1]:
        yield (
            f"The mean test loss of ERM is lowest after {best} of the {result.epochs[-1]} epochs; "
            "comparisons with ERM depend on the epoch at which they are made."
        )
