"""timm's training loop with `mixreg.Mixup` in place of `timm.data.Mixup`.

The calls are the same, and so is the line that ends mixing before the last epochs. Odd batches are
mixed too, draws are seeded, the batch that is given is not changed, and labels are not smoothed
unless the loss does it.
"""

import warnings

import timm
import torch
from sklearn.datasets import load_digits
from timm.loss import SoftTargetCrossEntropy
from torch.utils.data import DataLoader, TensorDataset

import mixreg
from mixreg.recipes import scheduled

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
order = torch.randperm(len(labels))
x, y = torch.tensor(images).float()[order].view(-1, 1, 8, 8) / 16, torch.tensor(labels)[order]
x = torch.nn.functional.interpolate(x, scale_factor=4)
loader = DataLoader(TensorDataset(x[:1347], y[:1347]), 64, shuffle=True)
x_test, y_test = x[1347:], y[1347:]
model = timm.create_model("test_resnet", in_chans=1, num_classes=10)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

law, epochs, off_epoch = mixreg.Beta(0.8), 5, 4
mixup_fn = mixreg.Mixup(law, 10).transform  # timm.data.Mixup(mixup_alpha=0.8, num_classes=10)
train_loss_fn = SoftTargetCrossEntropy()
for epoch in range(epochs):
    if epoch >= off_epoch:
        mixup_fn.mixup_enabled = False
    for images, labels in loader:
        inputs, targets = mixup_fn(images, labels)
        loss = train_loss_fn(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

stats = mixreg.TrainingStatistics.from_loader(loader, 10)
with warnings.catch_warnings(action="ignore"):  # that the last epoch was not mixed
    recipe = scheduled([law] * off_epoch + [mixreg.Constant(1.0)] * (epochs - off_epoch))
accuracies = {}
for name, answer in (("as mixed", recipe), ("as it ended, unmixed", recipe.ended_as)):
    with torch.no_grad():
        logits = mixreg.RescaledModel(model, stats, answer).eval()(x_test)
        nll = torch.nn.functional.cross_entropy(logits, y_test)
        raw = model(x_test)
    accuracies[name] = (logits.argmax(1) == y_test).float().mean().item()
    print(f"{name:20} accuracy {accuracies[name]:.4f}  NLL {nll:.4f}")
torch.testing.assert_close(logits, raw)  # without mixing, the rescaled prediction is the raw one
assert min(accuracies.values()) > 0.8
