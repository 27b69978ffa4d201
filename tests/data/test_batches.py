"""What every data set promises of its batches: shares of processes, draws, layout, refusals."""

import numpy as np
import pytest
import torch
from PIL import Image
from tests.support import joined

from mixreg.data import CropAndFlip, InMemoryDataset, Normalisation, Samples, load

N = 7


def by_label(batches):
    """Inputs in the order of their labels, each of which belongs to one sample alone."""
    inputs, labels = joined(batches)
    assert labels.sort().values.tolist() == list(range(N))
    return inputs[labels.argsort()]


@pytest.fixture(params=["memory", "folder"])
def make(request, tmp_path):
    """A data set of seven images and as many classes, the same in training and test."""

    def of(pixels, *, augment=True):
        if request.param == "memory":
            images = torch.from_numpy(pixels[:, :8, :8]).permute(0, 3, 1, 2)
            samples = Samples(images, torch.arange(N))
            empty = Samples(images[:0], torch.arange(0))
            return InMemoryDataset(
                "memory",
                {"train": samples, "validation": empty, "test": samples},
                tuple(map(str, range(N))),
                normalisation=Normalisation((0.5, 0.4, 0.3), (0.2, 0.3, 0.25)),
                augmentation=CropAndFlip(4) if augment else None,
            )
        for part in ("train", "val"):
            for label, image in enumerate(pixels):
                (tmp_path / part / str(label)).mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(tmp_path / part / str(label) / "0.png")
        return load("imagenet", tmp_path, validation_fraction=0, workers=0, augment=augment)

    return of


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (N, 40, 30, 3), dtype=np.uint8)


@pytest.fixture
def data(make, pixels):
    return make(pixels)


def test_attributes_and_layout(data):
    assert (data.num_classes, data.class_names) == (N, tuple("0123456"))
    assert [data.size(split) for split in ("train", "validation", "test")] == [N, 0, N]
    for batches in (data.batches("test", 4), data.train_batches(4, seed=0, epoch=0)):
        assert [len(labels) for _, labels in batches] == [4, 3]
        assert len(batches) == 2
        for inputs, _ in batches:
            assert (inputs.dtype, inputs.shape[1:]) == (torch.float32, data.input_shape)
            assert inputs.is_contiguous(memory_format=torch.channels_last)
    assert len(data.batches("validation", 4)) == 0
    assert list(data.batches("validation", 4)) == []


def test_every_pass_is_determined_by_seed_and_epoch_and_not_by_the_global_generator(data):
    torch.manual_seed(0)
    batches = data.train_batches(4, seed=0, epoch=0)
    inputs, labels = joined(batches)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    for again in (batches, data.train_batches(4, seed=0, epoch=0)):
        assert inputs.equal(joined(again)[0])
    assert state.equal(torch.get_rng_state())
    assert labels.tolist() != sorted(labels.tolist())
    for seed, epoch in ((0, 1), (1, 0)):
        assert not labels.equal(joined(data.train_batches(4, seed=seed, epoch=epoch))[1])


def test_an_image_is_augmented_anew_at_every_place_in_every_epoch_and_by_every_seed(make, pixels):
    data = make(np.repeat(pixels[:1], N, axis=0))
    crops = [
        by_label(data.train_batches(N, seed=seed, epoch=epoch))
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    distinct = {crop.contiguous().numpy().tobytes() for crop in torch.cat(crops)}
    assert len(distinct) >= 18  # in memory one of 162 is drawn 21 times


def test_augmentation_is_for_training_alone_and_can_be_left_out(make, pixels):
    plain, augmented = make(pixels, augment=False), make(pixels)
    expected = by_label(plain.batches("test", 4))
    for split in ("train", "test"):
        assert by_label(augmented.batches(split, 4)).equal(expected)
    assert by_label(plain.train_batches(4, seed=0, epoch=0)).equal(expected)
    assert not by_label(augmented.train_batches(4, seed=0, epoch=0)).equal(expected)


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_processes_share_one_permutation_one_set_of_draws_and_every_test_sample(data, world_size):
    inputs, labels = joined(data.train_batches(N, seed=0, epoch=4))
    ordered = joined(data.batches("test", N))[0]
    kept = N // world_size * world_size
    for rank in range(world_size):
        place = {"rank": rank, "world_size": world_size}
        mine, own = joined(data.train_batches(2, seed=0, epoch=4, **place))
        assert mine.equal(inputs[:kept][rank::world_size])
        assert own.equal(labels[:kept][rank::world_size])
        mine, own = joined(data.batches("test", 2, **place))
        assert mine.equal(ordered[rank::world_size])
        assert own.tolist() == list(range(N))[rank::world_size]
    assert list(data.batches("test", 2, rank=N, world_size=N + 1)) == []


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
        (lambda d: d.train_batches(1, seed=0, epoch=0, world_size=8), "7 samples cannot be shared"),
    ],
)
def test_bad_calls_are_refused(data, call, message):
    with pytest.raises(ValueError, match=message):
        call(data)
