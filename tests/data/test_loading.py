from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mixreg._errors import DataError
from mixreg.data import DATASETS, Samples, load
from mixreg.data.datasets import IN_MEMORY
from mixreg.data.published import Published, data_root


def labels_of(split="train", **options) -> torch.Tensor:
    return torch.cat([y for _, y in load("digits", **options).batches(split, 500)])


def inputs_of(split="train", **options) -> torch.Tensor:
    return torch.cat([x for x, _ in load("digits", **options).batches(split, 500)])


def rows(inputs: torch.Tensor) -> set[bytes]:
    return {image.contiguous().numpy().tobytes() for image in inputs}


def test_names():
    embedded = ("digits", "breast-cancer", "wine", "two-moons")
    files = ("fashion-mnist", "cifar10", "cifar100", "imagenet")
    assert embedded + files == DATASETS


@pytest.mark.parametrize(
    ("name", "nearest"), [("cifar", "cifar10"), ("Digits", "digits"), ("two_moons", "two-moons")]
)
def test_unknown_names_are_listed_with_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"unknown data set '{name}'; did you mean '{nearest}'"):
        load(name)


def test_validation_is_held_out_by_the_seed():
    splits = [inputs_of("validation", seed=seed) for seed in (0, 0, 1)]
    assert splits[0].equal(splits[1])
    assert not splits[0].equal(splits[2])
    data = load("digits", validation_fraction=0)
    assert [data.size(s) for s in ("train", "validation", "test")] == [1347, 0, 450]


def test_a_share_of_the_training_samples_leaves_the_other_splits_as_they_were():
    everything, share, less = (inputs_of(training_fraction=f) for f in (1.0, 0.3, 0.1))
    sizes = labels_of().bincount()
    counts = labels_of(training_fraction=0.3).bincount()
    assert counts.tolist() == [int(size) - round(0.7 * int(size)) for size in sizes]
    assert rows(less) < rows(share) < rows(everything)
    for split in ("validation", "test"):
        assert inputs_of(split, training_fraction=0.3).equal(inputs_of(split))
    assert not inputs_of(training_fraction=0.3, seed=1).equal(share)
    assert labels_of(training_fraction=1e-9).bincount().tolist() == [1] * 10


def test_label_noise_is_exact_and_drawn_by_the_seed():
    clean, noisy = labels_of(), labels_of(label_noise=0.3)
    assert int((clean != noisy).sum()) == round(0.3 * len(clean))
    assert labels_of(label_noise=0.3).equal(noisy)
    first, other = (labels_of(validation_fraction=0, label_noise=0.3, seed=seed) for seed in (0, 1))
    assert not first.equal(other)


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10", "cifar100"])
@pytest.mark.parametrize("augment", [True, False])
def test_photographs_are_augmented_unless_told_not_to(monkeypatch, name, augment):
    channels = len(IN_MEMORY[name].normalisation.mean)
    pixels = torch.randint(256, (4, channels, 16, 16), dtype=torch.uint8)
    samples = Samples(pixels, torch.tensor([0, 0, 1, 1]))
    entry = replace(IN_MEMORY[name], read=lambda *_: Published(samples, samples, ("a", "b")))
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
        ({"training_fraction": 0.0}, "0 < training_fraction <= 1, got 0"),
        ({"training_fraction": 1.1}, "0 < training_fraction <= 1"),
        ({"training_fraction": float("nan")}, "0 < training_fraction <= 1"),
        ({"validation_fraction": float("nan")}, "0 <= validation_fraction < 1"),
        ({"label_noise": 1.5}, "0 <= label_noise <= 1"),
        ({"label_noise": -0.1}, "0 <= label_noise <= 1"),
        ({"label_noise": float("nan")}, "0 <= label_noise <= 1"),
        ({"seed": -1}, "at least 0"),
        ({"workers": -1}, "workers must be at least 0"),
        ({"class_order": ["a"]}, "class_order is for folders of images"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        load("digits", **options)


def test_the_root_is_the_argument_then_the_environment_then_the_default(
    no_data_around, monkeypatch
):
    assert data_root(None) == Path("data")
    monkeypatch.setenv("MIXREG_DATA", "/some/where")
    assert data_root(None) == Path("/some/where")
    assert data_root("else/where") == Path("else/where")
    monkeypatch.setenv("MIXREG_DATA", "")
    assert data_root(None) == Path("data")
    monkeypatch.setenv("HOME", "/home/someone")
    assert data_root("~/sets") == Path("/home/someone/sets")


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10", "imagenet"])
@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("~nobody-of-this-name/data", "'~nobody-of-this-name/data', but no such home directory"),
        ("a\0b", "cannot hold a NUL byte"),
    ],
)
def test_roots_that_cannot_be_are_refused(name, root, message):
    with pytest.raises(DataError, match=message):
        load(name, root)


def test_no_home_directory_at_all_is_one_line(monkeypatch):
    def fail(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", fail)
    with pytest.raises(DataError, match=r"'~/data', but no such home .*; give its full path$"):
        load("cifar10", "~/data")


def test_what_the_file_system_refuses_is_one_line(monkeypatch, tmp_path):
    def fail(*_):
        raise PermissionError(13, "Permission denied", "/locked")

    monkeypatch.setitem(IN_MEMORY, "cifar10", replace(IN_MEMORY["cifar10"], read=fail))
    with pytest.raises(DataError, match="cannot read data set 'cifar10': Permission denied: /lo"):
        load("cifar10", tmp_path)


def test_the_message_names_the_folder_in_effect(no_data_around, monkeypatch):
    with pytest.raises(DataError, match=rf"{no_data_around}/data"):
        load("cifar10")
    monkeypatch.setenv("MIXREG_DATA", str(no_data_around / "sets"))
    with pytest.raises(DataError, match=rf"{no_data_around}/sets"):
        load("cifar10")
