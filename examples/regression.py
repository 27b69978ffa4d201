"""Regression with mixup: `link="identity"`, and linear models, which mixup leaves unchanged.

A network is trained on scikit-learn's diabetes data, and its raw and rescaled predictions are
compared with a linear model's. For the linear model the Mixup risk is known in closed form
(Corollary 3): its minimiser is ordinary least squares, and rescaling does not change it.
"""

import torch
from sklearn.datasets import load_diabetes
from torch import Tensor, nn

import mixreg
from mixreg.risk import linear_mixup_risk

torch.manual_seed(0)
features, progression = load_diabetes(return_X_y=True)
x, y = torch.tensor(features).float(), torch.tensor(progression).float().unsqueeze(1)
order = torch.randperm(len(x))
x, y = x[order] / x.std(0), (y[order] - y.mean()) / y.std()
x_train, y_train, x_test, y_test = x[:342], y[:342], x[342:], y[342:]

law = mixreg.Beta(1.0)
stats = mixreg.TrainingStatistics.from_tensors(x_train, y_train)
mixup = mixreg.Mixup(law, generator=torch.Generator().manual_seed(0))
net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1))
optimizer = torch.optim.Adam(net.parameters(), lr=0.003)
for _ in range(100):
    for rows in torch.randperm(len(x_train)).split(57):
        batch = mixup(x_train[rows], y_train[rows])
        loss = mixreg.squared_error(batch.targets, net(batch.inputs)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def rescaled(f: nn.Module) -> nn.Module:
    """Equation 22 in the space of the values."""
    return mixreg.RescaledModel(f, stats, law, link="identity")


def test_error(f: nn.Module) -> Tensor:
    """Mean squared error on the test data, in variances of the target."""
    with torch.no_grad():
        return (f(x_test) - y_test).square().mean()


linear = nn.Linear(10, 1)
solution = torch.linalg.lstsq(torch.cat([x_train, torch.ones(342, 1)], 1), y_train).solution
linear.load_state_dict({"weight": solution[:10].T, "bias": solution[10]})
linear.requires_grad_(False)
for name, f in (("network", net), ("least squares", linear)):
    print(f"{name:13}  raw {test_error(f):.4f}  rescaled {test_error(rescaled(f)):.4f}")

# Least squares predicts the same raw and rescaled, and no nearby weight has a lower Mixup risk.
torch.testing.assert_close(rescaled(linear)(x_test), linear(x_test), rtol=0, atol=1e-4)
least = linear_mixup_risk(linear.weight, linear.bias, x_train, y_train, law)
for _ in range(20):
    weight = linear.weight + 0.01 * torch.randn(1, 10)
    assert linear_mixup_risk(weight, linear.bias, x_train, y_train, law) > least
assert test_error(rescaled(net)) < 1
