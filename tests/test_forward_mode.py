"""u, u̇, f̈ and their gradients for every common layer, against reverse mode applied twice or more.

PyTorch's own forward mode has the right values but, for normalization layers, wrong gradients;
the oracle differentiates the layers written in elementary operations, in reverse only.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from mixreg._errors import MixregError
from mixreg.curvature import directional_derivatives

VECTORS, IMAGES, SEQUENCES, SIGNALS, VOLUMES = (
    (5, 8),
    (4, 4, 6, 6),
    (3, 6, 8),
    (3, 4, 9),
    (2, 4, 3, 4, 4),
)


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def attention(x, **options):
    q, k, v = x[:, None], 2 * x.sin()[:, None], x.flip(1)[:, None]
    return functional.scaled_dot_product_attention(q, k, v, **options)


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


class FirstOutput(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)[0]


class TiedWeights(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x):
        return functional.linear(self.layer(self.layer(x).tanh()), self.layer.weight.T)


class InplaceResidual(nn.Module):
    """The in-place ReLU must be seen by the sum after it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x):
        h = self.layer(x)
        return self.layer(functional.relu(h, inplace=True)) + h


class Hypernetwork(nn.Module):
    """Weights that themselves depend on the inputs."""

    def forward(self, x):
        return functional.linear(x, x.sin(), x[:, 0])


def transformer(**options):
    return nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True, **options)


LAYERS = {
    "linear": (lambda: nn.Linear(8, 3), VECTORS),
    "conv1d": (lambda: nn.Conv1d(4, 3, 3), SIGNALS),
    "conv2d": (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), IMAGES),
    "conv2d same": (lambda: nn.Conv2d(4, 3, 3, padding="same", bias=False), IMAGES),
    "conv3d": (lambda: nn.Conv3d(4, 2, 2), VOLUMES),
    "conv transpose": (lambda: nn.ConvTranspose2d(4, 3, 3, stride=2), IMAGES),
    "batch norm 1d": (lambda: nn.BatchNorm1d(8), VECTORS),
    "batch norm 2d": (lambda: nn.BatchNorm2d(4), IMAGES),
    "batch norm plain": (lambda: nn.BatchNorm2d(4, affine=False, momentum=None), IMAGES),
    "batch norm untracked": (lambda: nn.BatchNorm2d(4, track_running_stats=False), IMAGES),
    "batch norm 3d": (lambda: nn.BatchNorm3d(4), VOLUMES),
    "batch norm eval": (lambda: nn.BatchNorm2d(4).eval(), IMAGES),
    "layer norm": (lambda: nn.LayerNorm(8), VECTORS),
    "layer norm of images": (lambda: nn.LayerNorm([4, 6, 6]), IMAGES),
    "layer norm plain": (lambda: nn.LayerNorm(8, elementwise_affine=False), VECTORS),
    "group norm": (lambda: nn.GroupNorm(2, 4), IMAGES),
    "instance norm": (lambda: nn.InstanceNorm2d(4), IMAGES),
    "instance norm affine": (
        lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        IMAGES,
    ),
    "relu": (lambda: nn.Sequential(nn.Linear(8, 8), nn.ReLU()), VECTORS),
    "relu inplace": (InplaceResidual, VECTORS),
    "leaky relu": (nn.LeakyReLU, VECTORS),
    "prelu": (nn.PReLU, VECTORS),
    "elu": (nn.ELU, VECTORS),
    "gelu": (nn.GELU, VECTORS),
    "gelu tanh": (lambda: nn.GELU("tanh"), VECTORS),
    "silu": (nn.SiLU, VECTORS),
    "silu inplace": (lambda: Lambda(lambda x: functional.silu(x * 1, inplace=True)), VECTORS),
    "mish": (nn.Mish, VECTORS),
    "softplus": (nn.Softplus, VECTORS),
    "hardswish": (nn.Hardswish, VECTORS),
    "hardsigmoid": (nn.Hardsigmoid, VECTORS),
    "hardsigmoid inplace": (lambda: Lambda(lambda x: functional.hardsigmoid(x * 1, True)), VECTORS),
    "tanh": (nn.Tanh, VECTORS),
    "sigmoid": (nn.Sigmoid, VECTORS),
    "glu": (nn.GLU, VECTORS),
    "softmax": (lambda: nn.Softmax(1), VECTORS),
    "log softmax": (lambda: nn.LogSoftmax(1), VECTORS),
    "logsumexp": (lambda: Lambda(lambda x: x.logsumexp(1)), VECTORS),
    "max pool": (lambda: nn.MaxPool2d(3, 2, 1), IMAGES),
    "average pool": (lambda: nn.AvgPool2d(2), IMAGES),
    "adaptive pool": (lambda: nn.AdaptiveAvgPool2d(1), IMAGES),
    "adaptive max pool": (lambda: nn.AdaptiveMaxPool2d(2), IMAGES),
    "upsample": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), IMAGES),
    "dropout": (lambda: nn.Dropout(0.5), VECTORS),
    "dropout of channels": (lambda: nn.Dropout2d(0.5), IMAGES),
    "attention": (lambda: Lambda(attention), SEQUENCES),
    "causal attention": (lambda: Lambda(lambda x: attention(x, is_causal=True)), SEQUENCES),
    "self-attention": (SelfAttention, SEQUENCES),
    "transformer": (transformer, SEQUENCES),
    "transformer pre-norm": (lambda: transformer(activation="gelu", norm_first=True), SEQUENCES),
    "gru": (lambda: FirstOutput(nn.GRU(8, 5, batch_first=True)), SEQUENCES),
    "lstm": (lambda: FirstOutput(nn.LSTM(8, 5, batch_first=True)), SEQUENCES),
    "normalize": (lambda: Lambda(functional.normalize), VECTORS),
    "norm": (lambda: Lambda(lambda x: x / x.norm(dim=1, keepdim=True)), VECTORS),
    "norm of all": (lambda: Lambda(lambda x: x / torch.norm(x)), VECTORS),
    "linalg norm": (lambda: Lambda(lambda x: x / torch.linalg.norm(x, ord="fro")), VECTORS),
    "vector norm": (lambda: Lambda(lambda x: torch.linalg.vector_norm(x, dim=1)), VECTORS),
    "1-norm": (lambda: Lambda(lambda x: x.norm(p=1, dim=1)), VECTORS),
    "deviation": (lambda: Lambda(lambda x: x / x.std(1, keepdim=True)), VECTORS),
    "deviation, mean": (lambda: Lambda(lambda x: torch.std_mean(x, 1, correction=0)[0]), VECTORS),
    "cosine": (lambda: Lambda(lambda x: functional.cosine_similarity(x, x.sin())), VECTORS),
    "distance": (lambda: Lambda(lambda x: functional.pairwise_distance(x, x.sin())), VECTORS),
    "tied weights": (TiedWeights, VECTORS),
    "hypernetwork": (Hypernetwork, VECTORS),
    "spectral norm": (
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(8, 3)).eval(),
        VECTORS,
    ),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(8, 3)), VECTORS),
}


def normalized(x, dims):
    centred = x - x.mean(dims, keepdim=True)
    return centred / (centred.square().mean(dims, keepdim=True) + 1e-5).sqrt()


def elementary_batch_norm(layer, x):
    if not layer.training:
        return functional.batch_norm(
            x, layer.running_mean, layer.running_var, layer.weight, layer.bias
        )
    return scaled(layer, normalized(x, [d for d in range(x.ndim) if d != 1]))


def elementary_instance_norm(layer, x):
    return scaled(layer, normalized(x, list(range(2, x.ndim))))


def elementary_layer_norm(layer, x):
    y = normalized(x, list(range(-len(layer.normalized_shape), 0)))
    return y if layer.weight is None else y * layer.weight + layer.bias


def scaled(layer, y):
    shape = [1, -1] + [1] * (y.ndim - 2)
    return y if layer.weight is None else y * layer.weight.view(shape) + layer.bias.view(shape)


@pytest.fixture
def elementary(monkeypatch):
    """Layers in elementary operations, whose reverse derivatives of any order are right."""

    def apply():
        batch, instance = nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm
        monkeypatch.setattr(batch, "forward", elementary_batch_norm)
        monkeypatch.setattr(instance, "forward", elementary_instance_norm)
        monkeypatch.setattr(nn.LayerNorm, "forward", elementary_layer_norm)
        monkeypatch.setattr(functional, "glu", lambda x, dim: torch.mul(*gated(x, dim)))
        monkeypatch.setattr(functional, "hardsigmoid", lambda x, *_: functional.relu6(x + 3) / 6)

    return apply


def gated(x, dim):
    passed, gate = x.chunk(2, dim)
    return passed, gate.sigmoid()


def reverse_derivatives(net, x, v, order):
    """Derivatives along v by the double-backward trick: d/dw of (∂u/∂x)ᵀw·v."""
    results = [net(x)]
    for _ in range(order):
        if not results[-1].requires_grad:
            results.append(torch.zeros_like(results[-1]))
            continue
        w = torch.zeros_like(results[-1], requires_grad=True)
        (g,) = torch.autograd.grad(results[-1], x, w, create_graph=True, materialize_grads=True)
        product = (g * v).sum()
        results.append(
            torch.autograd.grad(product, w, create_graph=True, materialize_grads=True)[0]
            if product.requires_grad
            else torch.zeros_like(w)
        )
    return results


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", LAYERS)
def test_values_and_gradients(name, order, elementary):
    make, shape = LAYERS[name]
    torch.manual_seed(0)
    net = make().double()
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    v = torch.randn(shape, dtype=torch.float64)
    torch.manual_seed(1)
    got = directional_derivatives(net, x, v, second_order=order == 2)[: order + 1]
    torch.manual_seed(1)
    elementary()
    with sdpa_kernel(SDPBackend.MATH):
        expected = reverse_derivatives(net, x, v, order)
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    weights = torch.randn(expected[0].shape, dtype=torch.float64)
    leaves = [x, *net.parameters()]
    ours, theirs = (gradients(d, weights, leaves) for d in (got, expected))
    tolerance = 1e-9 * (1 + max(g.abs().max() for g in theirs))
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=tolerance)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return 2 * x

    @staticmethod
    def backward(_, g):
        return 2 * g


def doubled(x):
    return Doubled.apply(x)


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize(
    ("operation", "named"),
    [
        (lambda x: torch.cdist(x, x), "_cdist_forward has"),
        (doubled, r"\(in doubled, .*test_forward_mode.py:\d+\) has"),
        (lambda x: torch.layer_norm(x, (8,)), "torch.layer_norm has"),
    ],
)
def test_an_operation_without_tangent_is_named(operation, named, second_order):
    x = torch.randn(VECTORS)
    with pytest.raises(MixregError, match=f"{named} no usable forward-mode derivative"):
        directional_derivatives(operation, x, x, second_order=second_order)


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("outside", [False, True])
def test_checkpointed_activations_are_refused(second_order, outside):
    """Their second evaluation, in the backward pass, would lack the tangents or draw anew."""
    net = nn.Sequential(nn.Linear(8, 8), nn.Tanh())
    x = torch.randn(VECTORS)

    def derivatives(net):
        return directional_derivatives(net, x, x, second_order=second_order)

    calls = {
        True: lambda: checkpoint(derivatives, net, use_reentrant=False),
        False: lambda: derivatives(lambda x: checkpoint(net, x, use_reentrant=False)),
    }
    with pytest.raises(MixregError, match=r"runs under torch\.utils\.checkpoint.*switch"):
        calls[outside]()


@pytest.mark.parametrize("second_order", [False, True])
def test_other_failures_of_the_network_pass_unchanged(second_order):
    x = torch.randn(VECTORS)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        directional_derivatives(nn.Linear(3, 2), x, x, second_order=second_order)


def gradients(derivatives, weights, leaves):
    """Of a function of all derivatives that is not linear in any."""
    value = sum((weights * d).sum() * k + d.square().sum() for k, d in enumerate(derivatives, 1))
    return torch.autograd.grad(value, leaves, materialize_grads=True)
