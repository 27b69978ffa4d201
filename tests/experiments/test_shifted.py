"""Logits on shifted test sets: computed once, kept whole or not at all, in memory of one batch."""

import dataclasses
import weakref

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mixreg import Beta, shrink
from mixreg._errors import CheckpointError, ConfigurationError
from mixreg.data import InMemoryDataset, Normalisation, Samples, load
from mixreg.data.corruptions import SEVERITIES, corrupted
from mixreg.evaluation import predict
from mixreg.experiments import _shifted
from mixreg.training import TrainConfig

N, CLASSES = 7, 3
MEAN = torch.full((3, 32, 32), 0.25)
VIEWS = {"raw": lambda x: x, "shrunk": lambda x: shrink(x, MEAN, Beta(1.0))}
KINDS = ("contrast", "fog")


def samples(seed):
    source = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (N, 3, 32, 32), generator=source, dtype=torch.uint8)
    return Samples(images, torch.randint(CLASSES, (N,), generator=source))


@pytest.fixture
def data():
    splits = {split: samples(k) for k, split in enumerate(("train", "validation", "test"))}
    return InMemoryDataset(
        "cifar10", splits, ("a", "b", "c"), normalisation=Normalisation((0.5,) * 3, (0.25,) * 3)
    )


@pytest.fixture
def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, CLASSES))


def sets(data, folder, **settings):
    chosen = {"kinds": KINDS, "severities": (1, 5)} | settings
    published = _shifted.published_folder(TrainConfig(data=data.name, data_root=folder))
    return list(_shifted.corrupted_test_sets(data, published, folder / "cache", **chosen))


def test_sets_are_the_corrupted_test_images_after_the_clean_ones(data, tmp_path):
    made = sets(data, tmp_path)
    assert [(s.kind, s.severity) for s in made] == [
        ("clean", 0), ("contrast", 1), ("contrast", 5), ("fog", 1), ("fog", 5)
    ]  # fmt: skip
    images, labels = data.samples("test")
    pixels = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
    for each in made:
        changed = pixels
        if each.severity:
            changed = corrupted(pixels, each.kind, each.severity, seed=0)
            assert each.source.startswith("generated from the clean images, cifar parameters")
        expected = data.normalisation(torch.from_numpy(changed).permute(0, 3, 1, 2))
        assert torch.equal(torch.cat(list(each.batches())), expected)
        assert torch.equal(each.labels, labels)
    assert len({each.digest for each in made}) == 5


def test_published_sets_are_used_where_they_are_and_may_be_shortened(data, tmp_path):
    (folder := tmp_path / "CIFAR-10-C").mkdir()
    images, labels = data.samples("test")
    pixels = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
    np.save(folder / "labels.npy", np.tile(labels.numpy(), 5))
    np.save(folder / "fog.npy", np.concatenate([pixels // s for s in SEVERITIES]))
    _, first, second = sets(data, tmp_path, kinds=("fog",), severities=(1, 2), count=5)
    assert first.source == "published files in CIFAR-10-C, first 5"
    expected = data.normalisation(images[:5] // 2)
    assert torch.equal(torch.cat(list(second.batches())), expected)
    assert torch.equal(first.labels, labels[:5])


@pytest.mark.parametrize("published", [True, False])
def test_classes_in_order_are_all_among_fewer_images(tmp_path, published):
    images, labels = torch.arange(12, dtype=torch.uint8), torch.arange(3).repeat_interleave(4)
    images = images.view(-1, 1, 1, 1).expand(-1, 3, 32, 32)
    splits = dict.fromkeys(("train", "validation", "test"), Samples(images, labels))
    scale = Normalisation((0.0,) * 3, (1.0,) * 3)
    data = InMemoryDataset("cifar10", splits, ("a", "b", "c"), normalisation=scale)
    if published:
        (folder := tmp_path / "CIFAR-10-C").mkdir()
        np.save(folder / "labels.npy", np.tile(labels.numpy(), 5))
        pixels = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
        np.save(folder / "fog.npy", np.concatenate([pixels] * 5))
    clean, fog = sets(data, tmp_path, kinds=("fog",), severities=(1,), count=5)
    assert clean.source == "the clean test set, evenly spaced 5"
    for one in (clean, fog):
        assert one.labels.tolist() == [0, 0, 1, 1, 2]
        assert len(torch.cat(list(one.batches()))) == 5
    same = torch.cat(list((fog if published else clean).batches()))
    assert torch.equal(same, scale(images[[0, 2, 4, 7, 9]]))


@pytest.mark.parametrize(
    ("name", "words"), [("digits", "digits cannot be corrupted: .* 28 or 32"), ("wine", "wine")]
)
def test_other_data_are_refused(name, words, tmp_path):
    with pytest.raises(ConfigurationError, match=words):
        sets(load(name), tmp_path)


def test_logits_are_those_of_the_network_and_computed_once(data, net, tmp_path):
    test = sets(data, tmp_path)[1]
    first = _shifted.logits(net, "one", test, VIEWS, tmp_path / "kept")
    direct = predict(net, [(x, test.labels) for x in test.batches()], MEAN, Beta(1.0))
    assert torch.equal(first["raw"], direct.raw)
    assert torch.equal(first["shrunk"], direct.shrunk)
    again = _shifted.logits(None, "one", test, VIEWS, tmp_path / "kept")
    assert all(torch.equal(again[name], first[name]) for name in VIEWS)
    more = VIEWS | {"zero": torch.zeros_like}
    more = _shifted.logits(net, "one", test, more, tmp_path / "kept")
    assert torch.equal(more["zero"], net[1].bias.expand(N, -1))
    assert len(list((tmp_path / "kept").iterdir())) == 3
    _shifted.logits(net, "another", test, VIEWS, tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == 5


def test_an_interrupted_pass_leaves_nothing_and_inputs_are_given_up(data, net, tmp_path):
    test, alive = sets(data, tmp_path)[0], []

    def batches(stop):
        for k in range(N):
            assert sum(reference() is not None for reference in alive) <= 1
            if k == stop:
                raise KeyboardInterrupt
            x = torch.rand(1, 3, 32, 32)
            alive.append(weakref.ref(x))
            yield x
            del x

    broken = dataclasses.replace(test, batches=lambda: batches(4))
    with pytest.raises(KeyboardInterrupt):
        _shifted.logits(net, "one", broken, VIEWS, tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []
    whole = dataclasses.replace(test, batches=lambda: batches(None))
    assert _shifted.logits(net, "one", whole, VIEWS, tmp_path / "kept")["raw"].shape == (N, CLASSES)
    short = dataclasses.replace(test, labels=test.labels[1:])
    with pytest.raises(ValueError, match="6 labels need as many inputs, got 7"):
        _shifted.logits(net, "two", short, VIEWS, tmp_path / "kept")


def test_logits_that_are_not_finite_are_refused(data, net, tmp_path):
    net[1].bias.data[0] = torch.nan
    with pytest.raises(CheckpointError, match=r"not finite for clean images .* \(raw\)"):
        _shifted.logits(net, "one", sets(data, tmp_path)[0], VIEWS, tmp_path / "kept")


def cut(file):
    file.write_bytes(file.read_bytes()[:-1])


def shorten(file):
    save_file({"logits": load_file(file)["logits"][1:].clone()}, file)


@pytest.mark.parametrize(
    ("damage", "words"), [(cut, "is damaged"), (shorten, r"\(6, 3\), expected .* of 7 examples")]
)
def test_a_damaged_file_is_named_with_what_to_do(damage, words, data, net, tmp_path):
    test = sets(data, tmp_path)[0]
    _shifted.logits(net, "one", test, {"raw": VIEWS["raw"]}, tmp_path / "kept")
    (file,) = (tmp_path / "kept").iterdir()
    damage(file)
    with pytest.raises(CheckpointError, match=f"{words}.*delete it and run"):
        _shifted.logits(net, "one", test, {"raw": VIEWS["raw"]}, tmp_path / "kept")
