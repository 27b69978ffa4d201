"""Recipes of other libraries: boxes by enumeration, adapters against the libraries' own code."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import timm.data as timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.transforms import v2

import mixreg
from mixreg import Beta, Constant, MixregError, RescaledModel, TrainingStatistics, Uniform
from mixreg import recipes as r
from mixreg._beta import beta_distribution

SIZE = (12, 16)


@given(st.floats(1e-3, 1e3), st.floats(0, 1))
def test_the_distribution_of_beta_is_the_incomplete_beta_function(alpha, x):
    from scipy.stats import beta

    assert beta_distribution(alpha, x) == pytest.approx(beta.cdf(x, alpha, alpha), abs=1e-11)


# -- boxes -----------------------------------------------------------------------------------------


def drawn_boxes(law, n, seed=0):
    """Masks of replaced pixels and label weights, one box at a time as the libraries draw them."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        u, (h, w) = rng.beta(law.alpha, law.alpha), (law.height, law.width)
        if law.minmax is not None:
            sides = [rng.integers(int(s * law.minmax[0]), int(s * law.minmax[1])) for s in (h, w)]
            starts = [rng.integers(0, s - side + 1) for s, side in zip((h, w), sides, strict=True)]
            edges = [(a, a + b) for a, b in zip(starts, sides, strict=True)]
        else:
            edges = []
            for size in (h, w):
                side, centre = size * math.sqrt(u), rng.integers(0, size)
                before, after = {
                    "timm": (int(side) // 2, (int(side) + 1) // 2),
                    "torchvision": (int(side / 2), int(side / 2)),
                    "fastai": (round(side) // 2, round(side) // 2),
                }[law.rounding]
                edges.append((max(centre - before, 0), min(centre + after, size)))
        mask = np.zeros((h, w))
        mask[slice(*edges[0]), slice(*edges[1])] = 1
        is_area = law.corrected or law.minmax is not None
        yield mask, 1 - mask.mean() if is_area else 1 - u


BOXES = [
    {},
    {"alpha": 0.4},
    {"rounding": "torchvision"},
    {"rounding": "fastai", "alpha": 2.0},
    {"corrected": False},
    {"minmax": (0.25, 0.9)},
]


@pytest.mark.parametrize("options", BOXES, ids=str)
def test_the_map_is_that_of_drawn_boxes(options):
    law, n = r.CutMix(*SIZE, **options), 40_000
    folded, labels = np.zeros((n, *SIZE)), np.zeros(n)
    for k, (mask, weight) in enumerate(drawn_boxes(law, n)):
        folded[k] = mask if weight >= 0.5 else 1 - mask
        labels[k] = min(weight, 1 - weight)
    expected = law.shrinkage.numpy()
    error = np.sqrt(expected * (1 - expected) / n)
    assert np.abs(folded.mean(0) - expected).max() <= 4.5 * error.max()
    for power, number in ((1, law.label_law.shrinkage), (2, law.label_law.gamma_squared)):
        values = labels**power
        assert abs(values.mean() - number) <= 4 * values.std() / math.sqrt(n)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 14), st.integers(2, 14), st.floats(0.1, 5), st.sampled_from(BOXES))
def test_the_mean_of_the_map_is_the_share_of_pixels_given_away(height, width, alpha, options):
    law = r.CutMix(height, width, **{"alpha": alpha, **options})
    if options.get("corrected", True):
        assert float(law.shrinkage.mean()) == pytest.approx(law.label_law.shrinkage, abs=1e-9)
    assert float(law.shrinkage.min()) >= -1e-12
    assert float(law.shrinkage.max()) <= 1 + 1e-12


# -- the libraries' own code -----------------------------------------------------------------------


def close(estimate, recipe, self_pairs=0.0):
    """Measured E(1 − θ) and E(1 − θ)² within four standard errors of the recipe's."""
    share = 1 - self_pairs
    expected = torch.as_tensor(recipe.input_law.shrinkage) * share
    error = 4.5 * estimate.input_error.max() + 1e-6
    assert float((estimate.input_shrinkage - expected).abs().max()) <= error
    label = recipe.label_law.shrinkage * share
    assert abs(estimate.label_shrinkage - label) <= 4 * estimate.label_error + 1e-6
    # Squares of numbers up to 1/2 spread no wider than the numbers.
    second = recipe.label_law.gamma_squared * share
    assert abs(estimate.label_second - second) <= 4 * estimate.label_error + 1e-6
    if isinstance(recipe.input_law, mixreg.MixingLaw):
        second = recipe.input_law.gamma_squared * share
        assert float((estimate.input_second - second).abs().max()) <= error
    assert estimate.label_smoothing == pytest.approx(recipe.label_smoothing, abs=1e-5)


@pytest.fixture
def seeded():
    torch.manual_seed(0)
    np.random.seed(0)


TIMM = [
    {"mixup_alpha": 0.8},
    {"mixup_alpha": 0.8, "mode": "elem", "label_smoothing": 0.0},
    {"mixup_alpha": 0.2, "prob": 0.3, "mode": "pair"},
    {"mixup_alpha": 0.8, "cutmix_alpha": 1.0, "switch_prob": 0.4},
    {"mixup_alpha": 0.0, "cutmix_alpha": 1.0},
    {"mixup_alpha": 0.0, "cutmix_alpha": 0.5, "correct_lam": False},
    {"mixup_alpha": 0.0, "cutmix_minmax": (0.3, 0.9)},
]


@pytest.mark.parametrize("arguments", TIMM, ids=str)
@pytest.mark.usefixtures("seeded")
def test_timm(arguments):
    mixing = timm.Mixup(num_classes=10, **arguments)
    recipe = r.from_timm(mixing, image_size=SIZE)
    close(r.estimate_law(mixing, (1, *SIZE), 10, batches=3000), recipe)
    same = r.from_timm({"num_classes": 10, **arguments}, image_size=SIZE)
    assert same == recipe


TORCHVISION = [
    v2.MixUp(alpha=0.3, num_classes=10),
    v2.CutMix(alpha=1.0, num_classes=10),
    v2.RandomChoice([v2.MixUp(num_classes=10), v2.CutMix(num_classes=10)], p=[1, 3]),
]


@pytest.mark.parametrize("transform", TORCHVISION, ids=lambda t: type(t).__name__)
@pytest.mark.usefixtures("seeded")
def test_torchvision(transform):
    recipe = r.from_torchvision(transform, image_size=SIZE)
    close(r.estimate_law(transform, (1, *SIZE), 10, batches=3000), recipe)


def test_torchvision_applied_at_random():
    recipe = r.from_torchvision(v2.RandomApply([v2.MixUp(num_classes=10)], p=0.25))
    assert recipe.label_law.shrinkage == pytest.approx(0.25 * 0.25)


def one_hot(y):
    return nn.functional.one_hot(y.long(), 10).float()


FASTAI = [("MixUp", 0.4, {}), ("CutMix", 1.0, {"image_size": SIZE})]


@pytest.mark.parametrize(("name", "alpha", "options"), FASTAI)
@pytest.mark.usefixtures("seeded")
def test_fastai(name, alpha, options):
    theirs = pytest.importorskip("fastai.callback.mixup")
    callback = getattr(theirs, name)(alpha)
    callback.stack_y = True

    def mixing(x, y):
        callback.learn = SimpleNamespace(x=x.clone(), y=y, xb=(x.clone(),), yb=(y,))
        callback.before_batch()
        weight = callback.lam.reshape(-1, 1)
        return callback.learn.xb[0], one_hot(callback.yb1[0]).lerp(one_hot(y), weight)

    measured = r.estimate_law(mixing, (1, *SIZE), 10, batches=10_000)
    close(measured, r.from_fastai(callback, **options), self_pairs=0.1)


@pytest.mark.parametrize(("low", "high", "p"), [(0.0, 1.0, 1.0), (0.1, 0.4, 0.5)])
@pytest.mark.usefixtures("seeded")
def test_kornia(low, high, p):
    theirs = pytest.importorskip("kornia.augmentation")
    transform = theirs.RandomMixUpV2(lambda_val=(low, high), p=p, data_keys=["input", "class"])

    def mixing(x, y):
        inputs, labels = transform(x, y)
        kept, other, weight = labels.T
        return inputs, one_hot(kept).lerp(one_hot(other), weight[:, None])

    measured = r.estimate_law(mixing, (1, 4, 4), 10, batches=10_000)
    close(measured, r.from_kornia(transform), self_pairs=0.1)


@pytest.mark.parametrize(("name", "alpha"), [("Mixup", 1.0), ("MixupIO", 0.5)])
@pytest.mark.usefixtures("seeded")
def test_torch_uncertainty(name, alpha):
    theirs = pytest.importorskip("torch_uncertainty.transforms.mixup")
    transform = getattr(theirs, name)(alpha, 10)
    measured = r.estimate_law(transform, (1, 4, 4), 10, batches=50_000, batch_size=2)
    close(measured, r.from_torch_uncertainty(transform), self_pairs=0.5)


@pytest.mark.parametrize("law", [Beta(0.4), Uniform(0.1, 0.6), Beta(1.0).with_probability(0.5)])
def test_our_own_mixing(law):
    mixup = mixreg.Mixup(law, num_classes=10, generator=torch.Generator().manual_seed(0))
    measured = r.estimate_law(lambda x, y: mixup(x, y)[:2], (3,), 10, batches=3000)
    close(measured, r.Recipe(law, law), self_pairs=0.1)


SCRIPTS = [
    ({"mixup": 0.8, "cutmix": 1.0, "img_size": 16, "smoothing": 0.0}, 0.0, 1),
    ({"mixup": 0.2, "mixup_prob": 0.5, "smoothing": 0.1, "epochs": 300}, 0.1, 0),
    ({"mixup": 0.0, "cutmix": 0.0, "smoothing": 0.1}, 0.1, 0),
]


@pytest.mark.parametrize(("settings_", "smoothing", "notes"), SCRIPTS)
def test_settings_of_timms_training_script(settings_, smoothing, notes, tmp_path):
    recipe = r.from_timm(settings_)
    assert recipe.label_smoothing == smoothing
    assert len(recipe.notes) == notes
    file = tmp_path / "args.yaml"
    script = {"model": "vit", "val_split": "val", "mixup_mode": "batch", "mixup_prob": 1.0}
    values = script | settings_
    file.write_text("".join(f"{name}: {value}\n" for name, value in values.items()))
    assert r.from_timm(file) == recipe


def test_mixing_switched_off_before_the_end_gives_both_answers():
    recipe = r.from_timm({"mixup": 1.0, "mixup_off_epoch": 250, "epochs": 300, "smoothing": 0.1})
    assert recipe.label_law == Beta(1.0)
    assert recipe.ended_as is not None
    assert recipe.ended_as.label_law.shrinkage == 0
    assert "the last 50 of 300 epochs" in recipe.notes[-1]


class Stand:
    """An object of a named class with attributes, as an adapter sees it."""

    def __new__(cls, name, **attributes):
        return type(name, (), attributes)()


def concentrated(alpha):
    return torch.distributions.Beta(torch.tensor(alpha), torch.tensor(alpha))


DOCUMENTED = [
    (r.from_fastai(Stand("MixUp", distrib=concentrated(0.4))), Beta(0.4).shrinkage),
    (r.from_composer(0.2), Beta(0.2).shrinkage),
    (r.from_keras({"name": "mix_up", "alpha": 0.2}), Beta(0.2).shrinkage),
    (r.from_mixup_cifar10(1.0), 0.25),
    (r.from_mixup_cifar10(0.0), 0.0),
    (r.from_torch_uncertainty(Stand("Mixup", alpha=1.0)), 0.25),
    (r.from_torch_uncertainty(Stand("RegMixup", alpha=1.0)), 0.125),
    (r.from_torch_uncertainty(Stand("MixupMP", alpha=1.0, mixup_ratio=3.0)), 0.75 * 0.25),
    (
        r.from_kornia(
            Stand("RandomMixUpV2", _param_generator=Stand("G", lambda_val=(0, 0.5)), p_batch=0.5)
        ),
        0.125,
    ),
]


@pytest.mark.parametrize(("recipe", "shrinkage"), DOCUMENTED)
def test_documented_formulas(recipe, shrinkage):
    assert recipe.label_law.shrinkage == pytest.approx(shrinkage, rel=1e-6)
    assert recipe.input_law == recipe.label_law


def test_mixing_of_inputs_alone():
    recipe = r.from_torch_uncertainty(Stand("MixupIO", alpha=1.0))
    assert recipe.input_law == Beta(1.0)
    assert recipe.label_law == Constant(1.0)


REFUSED = [
    (lambda: r.from_timm({"mixup_alfa": 1.0}), "mixup_alpha"),
    (lambda: r.from_timm({"mixup_alpha": 0.0}), "needs mixup_alpha > 0"),
    (lambda: r.from_timm({"cutmix_alpha": 1.0}), "give image_size"),
    (lambda: r.from_timm({"mode": "row"}), "modes batch, pair"),
    (lambda: r.from_timm(object()), "expected a timm.data.Mixup"),
    (lambda: r.from_timm({"prob": 1.5}), r"in \[0, 1\]"),
    (lambda: r.from_torchvision(v2.CutMix(num_classes=3)), "give image_size"),
    (lambda: r.from_torchvision(v2.GaussianBlur(3)), "estimate_law"),
    (lambda: r.from_torch_uncertainty(Stand("WarpingMixup")), "distance of the examples"),
    (lambda: r.from_torch_uncertainty(Stand("Cat")), "expected a mixup of torch-uncertainty"),
    (lambda: r.from_fastai(Stand("CutMix", distrib=concentrated(1.0))), "image_size"),
    (lambda: r.from_fastai(Stand("Mixer")), "expected fastai's"),
    (lambda: r.from_kornia(Stand("RandomCutMixV2")), "expected RandomMixUpV2"),
    (lambda: r.from_keras({"factor": 0.1}), "keras.layers.MixUp"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_what_is_no_recipe(call, message):
    with pytest.raises((MixregError, ValueError), match=message):
        call()


@pytest.mark.parametrize(
    "transform",
    [lambda x, _: x, lambda x, y: (x[:1], y), lambda x, y: (x, y.view(-1, 1).expand(-1, 3))],
)
def test_what_is_no_mixing_transform(transform):
    with pytest.raises(ValueError, match="must return inputs"):
        r.estimate_law(transform, (2,), 10)


def test_mixing_of_inputs_alone_is_measured_in_pairs():
    def inputs_alone(x, y):
        return 0.7 * x + 0.3 * x.roll(1, 0), y

    with pytest.raises(ValueError, match="batch_size=2"):
        r.estimate_law(inputs_alone, (2,), 10, batches=3)
    measured = r.estimate_law(inputs_alone, (2,), 10, batches=3, batch_size=2)
    assert measured.label_shrinkage == 0
    assert measured.input_shrinkage.tolist() == pytest.approx([0.3, 0.3])


def test_mixing_three_examples_is_refused():
    def third(x, y):
        one_hot = nn.functional.one_hot(y, 10).float()
        return x, (one_hot + one_hot.roll(1, 0) + one_hot.roll(2, 0)) / 3

    with pytest.raises(ValueError, match="more than two"):
        r.estimate_law(third, (2,), 10)


# -- predictions -----------------------------------------------------------------------------------


@pytest.fixture
def images():
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 3, *SIZE, generator=g), torch.arange(20) % 4
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE[0] * SIZE[1], 4)).double()
    return net, x.double(), TrainingStatistics.from_tensors(x.double(), y, num_classes=4)


def test_a_map_shrinks_every_pixel_by_its_own_number(images):
    net, x, stats = images
    recipe = r.from_timm({"mixup_alpha": 0.8, "cutmix_alpha": 1.0}, image_size=SIZE)
    theta = 1 - recipe.input_law.shrinkage
    kept = (1 - recipe.label_smoothing) * recipe.label_law.theta_mean
    shift = 0.9 * recipe.label_law.shrinkage * stats.y_mean + 0.1 / 4
    expected = (net(stats.x_mean + theta * (x - stats.x_mean)) - shift) / kept
    rescaled = RescaledModel(net, stats, recipe, inputs="shrink")(x)
    torch.testing.assert_close(rescaled, expected)
    outputs_only = RescaledModel(net, stats, recipe)  # as measured: results/recipes-cifar10
    torch.testing.assert_close(outputs_only(x), (net(x) - shift) / kept)
    torch.testing.assert_close(outputs_only.fold()(x), outputs_only(x))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_unshrinking_inverts_smoothed_and_mixed_labels(smoothing):
    law, y_mean = Beta(0.7), torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    y = torch.eye(3, dtype=torch.float64)
    mixed = law.theta_mean * y + law.shrinkage * y_mean
    smoothed = (1 - smoothing) * mixed + smoothing / 3
    got = mixreg.unshrink(smoothed, y_mean, law, link="softmax", label_smoothing=smoothing)
    torch.testing.assert_close(got, y)


def test_options_of_the_prediction(images):
    net, x, stats = images
    law = Beta(1.0)
    made = {
        (i, o): RescaledModel(net, stats, law, inputs=i, outputs=o)(x)
        for i in ("shrink", "keep", "both")
        for o in ("scale", "keep")
    }
    shrunk = net(mixreg.shrink(x, stats.x_mean, law))
    torch.testing.assert_close(made["keep", "keep"], net(x))
    torch.testing.assert_close(made["shrink", "keep"], shrunk)
    outputs_only = mixreg.unshrink(net(x), stats.y_mean, law)
    torch.testing.assert_close(made["keep", "scale"], outputs_only)
    torch.testing.assert_close(made["both", "scale"], (made["shrink", "scale"] + outputs_only) / 2)


@pytest.mark.parametrize(
    "recipe",
    [
        Beta(0.3),
        r.Recipe(Beta(1.0), Constant(1.0), 0.1),
        r.from_timm({"mixup_alpha": 0.8, "cutmix_alpha": 1.0}, image_size=SIZE),
        r.from_timm({"mixup_alpha": 0.0, "cutmix_minmax": (0.2, 0.8)}, image_size=SIZE),
    ],
)
def test_recipes_and_options_travel_in_the_state(recipe, images):
    net, x, stats = images
    model = RescaledModel(net, stats, recipe, inputs="both")
    other = RescaledModel(net, stats, Beta(2.0))
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(x), model(x))
    assert other.inputs == "both"


@pytest.mark.parametrize("inputs", ["shrink", "keep"])
@pytest.mark.parametrize("outputs", ["scale", "keep"])
def test_folding_follows_the_options(inputs, outputs, images):
    net, x, stats = images
    recipe = r.Recipe(Beta(1.0), Beta(0.5), 0.1)
    model = RescaledModel(net, stats, recipe, inputs=inputs, outputs=outputs)
    torch.testing.assert_close(model.fold()(x), model(x))


def test_maps_and_two_views_do_not_fold(images):
    net, _, stats = images
    boxes = r.from_timm({"mixup_alpha": 0.0, "cutmix_alpha": 1.0}, image_size=SIZE)
    for model in (
        RescaledModel(net, stats, boxes, inputs="shrink"),
        RescaledModel(net, stats, Beta(1.0), inputs="both"),
    ):
        with pytest.raises(ValueError, match="only one shrinkage of all inputs folds"):
            model.fold()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((Beta(1.0),), {"inputs": "halve"}, "inputs must be one of"),
        ((Beta(1.0),), {"outputs": "drop"}, "outputs must be one of"),
        ((r.Recipe(Beta(1.0), Beta(1.0), 0.1), "identity"), {}, "no label smoothing"),
    ],
)
def test_refused_options(arguments, options, message, images):
    net, _, stats = images
    with pytest.raises(ValueError, match=message):
        RescaledModel(net, stats, *arguments, **options)


def test_a_recipe_for_another_image_size_is_refused(images):
    net, x, stats = images
    recipe = r.from_timm({"mixup_alpha": 0.0, "cutmix_alpha": 1.0}, image_size=(8, 8))
    with pytest.raises(ValueError, match="mixes images of 8, 8 pixels"):
        RescaledModel(net, stats, recipe, inputs="shrink")(x)


# -- schedules -------------------------------------------------------------------------------------


def test_a_schedule_ends_as_its_last_epochs_and_warns_where_these_did_not_mix():
    high, low, none = Beta(1.0), Beta(0.4).with_probability(0.5), Constant(1.0)
    assert r.scheduled([high, low]) == r.Recipe(low, low)
    assert r.scheduled([none, none]) == r.Recipe(none, none)
    with pytest.warns(UserWarning, match="after epoch 2: in the last 1 of 3 epochs .* .ended_as"):
        recipe = r.scheduled([high, low, none])
    timms = r.from_timm({"mixup": 0.4, "mixup_prob": 0.5, "mixup_off_epoch": 2, "epochs": 3})
    assert recipe.label_law.shrinkage == pytest.approx(timms.label_law.shrinkage)
    assert recipe.notes == timms.notes
    assert recipe.ended_as.label_law.shrinkage == timms.ended_as.label_law.shrinkage == 0
