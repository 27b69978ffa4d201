"""Inputs, statistics and links that the rescaled prediction refuses."""

import pytest
import torch
from torch import nn

from mixreg import Beta, CheckpointError, RescaledModel, TrainingStatistics, shrink, unshrink

X = torch.linspace(-1, 1, 12).reshape(4, 3)
CLASSES = TrainingStatistics.from_tensors(X, torch.tensor([0, 1, 1, 0]), 2)
ONE_LOGIT = TrainingStatistics.from_tensors(X, torch.tensor([0.0, 1.0, 1.0, 0.0]))
VALUES = TrainingStatistics.from_tensors(X, 5 * X)


def message_alone(value):
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize(
    ("stats", "link", "message"),
    [
        (CLASSES, "probit", "link must be 'softmax', 'sigmoid' or 'identity', got 'probit'"),
        (ONE_LOGIT, "softmax", r"shape \(c,\) with c >= 2, got \(\); for one logit use link='sig"),
        (VALUES, "softmax", "that sum to 1, got 0; for multi-label targets use link='sigmoid'"),
        (VALUES, "sigmoid", r"label means ȳ in \[0, 1\]; for regression use link='identity'"),
    ],
    ids=message_alone,
)
def test_links_that_do_not_fit_the_statistics(stats, link, message):
    with pytest.raises(ValueError, match=message):
        RescaledModel(nn.Linear(3, 2), stats, Beta(1.0), link)


@pytest.mark.parametrize(
    ("net", "stats", "link", "message"),
    [
        (nn.Linear(3, 5), CLASSES, "softmax", r"targets of shape \(n, 2\).*have shape \(4, 5\)"),
        (nn.Linear(3, 1), CLASSES, "sigmoid", r"have shape \(4, 1\).*one logit: floating labels"),
        (nn.Linear(3, 2), ONE_LOGIT, "sigmoid", r"\(n, no further axis\).*have shape \(4, 2\)"),
        (
            nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)),
            CLASSES,
            "softmax",
            r"needs outputs of shape \(n, c\), got \(4,\); for one logit use link='sigmoid'",
        ),
        (
            nn.Unflatten(1, (3, 1)),
            CLASSES,
            "softmax",
            r"needs outputs of shape \(n, c\), got \(4, 3, 1\)",
        ),
    ],
    ids=message_alone,
)
def test_outputs_that_do_not_fit(net, stats, link, message):
    with pytest.raises(ValueError, match=message):
        RescaledModel(net, stats, Beta(1.0), link)(X)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (X[:, :2], ValueError, r"inputs of shape \(n, 3\), got \(4, 2\); measure them on the inp"),
        (X.reshape(4, 3, 1), ValueError, r"got \(4, 3, 1\)"),
        (X[0], ValueError, r"got \(3,\)"),
        (torch.tensor(1.0), ValueError, r"got \(\)"),
        (X.byte(), TypeError, "inputs must be floating point, got torch.uint8; convert and norm"),
    ],
    ids=message_alone,
)
def test_inputs_that_do_not_fit(x, error, message):
    with pytest.raises(error, match=message):
        RescaledModel(nn.Linear(3, 2), CLASSES, Beta(1.0))(x)
    with pytest.raises(error, match=message):
        shrink(x, CLASSES.x_mean, Beta(1.0))


def test_networks_that_end_in_a_softmax_draw_one_warning():
    model = RescaledModel(nn.Sequential(nn.Linear(3, 2), nn.Softmax(1)), CLASSES, Beta(1.0))
    with pytest.warns(UserWarning, match="as probabilities do; this needs logits") as caught:
        model(X), model(X)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    logits = RescaledModel(nn.Sequential(nn.Linear(3, 2), nn.LogSoftmax(1)), CLASSES, Beta(1.0))
    logits(X)


def test_models_with_several_outputs():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(TypeError, match="one floating-point tensor, got tuple; wrap the model"):
        RescaledModel(Pair(), VALUES, Beta(1.0), "identity")(X)


def test_models_that_return_class_indices():
    class Decided(nn.Module):
        def forward(self, x):
            return x[:, :2].long()

    with pytest.raises(TypeError, match=r"one floating-point tensor, got torch.int64"):
        RescaledModel(Decided(), CLASSES, Beta(1.0))(X)


def test_a_mean_of_another_shape_is_not_broadcast():
    with pytest.raises(ValueError, match=r"targets of shape \(n, 4\)"):
        unshrink(torch.rand(4), torch.rand(4), Beta(1.0))
    with pytest.raises(ValueError, match="link must be"):
        unshrink(torch.rand(4, 2), torch.rand(2), Beta(1.0), link="logit")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"law": {"law": "cauchy"}, "link": "softmax"}'])
def test_foreign_states(text):
    model = RescaledModel(nn.Linear(3, 2), CLASSES, Beta(1.0))
    state = model.state_dict()
    state["_extra_state"] = torch.tensor(list(text.encode()), dtype=torch.uint8)
    with pytest.raises(CheckpointError, match="no law and link of a RescaledModel"):
        model.load_state_dict(state)
    assert model.law == Beta(1.0)


def test_no_state_and_no_law():
    model = RescaledModel(nn.Linear(3, 2), CLASSES, Beta(1.0))
    with pytest.raises(CheckpointError, match="no law and link of a RescaledModel"):
        model.load_state_dict(model.state_dict() | {"_extra_state": None})
    with pytest.raises(TypeError, match=r"law must be a mixing law such as Beta\(1.0\), got 1.0"):
        RescaledModel(nn.Linear(3, 2), CLASSES, 1.0)


def test_statistics_of_another_shape_in_a_state():
    state = RescaledModel(nn.Linear(3, 2), CLASSES, Beta(1.0)).state_dict()
    state["x_mean"] = torch.zeros(5)
    with pytest.raises(RuntimeError, match="size mismatch for x_mean"):
        RescaledModel(nn.Linear(3, 2), CLASSES, Beta(1.0)).load_state_dict(state)
