"""Mixup in a LightningModule that knows nothing of it, by a callback, on digits.

The callback measures the training means, mixes the batches of `training_step`, and logs the metrics
of the raw and of the rescaled prediction side by side.
"""

import lightning
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import mixreg
from mixreg.integrations import MixupCallback


class Classifier(lightning.LightningModule):
    """A network on 8×8 images."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """The loss of a batch, whether its labels are class indices or soft."""
        x, y = batch
        return nn.functional.cross_entropy(self.net(x), y)

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """The loss on data that is never mixed."""
        self.log("val_loss", self.training_step(batch, _))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD with momentum."""
        return torch.optim.SGD(self.net.parameters(), lr=0.1, momentum=0.9)


torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
order = torch.randperm(len(labels))
x, y = torch.tensor(images).float()[order] / 16, torch.tensor(labels)[order]
train, test = TensorDataset(x[:1347], y[:1347]), TensorDataset(x[1347:], y[1347:])
module, mixup = Classifier(), MixupCallback(mixreg.Beta(1.0), 10, net="net", seed=0)
trainer = lightning.Trainer(
    max_epochs=10,
    callbacks=[mixup],
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(module, DataLoader(train, 64, shuffle=True), DataLoader(test, 450))
for name, value in trainer.callback_metrics.items():
    print(f"{name:22} {value:.4f}")

model = mixreg.RescaledModel(module.net, mixup.stats, mixup.recipe).eval()
with torch.no_grad():
    nll = nn.functional.cross_entropy(model(x[1347:]), y[1347:])
logged = trainer.callback_metrics
torch.testing.assert_close(nll, logged["val_rescaled_nll"])
torch.testing.assert_close(logged["val_loss"], logged["val_raw_nll"])
assert logged["val_rescaled_accuracy"] > 0.85
assert mixup.stats.count == 1347
