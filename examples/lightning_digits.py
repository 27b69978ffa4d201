"""Mixup and the rescaled prediction in a Lightning module, on digits.

The training means are measured when the fit starts. The state of the mixing stream is stored in
the checkpoint, so that a resumed run continues the draws where it stopped.
"""

from typing import Any

import lightning
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import mixreg


class MixupClassifier(lightning.LightningModule):
    """A network on 8×8 images, trained with mixup."""

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
        self.law = mixreg.Beta(alpha)
        self.mixup = mixreg.Mixup(self.law, num_classes=10)

    def on_fit_start(self) -> None:
        """Measure x̄ and ȳ on the batches that training will see, before mixing."""
        self.stats = mixreg.TrainingStatistics.from_loader(
            self.trainer.datamodule.train_dataloader(), num_classes=10
        )

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """The loss of one mixed batch."""
        mixed = self.mixup(*batch)
        return mixreg.cross_entropy(mixed.targets, self.net(mixed.inputs)).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD with momentum."""
        return torch.optim.SGD(self.net.parameters(), lr=0.1, momentum=0.9)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the state of the draws."""
        checkpoint["mixup"] = self.mixup.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the stored draws."""
        self.mixup.load_state_dict(checkpoint["mixup"])


class Digits(lightning.LightningDataModule):
    """The digits of scikit-learn, 1347 for training and 450 for testing."""

    def __init__(self) -> None:
        super().__init__()
        images, labels = load_digits(return_X_y=True)
        order = torch.randperm(len(labels))
        self.x, self.y = torch.tensor(images).float()[order] / 16, torch.tensor(labels)[order]

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """The training images in random order."""
        samples = TensorDataset(self.x[:1347], self.y[:1347])
        return DataLoader(samples, batch_size=64, shuffle=True)


torch.manual_seed(0)
data, module = Digits(), MixupClassifier(alpha=1.0)
trainer = lightning.Trainer(
    max_epochs=10,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(module, datamodule=data)

model = mixreg.RescaledModel(module.net, module.stats, module.law).eval()
with torch.no_grad():
    accuracy = (model(data.x[1347:]).argmax(1) == data.y[1347:]).float().mean()
print(f"rescaled prediction: accuracy {accuracy:.4f}")
assert accuracy > 0.85
assert module.stats.count == 1347
