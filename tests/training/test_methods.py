"""The objective of each method against its formula written out, on a fixed batch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mixreg import (
    Beta,
    ConfigurationError,
    Constant,
    Mixup,
    TrainingStatistics,
    mixture,
    mixup_risk,
)
from mixreg.losses import cross_entropy
from mixreg.models import build
from mixreg.perturbation import perturb
from mixreg.risk.exact import folded_rule
from mixreg.training import METHODS, TrainConfig
from mixreg.training.load import training_targets
from mixreg.training.methods import (
    MARGIN,
    Ingredients,
    TwoWeights,
    decouple,
    draw_two_weights,
    ends_of_blocks,
    mix_twice,
)

LAW = Beta(0.7)


@pytest.fixture
def batch():
    source = torch.Generator().manual_seed(0)
    x = torch.randn(16, 5, generator=source, dtype=torch.float64)
    labels = torch.randint(3, (16,), generator=source)
    stats = TrainingStatistics.from_tensors(x, labels, num_classes=3)
    return nn.Linear(5, 3).double(), x, nn.functional.one_hot(labels, 3).double(), stats


def _objective(method, stats, *, seed=1, law=LAW, **settings):
    generator = torch.Generator().manual_seed(seed)
    made = Ingredients("cross_entropy", law, stats, generator, **settings)
    return METHODS[method].objective(made)


def _cross_entropy(y, u):
    return -(y * (u - u.logsumexp(1, keepdim=True))).sum(1).mean()


@pytest.mark.parametrize("method", ["erm", "dropout", "spectral"])
def test_the_empirical_risk(batch, method):
    net, x, y, stats = batch
    value = _objective(method, stats)(net, x, y).value
    torch.testing.assert_close(value, _cross_entropy(y, net(x)))


def test_the_modified_risk(batch):
    net, x, y, stats = batch
    t = LAW.theta_mean
    shrunk_x, shrunk_y = x.mean(0) + t * (x - x.mean(0)), y.mean(0) + t * (y - y.mean(0))
    value = _objective("modified", stats)(net, x, y).value
    torch.testing.assert_close(value, _cross_entropy(shrunk_y, net(shrunk_x)))


@pytest.mark.parametrize("smoothing", [None, 0.0, 0.3])
def test_label_smoothing(batch, smoothing):
    net, x, y, stats = batch
    epsilon = 1 - LAW.theta_mean if smoothing is None else smoothing
    value = _objective("label-smoothing", stats, smoothing=smoothing)(net, x, y).value
    expected = _cross_entropy((1 - epsilon) * y + epsilon * y.mean(0), net(x))
    torch.testing.assert_close(value, expected)


def test_mixup_is_unbiased_for_the_mixup_risk(batch):
    net, x, y, stats = batch
    objective = _objective("mixup", stats)
    with torch.no_grad():
        draws = torch.stack([objective(net, x, y).value for _ in range(4000)])
        rule = LAW.quadrature(40)
        exact = sum(
            w * _cross_entropy(t * y[i] + (1 - t) * y, net(t * x[i] + (1 - t) * x))
            for i in range(len(x))
            for t, w in zip(rule.nodes, rule.weights, strict=True)
        ) / len(x)
    assert abs(draws.mean() - exact) < 4 * draws.std() / len(draws) ** 0.5


class TestRegMixup:
    """Clean and mixed examples in one batch."""

    @pytest.mark.parametrize("per", ["sample", "batch"])
    def test_it_is_the_mean_of_the_two_losses_from_one_pass(self, batch, per):
        net, x, y, stats = batch
        seen = []
        net.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
        value = _objective("regmixup", stats, per=per)(net, x, y).value
        assert seen == [32]
        mixed = _objective("mixup", stats, per=per)(net, x, y).value
        expected = (_cross_entropy(y, net(x)) + mixed) / 2
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)

    def test_it_is_unbiased_for_the_mixup_risk_of_the_law_it_has_learned(self, batch):
        net, x, y, stats = batch
        objective, law = _objective("regmixup", stats), METHODS["regmixup"].learned(LAW).label_law
        assert law.shrinkage == pytest.approx(LAW.shrinkage / 2, rel=1e-12)
        with torch.no_grad():
            draws = torch.stack([objective(net, x, y).value for _ in range(4000)])
        exact = mixup_risk(net, x, y, "cross_entropy", law)
        assert abs(draws.mean() - exact) < 4 * draws.std() / len(draws) ** 0.5


class TestUnshrunk:
    """Mixup with its inputs stretched back."""

    def test_it_is_the_loss_at_the_stretched_inputs(self, batch):
        net, x, y, stats = batch
        value = _objective("unshrunk", stats)(net, x, y).value
        mixed = Mixup(LAW, generator=torch.Generator().manual_seed(1))(x, y)
        stretched = x.mean(0) + (mixed.inputs - x.mean(0)) / LAW.theta_mean
        torch.testing.assert_close(value, _cross_entropy(mixed.targets, net(stretched)))

    def test_it_is_mixup_of_the_network_at_stretched_inputs(self, batch):
        """So that its minimiser at x̄ + (x − x̄) is mixup's at x̄ + θ̄ (x − x̄)."""
        net, x, y, stats = batch
        mean, theta_mean = x.mean(0), LAW.theta_mean

        def inner(z):
            return net(mean + (z - mean) / theta_mean)

        value = _objective("unshrunk", stats)(net, x, y).value
        torch.testing.assert_close(value, _objective("mixup", stats)(inner, x, y).value)
        assert METHODS["unshrunk"].learned(LAW).input_law == Constant(1.0)

    def test_inputs_keep_their_mean(self, batch):
        """Of θ x_i + (1 − θ) x_j, the folded example i: E over θ and j is x_i (Theorem 1)."""
        _, x, _, stats = batch
        law, mean = mixture([(0.3, Constant(0.55)), (0.7, Constant(0.9))]), stats.x_mean
        theta, weights = (values.view(-1, 1, 1) for values in folded_rule(law, 1))
        for row in x[:4]:
            stretched = mean + (theta * row + (1 - theta) * x - mean) / law.theta_mean
            torch.testing.assert_close((weights * stretched).sum(0).mean(0), row)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_what_it_says(batch, name):
    _, x, y, stats = batch
    method = METHODS[name]
    passes = []
    net = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).double()
    net.register_forward_hook(lambda _, inputs, __: passes.append(len(inputs[0])))
    _objective(name, stats)(net, x[: max(method.examples, 4)], y[: max(method.examples, 4)])
    assert sum(passes) <= method.passes * max(method.examples, 4)
    if method.examples > 1:
        with pytest.raises(ValueError, match="example"):
            _objective(name, stats)(net, x[:1], y[:1])


def test_targets_of_one_logit_are_numbers():
    config = TrainConfig(data="two-moons", loss="logistic")
    assert training_targets(torch.tensor([0, 1]), config, 2).tolist() == [[0.0], [1.0]]


class TestDecoupling:
    """MIT-L and MIT-A against their definition."""

    @pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
    def test_weights_are_folded_draws_of_the_law_that_far_apart(self, alpha, generator):
        law = Beta(alpha)
        larger, smaller = draw_two_weights(law, 20_000, generator=generator)
        assert bool((larger >= 0.5).all())
        assert bool((smaller <= 0.5).all())
        assert bool((larger - smaller >= MARGIN).all())
        theta = law.sample_theta(400_000, generator=generator).view(2, -1)
        accepted = theta[:, theta.sum(0) - 1 >= MARGIN]
        for drawn, expected in ((larger, accepted[0]), (1 - smaller, accepted[1])):
            error = (drawn.var() / len(drawn) + expected.var() / len(expected)).sqrt()
            assert abs(drawn.mean() - expected.mean()) < 4 * error

    @pytest.mark.parametrize("law", [Constant(0.6), Beta(1e4)])
    def test_refuses_a_law_whose_weights_are_never_that_far_apart(self, law, generator):
        with pytest.raises(ConfigurationError, match=r"0\.5 apart.*smaller --alpha"):
            draw_two_weights(law, 8, generator=generator)

    @given(st.floats(0.75, 1), st.floats(0, 0.25), st.integers(0, 100))
    def test_it_inverts_the_mixing_of_outputs(self, larger, smaller, seed):
        source = torch.Generator().manual_seed(seed)
        a, b = torch.randn(2, 3, 4, dtype=torch.float64, generator=source)
        weights = TwoWeights(*(torch.full((3,), w).double() for w in (larger, smaller)))
        w1, w2 = (w[0] for w in weights)
        u_a, u_b = decouple(w1 * a + (1 - w1) * b, w2 * a + (1 - w2) * b, weights)
        torch.testing.assert_close(u_a, a, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(u_b, b, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("per", ["sample", "batch"])
    def test_for_a_linear_network_it_is_the_empirical_risk(self, batch, per):
        net, x, y, stats = batch
        value = _objective("mit-l", stats, law=Beta(1.0), per=per)(net, x, y).value
        torch.testing.assert_close(value, cross_entropy(y, net(x)).mean(), rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize(("per", "distinct"), [("sample", 16), ("batch", 2)])
    def test_inputs_are_two_mixes_of_each_example_with_one_partner(self, batch, per, distinct):
        inputs = []
        net = nn.Linear(8, 2).double()
        net.register_forward_hook(lambda _, x, __: inputs.append(x[0]))
        x, y = torch.eye(8, dtype=torch.float64), torch.eye(2, dtype=torch.float64).repeat(4, 1)
        _objective("mit-l", batch[3], law=Beta(1.0), per=per)(net, x, y)
        first, second = inputs[0].chunk(2)
        own = torch.cat([first.diagonal(), second.diagonal()])
        assert bool((first.diagonal() >= 0.5).all())
        assert bool((second.diagonal() <= 0.5).all())
        assert len(own.unique()) == distinct
        torch.testing.assert_close(inputs[0].sum(1), torch.ones(16, dtype=torch.float64))
        assert bool((((first > 0) | (second > 0)).sum(1) <= 2).all())

    @pytest.mark.parametrize("per", ["sample", "batch"])
    def test_between_blocks_it_is_written_out(self, batch, per):
        _, x, y, stats = batch
        first, last = nn.Linear(5, 8).double(), nn.Linear(8, 3).double()
        value = _objective("mit-a", stats, law=Beta(1.0), per=per)(
            nn.Sequential(first, nn.ReLU(), last), x, y
        ).value
        source = torch.Generator().manual_seed(1)
        shift = int(torch.randint(16, (), generator=source))
        n = 1 if per == "batch" else 16
        a, b = x, x.roll(-shift, 0)
        for layer in (lambda z: first(z).relu(), last):
            larger, smaller = draw_two_weights(Beta(1.0), n, generator=source)
            w1, w2 = larger.unsqueeze(1), smaller.unsqueeze(1)
            u1, u2 = layer(w1 * a + (1 - w1) * b), layer(w2 * a + (1 - w2) * b)
            a = ((1 - w2) * u1 - (1 - w1) * u2) / (w1 - w2)
            b = (w1 * u2 - w2 * u1) / (w1 - w2)
        expected = (_cross_entropy(y, a) + _cross_entropy(y.roll(-shift, 0), b)) / 2
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-10)

    def test_for_linear_blocks_it_is_the_empirical_risk(self, batch):
        _, x, y, stats = batch
        identity = nn.LeakyReLU(1.0)
        net = nn.Sequential(nn.Linear(5, 8), identity, nn.Linear(8, 8), identity, nn.Linear(8, 3))
        net = net.double()
        value = _objective("mit-a", stats, law=Beta(1.0))(net, x, y).value
        torch.testing.assert_close(value, cross_entropy(y, net(x)).mean(), rtol=1e-10, atol=1e-10)
        assert not identity._forward_hooks

    @pytest.mark.parametrize(
        ("model", "shape", "expected"),
        [
            ("mlp", (1, 8, 8), ["hidden.1", "hidden.4"]),
            ("lenet", (1, 28, 28), ["features.2", "features.5", "classifier.3", "classifier.6"]),
            ("resnet20", (3, 8, 8), ["relu", "layer1", "layer2", "layer3"]),
            (
                "torchvision/resnet18",
                (3, 32, 32),
                ["relu", "layer1", "layer2", "layer3", "layer4"],
            ),
        ],
    )
    def test_blocks_end_with_activations_and_stages(self, model, shape, expected):
        net = build(model, input_shape=shape, num_outputs=3)
        names = {module: name for name, module in net.named_modules()}
        assert [names[end] for end in ends_of_blocks(net)] == expected

    def test_images_are_taken_apart_too(self, generator):
        a, b = torch.randn(2, 4, 3, 2, 2, dtype=torch.float64, generator=generator)
        weights = draw_two_weights(Beta(1.0), 4, generator=generator)
        parts = decouple(*mix_twice(a, b, weights).chunk(2), weights)
        for part, expected in zip(parts, (a, b), strict=True):
            torch.testing.assert_close(part, expected, rtol=1e-12, atol=1e-12)

    def test_refuses_a_network_without_blocks(self, batch):
        net, x, y, stats = batch
        with pytest.raises(ConfigurationError, match="Linear has none among its layers; use mit-l"):
            _objective("mit-a", stats, law=Beta(1.0))(net, x, y)

    def test_refuses_a_block_that_returns_no_batch(self, batch):
        class Half(nn.ReLU):
            def forward(self, x):
                return x[::2]

        _, x, y, stats = batch
        net = nn.Sequential(nn.Linear(5, 3).double(), Half())
        with pytest.raises(ConfigurationError, match="Half returns no tensor with one row"):
            _objective("mit-a", stats, law=Beta(1.0))(net, x, y)
        assert not net[1]._forward_hooks


@pytest.mark.parametrize(
    ("method", "inputs", "labels"),
    [
        ("mixup", 0.75, 0.75),
        ("modified", 0.75, 0.75),
        ("regmixup", 0.875, 0.875),
        ("unshrunk", 1.0, 0.75),
    ],
)
def test_what_equation_22_undoes(method, inputs, labels):
    recipe = METHODS[method].learned(Beta(1.0))
    assert METHODS[method].mixes
    assert recipe.input_law.theta_mean == pytest.approx(inputs, rel=1e-12)
    assert recipe.label_law.theta_mean == pytest.approx(labels, rel=1e-12)


def test_the_settings_name_every_method():
    assert [name for name in METHODS if f'"{name}"' not in TrainConfig.__doc__] == []


def test_the_linearized_method_mixes_the_tangent(batch):
    _, x, y, stats = batch
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    value = _objective("linearized", stats)(net, x, y).value
    drawn = perturb(x, y, stats, LAW, "mixup", generator=torch.Generator().manual_seed(1))
    inputs = stats.x_mean + LAW.theta_mean * (x - stats.x_mean)
    slopes = torch.stack([torch.autograd.functional.jacobian(net, row) for row in inputs])
    moved = net(inputs) + torch.einsum("nkd,nd->nk", slopes, drawn.inputs - inputs)
    torch.testing.assert_close(value, _cross_entropy(drawn.targets, moved))
    assert value > 0


def test_the_tangent_of_a_linear_network_is_the_network(batch):
    net, x, y, stats = batch
    value = _objective("linearized", stats)(net, x, y).value
    drawn = perturb(x, y, stats, LAW, "mixup", generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(value, _cross_entropy(drawn.targets, net(drawn.inputs)))
