from dataclasses import replace

import pytest
import torch

from mixreg.data import DATASETS, Samples, load
from mixreg.data.catalogue import IN_MEMORY
from mixreg.data.official import Official


def training_labels(**options) -> torch.Tensor:
    return torch.cat([y for _, y in load("digits", **options).batches("train", 500)])


def test_names():
    assert DATASETS == ("digits", "two-moons", "fashion-mnist", "cifar10", "cifar100", "imagenet")


@pytest.mark.parametrize(
    ("name", "nearest"), [("cifar", "cifar10"), ("Digits", "digits"), ("two_moons", "two-moons")]
)
def test_unknown_names_are_listed_with_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"unknown data set '{name}'; did you mean '{nearest}'"):
        load(name)


def test_validation_is_held_out_by_the_seed():
    splits = [
        torch.cat([x for x, _ in load("digits", seed=seed).batches("validation", 500)])
        for seed in (0, 0, 1)
    ]
    assert splits[0].equal(splits[1])
    assert not splits[0].equal(splits[2])


def test_no_validation_fraction_gives_an_empty_split():
    data = load("digits", validation_fraction=0)
    assert [data.size(s) for s in ("train", "validation", "test")] == [1347, 0, 450]


def test_label_noise_is_exact_and_leaves_the_split_as_it_was():
    clean, noisy = training_labels(), training_labels(label_noise=0.3)
    assert int((clean != noisy).sum()) == round(0.3 * len(clean))
    assert training_labels(label_noise=0.3).equal(noisy)


def test_label_noise_is_drawn_by_the_seed():
    first, other = (
        training_labels(validation_fraction=0, label_noise=0.3, seed=seed) for seed in (0, 1)
    )
    assert not first.equal(other)


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10", "cifar100"])
@pytest.mark.parametrize("augment", [True, False])
def test_colour_data_sets_are_augmented_unless_told_not_to(monkeypatch, name, augment):
    pixels = torch.randint(256, (4, 3, 16, 16), dtype=torch.uint8)
    samples = Samples(pixels, torch.tensor([0, 0, 1, 1]))
    channels = len(IN_MEMORY[name].normalisation.mean)
    samples = samples._replace(inputs=pixels[:, :channels])
    entry = replace(IN_MEMORY[name], read=lambda *_: Official(samples, samples, ("a", "b")))
    monkeypatch.setitem(IN_MEMORY, name, entry)
    data = load(name, validation_fraction=0, augment=augment)
    ((trained, _),) = data.train_batches(4, seed=0, epoch=0)
    ((plain, _),) = data.batches("train", 4)
    same = trained.flatten(1).sum(1).sort().values.allclose(plain.flatten(1).sum(1).sort().values)
    assert same is not augment


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"validation_fraction": -0.1}, "validation_fraction"),
        ({"label_noise": 1.5}, "label_noise"),
        ({"seed": -1}, "at least 0"),
        ({"workers": -1}, "workers must be at least 0"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        load("digits", **options)
