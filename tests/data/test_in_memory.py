import pytest
import torch
from tests.support import joined

from mixreg.data import CropAndFlip, InMemoryDataset, Normalisation, Samples

NORMALISATION = Normalisation((0.5, 0.4, 0.3), (0.2, 0.3, 0.25))
CLASSES = ("a", "b", "c", "d", "e")


def samples(n: int, seed: int = 0) -> Samples:
    source = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (n, 3, 8, 8), generator=source, dtype=torch.uint8)
    return Samples(images, torch.randint(5, (n,), generator=source))


def dataset(n: int = 23, **options) -> InMemoryDataset:
    splits = {"train": samples(n), "validation": samples(0), "test": samples(11, seed=1)}
    return InMemoryDataset("example", splits, CLASSES, normalisation=NORMALISATION, **options)


def test_batches_are_normalised_and_in_order():
    expected = samples(11, seed=1)
    inputs, labels = joined(dataset().batches("test", 4))
    assert torch.equal(inputs, NORMALISATION(expected.inputs))
    assert labels.equal(expected.labels)


def test_training_visits_every_sample_once_with_its_label():
    inputs, labels = joined(dataset().train_batches(10, seed=0, epoch=0))
    originals = samples(23)
    keys = [image.contiguous().numpy().tobytes() for image in NORMALISATION(originals.inputs)]
    order = [keys.index(image.contiguous().numpy().tobytes()) for image in inputs]
    assert sorted(order) == list(range(23))
    assert labels.equal(originals.labels[order])


@pytest.mark.parametrize(("n", "sizes"), [(23, (3, 20)), (1300, (7, 600, 1300))])
def test_batch_size_does_not_change_what_happens_to_a_sample(n, sizes):
    data = dataset(n, augmentation=CropAndFlip(2))
    batches = [data.train_batches(size, seed=0, epoch=0) for size in sizes]
    for size, passes in zip(sizes, batches, strict=True):
        assert [len(y) for _, y in passes] == [size] * (n // size) + [n % size] * (n % size > 0)
    (first, first_labels), *others = (joined(passes) for passes in batches)
    for inputs, labels in others:
        assert inputs.equal(first)
        assert labels.equal(first_labels)


def test_features_are_used_as_they_are():
    moons = Samples(torch.randn(6, 2), torch.tensor([0, 1, 0, 1, 1, 0]))
    data = InMemoryDataset("m", dict.fromkeys(("train", "validation", "test"), moons), ("a", "b"))
    assert joined(data.batches("test", 4))[0].equal(moons.inputs)
    trained = joined(data.train_batches(4, seed=0, epoch=0))[0]
    assert trained.sum(0).allclose(moons.inputs.sum(0))


GOOD = {"train": samples(2), "validation": samples(0), "test": samples(2)}
SMALLER = Samples(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": samples(2)}, "need the splits"),
        (GOOD | {"test": SMALLER}, "test inputs have another shape"),
        (GOOD | {"train": Samples(torch.zeros(2, 3, 8, 8), torch.arange(2))}, "uint8 with 4"),
        (GOOD | {"train": samples(2)._replace(labels=torch.tensor([0]))}, "int64 of shape"),
        (GOOD | {"train": samples(2)._replace(labels=torch.tensor([0.0, 1]))}, "int64 of shape"),
        (GOOD | {"train": samples(2)._replace(labels=torch.tensor([0, 5]))}, "lie in 0..4"),
        (GOOD | {"train": samples(2)._replace(labels=torch.tensor([-1, 4]))}, "lie in 0..4"),
    ],
)
def test_inconsistent_samples_are_refused(splits, message):
    with pytest.raises(ValueError, match=message):
        InMemoryDataset("example", splits, CLASSES, normalisation=NORMALISATION)
