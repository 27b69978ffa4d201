import pytest
import torch

from mixreg.data import InMemoryDataset, Samples
from mixreg.data.augmentation import CropAndFlip, Normalisation

NORMALISATION = Normalisation((0.5, 0.4, 0.3), (0.2, 0.3, 0.25))
CLASSES = ("a", "b", "c", "d", "e")


def samples(n: int, seed: int = 0) -> Samples:
    source = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (n, 3, 8, 8), generator=source, dtype=torch.uint8)
    return Samples(images, torch.randint(5, (n,), generator=source))


def dataset(n: int = 23, *, augmentation: CropAndFlip | None = None) -> InMemoryDataset:
    splits = {"train": samples(n), "validation": samples(0), "test": samples(11, seed=1)}
    return InMemoryDataset(
        "example", splits, CLASSES, normalisation=NORMALISATION, augmentation=augmentation
    )


def joined(batches) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, labels = zip(*batches, strict=True)
    return torch.cat(inputs), torch.cat(labels)


def keys(inputs: torch.Tensor) -> list[bytes]:
    """Something to tell images apart by."""
    return [image.contiguous().numpy().tobytes() for image in inputs]


def test_attributes():
    data = dataset()
    assert (data.name, data.num_classes, data.class_names) == ("example", 5, CLASSES)
    assert data.input_shape == (3, 8, 8)
    assert [data.size(s) for s in ("train", "validation", "test")] == [23, 0, 11]


def test_batches_are_normalised_and_in_order():
    expected = samples(11, seed=1)
    inputs, labels = joined(dataset().batches("test", 4))
    assert inputs.dtype == torch.float32
    assert torch.equal(inputs, NORMALISATION(expected.inputs))
    assert labels.equal(expected.labels)
    assert [len(y) for _, y in dataset().batches("test", 4)] == [4, 4, 3]
    assert len(dataset().batches("test", 4)) == 3


@pytest.mark.parametrize("world_size", [1, 2, 3, 13])
def test_every_sample_exactly_once_over_the_processes(world_size):
    shares = [
        joined(dataset().batches("test", 2, rank=rank, world_size=world_size))
        for rank in range(min(world_size, 11))
    ]
    expected = samples(11, seed=1)
    for rank, (inputs, labels) in enumerate(shares):
        assert inputs.equal(NORMALISATION(expected.inputs[rank::world_size]))
        assert labels.equal(expected.labels[rank::world_size])


def test_a_process_without_a_sample_has_no_batches():
    assert list(dataset().batches("test", 2, rank=11, world_size=12)) == []


def test_empty_validation_split_gives_no_batches():
    batches = dataset().batches("validation", 4)
    assert len(batches) == 0
    assert list(batches) == []


def test_training_visits_every_sample_once_and_keeps_the_last_batch():
    data = dataset()
    batches = data.train_batches(10, seed=0, epoch=0)
    assert [len(y) for _, y in batches] == [10, 10, 3]
    assert len(batches) == 3
    inputs, labels = joined(batches)
    originals = samples(23)
    place = {key: i for i, key in enumerate(keys(NORMALISATION(originals.inputs)))}
    order = [place[key] for key in keys(inputs)]
    assert sorted(order) == list(range(23))
    assert order != sorted(order)
    assert labels.equal(originals.labels[order])


def test_two_passes_are_the_same_and_epochs_and_seeds_differ():
    data = dataset(augmentation=CropAndFlip(2))
    batches = data.train_batches(10, seed=0, epoch=0)
    first = joined(batches)[0]
    assert first.equal(joined(batches)[0])
    assert first.equal(joined(data.train_batches(10, seed=0, epoch=0))[0])
    assert not first.equal(joined(data.train_batches(10, seed=0, epoch=1))[0])
    assert not first.equal(joined(data.train_batches(10, seed=1, epoch=0))[0])


def test_an_image_is_augmented_anew_in_every_epoch_and_by_every_seed():
    same = samples(1)
    many = Samples(same.inputs.expand(200, -1, -1, -1), same.labels.expand(200))
    splits = dict.fromkeys(("train", "validation", "test"), many)
    augmentation = CropAndFlip(4)
    data = InMemoryDataset(
        "same", splits, CLASSES, normalisation=NORMALISATION, augmentation=augmentation
    )
    first, second, other = (
        joined(data.train_batches(200, seed=seed, epoch=epoch))[0]
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    )
    for result in (second, other):
        unchanged = (first == result).flatten(1).all(1).sum()
        assert unchanged < 20  # by chance about 200 / 162


def test_the_global_generator_is_neither_used_nor_moved():
    data = dataset(augmentation=CropAndFlip(2))
    torch.manual_seed(0)
    first = joined(data.train_batches(10, seed=0, epoch=0))[0]
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert first.equal(joined(data.train_batches(10, seed=0, epoch=0))[0])
    assert state.equal(torch.get_rng_state())


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


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_one_permutation_and_one_set_of_draws(world_size):
    data = dataset(augmentation=CropAndFlip(2))
    alone, labels = joined(data.train_batches(23, seed=0, epoch=4))
    shares = [
        joined(data.train_batches(5, seed=0, epoch=4, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    kept = 23 // world_size * world_size
    assert torch.stack([x for x, _ in shares], 1).flatten(0, 1).equal(alone[:kept])
    assert torch.stack([y for _, y in shares], 1).flatten().equal(labels[:kept])


def test_augmentation_is_only_for_training():
    plain, augmented = dataset(), dataset(augmentation=CropAndFlip(2))
    assert joined(plain.batches("train", 9))[0].equal(joined(augmented.batches("train", 9))[0])
    one = joined(plain.train_batches(9, seed=0, epoch=0))[0]
    assert not one.equal(joined(augmented.train_batches(9, seed=0, epoch=0))[0])


def test_images_come_in_channels_last_memory():
    for batches in (
        dataset().batches("test", 4),
        dataset(augmentation=CropAndFlip(2)).train_batches(4, seed=0, epoch=0),
    ):
        for inputs, _ in batches:
            assert inputs.is_contiguous(memory_format=torch.channels_last)


def test_features_are_used_as_they_are():
    moons = Samples(torch.randn(6, 2), torch.tensor([0, 1, 0, 1, 1, 0]))
    data = InMemoryDataset("m", dict.fromkeys(("train", "validation", "test"), moons), ("a", "b"))
    assert joined(data.batches("test", 4))[0].equal(moons.inputs)
    trained = joined(data.train_batches(4, seed=0, epoch=0))[0]
    assert trained.sum(0).allclose(moons.inputs.sum(0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: d.size("val"), "unknown split 'val'; known: train, validation, test"),
        (lambda d: d.batches("tests", 4), "did you mean 'test'"),
        (lambda d: d.batches("test", 0), "batch_size must be at least 1, got 0"),
        (lambda d: d.batches("test", 4, rank=2, world_size=2), "0 <= rank < world_size"),
        (lambda d: d.train_batches(0, seed=0, epoch=0), "batch_size must be at least 1"),
        (lambda d: d.train_batches(1, seed=0, epoch=0, rank=-1), "0 <= rank < world_size"),
        (lambda d: d.train_batches(1, seed=0, epoch=-1), "at least 0, got -1"),
        (
            lambda d: d.train_batches(1, seed=0, epoch=0, world_size=24),
            "23 samples cannot be shared by 24 processes",
        ),
    ],
)
def test_bad_calls_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(dataset())


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (Samples(torch.zeros(2, 3, 8, 8), torch.tensor([0, 1])), "must be torch.uint8 with 4"),
        (samples(2)._replace(labels=torch.tensor([0])), "int64 of shape"),
        (samples(2)._replace(labels=torch.tensor([0.0, 1.0])), "int64 of shape"),
        (samples(2)._replace(labels=torch.tensor([0, 5])), "must lie in 0..4"),
        (samples(2)._replace(labels=torch.tensor([-1, 4])), "must lie in 0..4"),
    ],
)
def test_inconsistent_samples_are_refused(train, message):
    splits = {"train": train, "validation": samples(0), "test": samples(2)}
    with pytest.raises(ValueError, match=message):
        InMemoryDataset("example", splits, CLASSES, normalisation=NORMALISATION)


def test_missing_splits_and_other_shapes_are_refused():
    with pytest.raises(ValueError, match="need the splits"):
        InMemoryDataset("example", {"train": samples(2)}, CLASSES, normalisation=NORMALISATION)
    smaller = Samples(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]))
    splits = {"train": samples(2), "validation": samples(0), "test": smaller}
    with pytest.raises(ValueError, match="test inputs have another shape"):
        InMemoryDataset("example", splits, CLASSES, normalisation=NORMALISATION)
