import math

import numpy as np
import pytest
import torch
from sklearn import datasets
from tests.support import joined

from mixreg.data import load
from mixreg.data.datasets import make_two_moons, read_sklearn


def nearest_moon(points):
    """Which of the two half circles is nearer, and how far it is."""
    angles = torch.linspace(0, math.pi, 2001)
    upper = torch.stack([angles.cos(), angles.sin()], 1)
    lower = torch.stack([1 - angles.cos(), 0.5 - angles.sin()], 1)
    distances = torch.stack([torch.cdist(points, moon).min(1).values for moon in (upper, lower)])
    nearest = distances.min(0)
    return nearest.indices, nearest.values


@pytest.mark.parametrize("name", ["digits", "breast-cancer", "wine"])
def test_every_sample_is_there_once_and_a_quarter_of_each_class_is_for_testing(name):
    train, test, names, *_ = read_sklearn(name)
    theirs = getattr(datasets, "load_" + name.replace("-", "_"))()
    rows = torch.cat([torch.cat(pair, 1) for pair in (columns(train), columns(test))])
    expected = np.column_stack([theirs.data.astype(np.float32), theirs.target])
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, expected.tolist()))
    sizes = torch.cat([train.labels, test.labels]).bincount()
    assert test.labels.bincount().tolist() == [round(0.25 * int(size)) for size in sizes]
    assert names == tuple(str(name) for name in theirs.target_names)


def columns(samples):
    return samples.inputs.flatten(1).float(), samples.labels.unsqueeze(1).float()


@pytest.mark.parametrize("name", ["digits", "breast-cancer", "wine"])
def test_the_test_set_does_not_depend_on_the_seed(name):
    labels = [joined(load(name, seed=seed).batches("test", 100))[1] for seed in (0, 1)]
    assert labels[0].equal(labels[1])


def test_digits_are_standardised_on_the_published_training_part_and_not_augmented():
    data = load("digits", validation_fraction=0)
    inputs, _ = joined(data.batches("train", 500))
    assert inputs.shape[1:] == (1, 8, 8)
    assert abs(inputs.mean()) < 1e-3
    assert abs(inputs.std() - 1) < 1e-3
    shuffled = joined(data.train_batches(500, seed=0, epoch=0))[0]
    assert shuffled.flatten(1).sort(0).values.equal(inputs.flatten(1).sort(0).values)


@pytest.mark.parametrize(("name", "width"), [("breast-cancer", 30), ("wine", 13)])
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_tables_are_standardised_on_the_training_split_alone(name, width, share):
    data = load(name, training_fraction=share)
    train = joined(data.batches("train", 1000))[0]
    assert data.input_shape == (width,)
    assert train.dtype == torch.float32
    torch.testing.assert_close(train.mean(0), torch.zeros(width), atol=1e-5, rtol=0)
    torch.testing.assert_close(train.std(0, correction=0), torch.ones(width), atol=1e-5, rtol=0)
    raw = read_sklearn(name).test.inputs
    test = joined(data.batches("test", 1000))[0]
    scale = raw.std(0) / test.std(0)
    centred = (raw - raw.mean(0)) / scale
    torch.testing.assert_close(test - test.mean(0), centred, atol=1e-3, rtol=1e-3)
    assert test.mean(0).abs().max() > 1e-3


def test_two_moons_has_the_papers_numbers():
    data = load("two-moons", validation_fraction=0)
    assert [data.size(s) for s in ("train", "validation", "test")] == [150, 0, 150]
    assert (data.input_shape, data.num_classes) == ((2,), 2)
    points, labels = joined(data.batches("train", 1000))
    assert points.dtype == torch.float32
    moon, distance = nearest_moon(points)
    assert int((moon != labels).sum()) == 30
    assert distance.square().mean().sqrt() == pytest.approx(0.01, rel=0.3)


def test_only_training_labels_of_two_moons_are_noisy():
    data = load("two-moons", validation_fraction=0.2)
    for name in ("validation", "test"):
        points, labels = joined(data.batches(name, 1000))
        assert nearest_moon(points)[0].equal(labels)
    points, labels = joined(data.batches("train", 1000))
    assert int((nearest_moon(points)[0] != labels).sum()) == round(0.2 * len(labels))
    points, labels = joined(load("two-moons", label_noise=0.0).batches("train", 1000))
    assert nearest_moon(points)[0].equal(labels)


def test_each_seed_is_an_instance_of_150_points_a_class():
    instances = [make_two_moons(seed) for seed in (0, 0, 1)]
    assert instances[0].train.inputs.equal(instances[1].train.inputs)
    assert not instances[0].train.inputs.equal(instances[2].train.inputs)
    labels = torch.cat([instances[0].train.labels, instances[0].test.labels])
    assert labels.bincount().tolist() == [150, 150]
