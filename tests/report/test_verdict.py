"""The verdict says no more than the intervals: constructed results of every kind."""

import pytest

from mixreg.report import Group, summarize, verdict

STEADY, SHAKY = (0.010, 0.011, 0.012), (0.05, -0.04, 0.01)
MIXUP = Group("mixup", 1.0)


def compare(make_run, *, shift, sign=1, seeds=3, theta_mean=0.75):
    """ERM against mixup, whose rescaled metrics are all its raw ones shifted by seed."""
    runs = []
    for seed in range(seeds):
        step = sign * shift[seed]
        raw = {"accuracy": 0.7, "nll": 0.9, "ece": 0.2}
        runs.append(make_run("erm", seed, raw={"accuracy": 0.6, "nll": 1.9, "ece": 0.3}))
        runs.append(
            make_run(
                "mixup",
                seed,
                1.0,
                theta_mean=theta_mean,
                raw=raw,
                rescaled={name: value + step for name, value in raw.items()},
            )
        )
    return summarize(runs, "erm")


def sentences(comparison):
    change = verdict(comparison).changes[0]
    assert change.title == "mixup (α = 1): rescaled prediction (equation 22) against the raw one"
    return [finding.sentence for finding in change.findings]


def test_steady_rises_are_better_accuracy_and_worse_losses(make_run):
    assert sentences(compare(make_run, shift=STEADY)) == [
        "Accuracy: better, 1.10 points higher (95% CI +0.85 to +1.35, n = 3).",
        "NLL: worse, 0.0110 nats higher (95% CI +0.0085 to +0.0135, n = 3).",
        "ECE: worse, 1.10 points higher (95% CI +0.85 to +1.35, n = 3).",
    ]


def test_steady_falls_are_worse_accuracy_and_better_losses(make_run):
    assert sentences(compare(make_run, shift=STEADY, sign=-1)) == [
        "Accuracy: worse, 1.10 points lower (95% CI −1.35 to −0.85, n = 3).",
        "NLL: better, 0.0110 nats lower (95% CI −0.0135 to −0.0085, n = 3).",
        "ECE: better, 1.10 points lower (95% CI −1.35 to −0.85, n = 3).",
    ]


def test_shaky_changes_are_no_difference_that_the_seeds_can_show(make_run):
    found = compare(make_run, shift=SHAKY)
    assert sentences(found)[1] == (
        "NLL: no difference that these 3 seeds can show (mean +0.0067 nats, 95% CI −0.1053 to "
        "+0.1187, n = 3)."
    )
    findings = verdict(found).changes[0].findings
    assert {finding.judgement for finding in findings} == {"undecided"}


def test_equal_differences_in_all_seeds_are_not_certainty(make_run):
    said = sentences(compare(make_run, shift=(0.01, 0.01, 0.01)))
    assert said[0] == (
        "Accuracy: 1.00 points higher in each of the 3 seeds; equal differences leave no interval "
        "to judge them by."
    )
    assert sentences(compare(make_run, shift=(0, 0, 0)))[1] == (
        "NLL: no difference in any of the 3 seeds."
    )


def test_one_seed_shows_nothing(make_run):
    found = compare(make_run, shift=STEADY, seeds=1)
    assert sentences(found)[0] == (
        "Accuracy: 1.00 points higher in the one seed there is; one seed has no interval and "
        "shows no difference."
    )
    said = verdict(found)
    assert said.caveats == (
        "There is one seed, so there are no intervals and nothing here is shown.",
    )
    (advice,) = said.recommendations
    assert advice.correction is None
    assert advice.sentence.startswith(
        "One seed cannot decide. The lowest NLL in it is that of the raw"
    )


def test_training_is_compared_with_the_baseline(make_run):
    changes = verdict(compare(make_run, shift=STEADY)).changes
    assert [change.title for change in changes[1:]] == [
        "Raw predictions: mixup (α = 1) against erm"
    ]


def test_without_shrinking_there_is_no_rescaling_to_judge(make_run):
    changes = verdict(compare(make_run, shift=STEADY, theta_mean=1.0)).changes
    assert [change.title for change in changes] == ["Raw predictions: mixup (α = 1) against erm"]


def advise(make_run, seeds=4, **nll):
    """The recommendation for mixup runs with the given NLL of each correction by seed."""
    runs = [
        make_run("mixup", s, 1.0, **{name: {"nll": values[s]} for name, values in nll.items()})
        for s in range(seeds)
    ]
    (advice,) = verdict(summarize(runs, "mixup")).recommendations
    return advice


RAW = (1.0, 1.1, 0.9, 1.0)


def shifted(*steps):
    return tuple(round(a + b, 6) for a, b in zip(RAW, steps, strict=True))


def test_recommends_the_rescaled_prediction_where_it_is_shown_to_be_lowest(make_run):
    advice = advise(
        make_run,
        raw=RAW,
        rescaled=shifted(-0.3, -0.31, -0.29, -0.3),
        temperature=shifted(-0.1, -0.11, -0.09, -0.1),
    )
    assert advice.correction == "rescaled"
    assert advice.sentence == (
        "Use the rescaled prediction (equation 22): it lowers the NLL (−0.3000 nats, 95% CI "
        "−0.3130 to −0.2870, n = 4), and of the corrections that do, it has the lowest mean."
    )


def test_prefers_what_asks_for_less_where_the_best_is_not_shown_to_be_better(make_run):
    advice = advise(
        make_run,
        raw=RAW,
        rescaled=shifted(-0.3, -0.31, -0.29, -0.3),
        temperature=shifted(-0.36, -0.3, -0.35, -0.25),
    )
    assert advice.correction == "rescaled"
    assert "The mean NLL of temperature scaling is lower still" in advice.sentence
    assert "it asks for more" in advice.sentence


def test_takes_the_best_where_it_is_shown_to_be_better(make_run):
    advice = advise(
        make_run,
        raw=RAW,
        rescaled=shifted(-0.1, -0.11, -0.09, -0.1),
        temperature=shifted(-0.2, -0.21, -0.19, -0.2),
        rescaled_and_temperature=shifted(-0.31, -0.3, -0.3, -0.29),
    )
    assert advice.correction == "rescaled+temperature"


def test_keeps_the_raw_prediction_where_nothing_is_shown(make_run):
    advice = advise(
        make_run,
        raw=RAW,
        rescaled=shifted(-0.3, 0.2, -0.3, 0.2),
        temperature=shifted(0.1, 0.1, 0.2, 0.1),
    )
    assert advice.correction == "raw"
    assert advice.sentence.startswith(
        "Keep the raw prediction: no correction is shown to lower its NLL. Changes: rescaled "
        "−0.0500 nats, 95% CI −0.5093 to +0.4093, n = 4; temperature +0.1250"
    )


def test_a_shown_improvement_beats_a_lower_mean_that_is_not_shown(make_run):
    advice = advise(
        make_run,
        raw=RAW,
        rescaled=shifted(-0.9, 0.2, -0.9, 0.4),
        temperature=shifted(-0.1, -0.11, -0.09, -0.1),
    )
    assert advice.correction == "temperature"


@pytest.mark.parametrize(("seeds", "few"), [(2, True), (4, True), (5, False)])
def test_caveats_count_the_comparisons_and_warn_of_few_seeds(make_run, seeds, few):
    runs = [make_run("erm", s, raw={}, rescaled={}) for s in range(seeds)]
    runs += [make_run("mixup", s, 1.0, raw={}, rescaled={}) for s in range(seeds)]
    caveats = verdict(summarize(runs, "erm")).caveats
    # erm rescaled and mixup rescaled to both references, mixup raw to one: 5 times 4 metrics
    assert "20 paired 95% intervals" in caveats[0]
    assert "about 1 of them" in caveats[0]
    assert any(f"With {seeds} seeds" in caveat for caveat in caveats) == few
    assert any("same test examples" in caveat for caveat in caveats)
