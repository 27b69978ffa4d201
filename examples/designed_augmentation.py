"""From a regularizer to the augmentation: a Jacobian penalty along chosen directions, by noise.

Wanted: a classifier of digits whose outputs do not follow the light, so a penalty on ∇f·a for three
directions a: brightness, and light from the side or from above. By equation 12 the penalty is the
R1 of a perturbation with Σ_xx = v Σ_a a aᵀ; it is drawn, added to the images, and the penalty comes
without any derivative. The trained networks are then asked whether they obey, on test images.
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import mixreg
from mixreg.evaluation import mean_interval

SEEDS, VARIANCE = range(5), 4.0
pixels, digit = load_digits(return_X_y=True)
x, y = torch.tensor(pixels).float() / 16, torch.tensor(digit)
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
(x_train, x_test), (y_train, y_test) = x[order].split([1000, 797]), y[order].split([1000, 797])

ramp = torch.linspace(-1, 1, 8)
light = torch.stack([torch.ones(8, 8), ramp.expand(8, 8), ramp.expand(8, 8).T]).flatten(1)
light = nn.functional.normalize(light)  # orthonormal, as the three are orthogonal
names = ("brightness", "from the side", "from above", "another one")
perturbation = mixreg.design_perturbation(light, torch.full((3,), VARIANCE))


def train(seed: int, *, augmented: bool) -> nn.Module:
    """A small network, trained under the perturbation or without it."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.003)
    g = torch.Generator().manual_seed(seed)
    for _ in range(25):
        for rows in torch.randperm(len(x_train), generator=g).split(100):
            inputs, targets = x_train[rows], y_train[rows]
            if augmented:
                inputs, targets = perturbation.perturb(inputs, targets, generator=g)
            loss = nn.functional.cross_entropy(net(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net


def squared_slope(net: nn.Module, a: Tensor) -> float:
    """‖∇f·a‖² on average over the test images."""
    none = torch.zeros(len(x_test), 10)
    q = mixreg.directional_curvature(
        net, x_test, none, a.expand_as(x_test), none, "squared_error", second_order=False
    )
    return 2 * q.quadratic.mean().item()


def accuracy(net: nn.Module, a: Tensor) -> float:
    """Accuracy on test images with one unit of a direction added."""
    with torch.no_grad():
        return (net(x_test + 2 * a).argmax(1) == y_test).float().mean().item()


# Of the squared error R1 is the penalty itself, half the squared slopes times their variance.
first = train(0, augmented=False)
zeros = torch.zeros(len(x_test), 10)
r1 = mixreg.approximate_perturbed_risk(first, x_test, zeros, "squared_error", perturbation).r1
penalty = VARIANCE / 2 * sum(squared_slope(first, a) for a in light)
print(f"R1 of the perturbation {r1:.4f}, penalty that was wanted {penalty:.4f}")
assert abs(r1 - penalty) < 1e-4 * penalty

# A direction that was not chosen is a control: a random one, orthogonal to the three.
other = torch.randn(64, generator=torch.Generator().manual_seed(1))
other = nn.functional.normalize(other - light.T @ (light @ other), dim=0)
plain, noisy = ([train(seed, augmented=on) for seed in SEEDS] for on in (False, True))
print(f"ln of the ratio of mean ‖∇f·a‖², with augmentation to without; n = {len(SEEDS)} seeds")
for name, a in zip(names, [*light, other], strict=True):
    before, after = ([squared_slope(net, a) for net in nets] for nets in (plain, noisy))
    logs = [torch.tensor(q / p).log().item() for p, q in zip(before, after, strict=True)]
    mean, half, n = mean_interval(logs)
    print(f"{name:14} {mean:+.2f} ± {half:.2f} (95%), {torch.tensor(mean).exp().item():.3f}-fold")
    assert half is not None
    assert name == "another one" or mean + half < 0, "the augmentation must lower the slope"
for name, a in zip(("as they are", *names), [0 * other, *light, other], strict=True):
    shares = [sum(accuracy(net, a) for net in nets) / len(SEEDS) for nets in (plain, noisy)]
    print(f"accuracy, {name:14} {shares[0]:.3f} without, {shares[1]:.3f} with augmentation")
