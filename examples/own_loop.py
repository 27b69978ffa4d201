"""Mixup and the rescaled prediction in a plain PyTorch loop: a small network on digits.

Prints accuracy and NLL of the raw and of the rescaled prediction, and checks equation 22 against
its formula. Which of the two is better is a question for several seeds: `mixreg compare`.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import mixreg

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
order = torch.randperm(len(labels))
x, y = torch.tensor(images).float()[order] / 16, torch.tensor(labels)[order]
x_train, y_train, x_test, y_test = x[:1347], y[:1347], x[1347:], y[1347:]
loader = DataLoader(TensorDataset(x_train, y_train), batch_size=64, shuffle=True)
net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

law = mixreg.Beta(1.0)
stats = mixreg.TrainingStatistics.from_loader(loader, num_classes=10)
mixup = mixreg.Mixup(law, num_classes=10, generator=torch.Generator().manual_seed(0))

for _ in range(10):
    for inputs, targets in loader:
        batch = mixup(inputs, targets)
        loss = mixreg.cross_entropy(batch.targets, net(batch.inputs)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

model = mixreg.RescaledModel(net, stats, law).eval()

with torch.no_grad():
    raw, rescaled = net(x_test), model(x_test)
for name, logits in (("raw", raw), ("rescaled", rescaled)):
    accuracy = (logits.argmax(1) == y_test).float().mean()
    nll = nn.functional.cross_entropy(logits, y_test)
    print(f"{name:9} accuracy {accuracy:.4f}  NLL {nll:.4f}")

# Equation 22 written out; θ̄ = 3/4 for α = 1.
x_mean, y_mean = stats.x_mean.float(), stats.y_mean.float()
with torch.no_grad():
    by_hand = (net(x_mean + 0.75 * (x_test - x_mean)) - 0.25 * y_mean) / 0.75
torch.testing.assert_close(rescaled, by_hand)
assert (rescaled.argmax(1) == y_test).float().mean() > 0.9
