"""Mixup with Hugging Face's `Trainer`: images in the collator, text at its embedding layer.

`Trainer` has one collator for training and evaluation, so a method of three lines gives the second
one its own. The loss is a `compute_loss_func`: a classifier that is given soft labels and no loss
takes them for several labels at once, and trains with binary cross-entropy.
"""

from tempfile import TemporaryDirectory
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
    default_data_collator,
)

import mixreg
from mixreg.evaluation import metrics

LAW, CLASSES = mixreg.Beta(1.0), 10


class MixupTrainer(Trainer):
    """A `Trainer` whose data collator mixes, but for evaluation."""

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """The loader of the evaluation, unmixed."""
        data = self.eval_dataset if eval_dataset is None else eval_dataset
        return DataLoader(data, self.args.eval_batch_size, collate_fn=default_data_collator)


def loss_of(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
    """Cross-entropy of class indices or soft labels, over all steps of gradient accumulation."""
    total = nn.functional.cross_entropy(outputs.logits, labels, reduction="sum")
    columns = labels.numel() // len(labels)  # a soft label is counted as ten items
    return total / (len(labels) if num_items_in_batch is None else num_items_in_batch / columns)


class ManifoldTrainer(MixupTrainer):
    """A `Trainer` that mixes what the embedding layer gives out."""

    manifold: mixreg.ManifoldMixup

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **rest: Any
    ) -> Any:
        """The loss of one batch, mixed in training."""
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs, **rest)
        labels = inputs.pop("labels")
        outputs, batch, _ = self.manifold(inputs, labels)
        return mixreg.cross_entropy(batch.targets, outputs.logits).mean()


torch.manual_seed(0)
pixels, digits = load_digits(return_X_y=True)
order = torch.randperm(len(digits)).tolist()
x, y = torch.tensor(pixels).float() / 16, torch.tensor(digits)
images = [{"pixel_values": 2 * x[i].view(1, 8, 8) - 1, "labels": int(y[i])} for i in order]
words = [{"input_ids": (x[i] * 16).long(), "labels": int(y[i])} for i in order]  # 64 of 17 words
small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
small |= {"intermediate_size": 64, "num_labels": CLASSES}


def arguments(folder: str) -> TrainingArguments:
    """What both trainings have in common."""
    return TrainingArguments(
        folder,
        num_train_epochs=10,
        per_device_train_batch_size=32,
        learning_rate=4e-3,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        use_cpu=True,
    )


# Images, mixed by the collator.
where: dict[str, Any] = {"inputs": "pixel_values", "labels": "labels"}
mixup = mixreg.Mixup(LAW, CLASSES, **where).transform
vit = ViTForImageClassification(ViTConfig(image_size=8, patch_size=2, num_channels=1, **small))
with TemporaryDirectory() as folder:
    trainer = MixupTrainer(
        vit,
        arguments(folder),
        data_collator=lambda samples: mixup(default_data_collator(samples)),
        train_dataset=images[:1347],
        eval_dataset=images[1347:],
        compute_loss_func=loss_of,
    )
    trainer.train()
    reported = trainer.evaluate()["eval_loss"]

plain = DataLoader(images[:1347], 64, collate_fn=default_data_collator)
stats = mixreg.TrainingStatistics.from_loader(plain, CLASSES, **where)
model = mixreg.RescaledModel(vit.eval(), stats, LAW)
test = default_data_collator(images[1347:])
with torch.no_grad():
    raw, rescaled = vit(test["pixel_values"]).logits, model(test["pixel_values"])
for name, logits in (("raw", raw), ("rescaled", rescaled)):
    m = metrics(logits, test["labels"])
    print(f"images  {name:9} accuracy {m.accuracy:.4f}  NLL {m.nll:.4f}  ECE {m.ece:.4f}")
    assert m.accuracy > 0.6
assert abs(reported / metrics(raw, test["labels"]).nll - 1) < 0.01  # a mean over batches
assert vit.config.problem_type is None  # what soft labels without a loss of ours would have set

# Text, mixed at the embeddings: token ids cannot be averaged.
bert = BertForSequenceClassification(BertConfig(vocab_size=17, **small))
layer = "bert.embeddings"
with TemporaryDirectory() as folder:
    texts = ManifoldTrainer(
        bert,
        arguments(folder),
        data_collator=default_data_collator,
        train_dataset=words[:1347],
        eval_dataset=words[1347:],
        compute_loss_func=loss_of,
    )
    texts.manifold = mixreg.ManifoldMixup(bert, layer, mixreg.Mixup(LAW, CLASSES))
    texts.train()

plain = DataLoader(words[:1347], 64, collate_fn=default_data_collator)
hidden = mixreg.LayerStatistics.from_loader(
    bert,
    layer,
    plain,
    CLASSES,
    inputs=lambda batch: {"input_ids": batch["input_ids"]},
    labels="labels",
)
behind = mixreg.RescaledLayers(bert.eval(), [hidden], texts.manifold)
test = default_data_collator(words[1347:])
labels = test.pop("labels")
with torch.no_grad():
    raw, rescaled = bert(**test).logits, behind(test)
for name, logits in (("raw", raw), ("rescaled", rescaled)):
    m = metrics(logits, labels)
    print(f"text    {name:9} accuracy {m.accuracy:.4f}  NLL {m.nll:.4f}  ECE {m.ece:.4f}")
    assert m.accuracy > 0.2
