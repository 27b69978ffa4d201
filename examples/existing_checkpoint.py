"""Rescale a classifier that another library trained with mixup, without training it again.

What is needed: the checkpoint, the recipe's law of λ, and one pass over the training data as the
network saw them (normalised and augmented, but not mixed).
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import v2

import mixreg
from mixreg.calibration import apply_temperature, fit_temperature
from mixreg.evaluation import metrics


def make_network() -> nn.Module:
    """A small convolutional network on 8×8 images."""
    features = (nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    return nn.Sequential(*features, nn.Linear(256, 10))


def train_elsewhere(loader: DataLoader[tuple[Tensor, ...]], path: Path) -> None:
    """Someone's training script: torchvision's MixUp, one λ ~ Beta(1, 1) for each batch."""
    net, mixup = make_network(), v2.MixUp(alpha=1.0, num_classes=10)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(10):
        for batch in loader:
            inputs, targets = mixup(*batch)
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(inputs), targets).backward()
            optimizer.step()
    torch.save(net.state_dict(), path)


torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
order = torch.randperm(len(labels))
x, y = torch.tensor(images).float()[order].reshape(-1, 1, 8, 8) / 16, torch.tensor(labels)[order]
loader = DataLoader(TensorDataset(x[:1147], y[:1147]), batch_size=64, shuffle=True)
x_held_out, y_held_out, x_test, y_test = x[1147:1347], y[1147:1347], x[1347:], y[1347:]

with TemporaryDirectory() as folder:
    checkpoint = Path(folder) / "checkpoint.pt"
    train_elsewhere(loader, checkpoint)
    net = make_network()
    net.load_state_dict(torch.load(checkpoint, weights_only=True))

law = mixreg.Beta(1.0)
stats = mixreg.TrainingStatistics.from_loader(loader, num_classes=10)
model = mixreg.RescaledModel(net, stats, law).eval()

with torch.no_grad():
    raw, rescaled = net(x_test), model(x_test)
    temperature = fit_temperature(net(x_held_out), y_held_out)
for name, logits in (
    ("raw", raw),
    ("rescaled", rescaled),
    (f"T = {temperature:.3f}", apply_temperature(raw, temperature)),
):
    m = metrics(logits, y_test)
    print(f"{name:9} accuracy {m.accuracy:.4f}  NLL {m.nll:.4f}  ECE {m.ece:.4f}")
    assert m.accuracy > 0.9

# Mixup left this network too unsure of its predictions: the held-out images ask for T < 1.
assert temperature < 1
