import math

import pytest
import torch

from mixreg.data import load
from mixreg.data.two_moons import make_two_moons


def split(data, name):
    inputs, labels = zip(*data.batches(name, 1000), strict=True)
    return torch.cat(inputs), torch.cat(labels)


def nearest_moon(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which of the two half circles is nearer, and how far it is."""
    angles = torch.linspace(0, math.pi, 2001)
    upper = torch.stack([angles.cos(), angles.sin()], 1)
    lower = torch.stack([1 - angles.cos(), 0.5 - angles.sin()], 1)
    distances = torch.stack([torch.cdist(points, moon).min(1).values for moon in (upper, lower)])
    nearest = distances.min(0)
    return nearest.indices, nearest.values


def test_the_papers_numbers():
    data = load("two-moons", validation_fraction=0)
    assert [data.size(s) for s in ("train", "validation", "test")] == [150, 0, 150]
    assert data.input_shape == (2,)
    assert data.num_classes == 2
    points, labels = split(data, "train")
    assert points.dtype == torch.float32
    moon, distance = nearest_moon(points)
    assert int((moon != labels).sum()) == 30
    assert distance.square().mean().sqrt() == pytest.approx(0.01, rel=0.3)


def test_test_and_validation_labels_are_clean():
    data = load("two-moons", validation_fraction=0.2)
    for name in ("validation", "test"):
        points, labels = split(data, name)
        assert nearest_moon(points)[0].equal(labels)
    points, labels = split(data, "train")
    assert int((nearest_moon(points)[0] != labels).sum()) == round(0.2 * len(labels))


def test_label_noise_can_be_chosen():
    points, labels = split(load("two-moons", label_noise=0.0), "train")
    assert nearest_moon(points)[0].equal(labels)


def test_each_seed_is_an_instance():
    instances = [make_two_moons(seed).train.inputs for seed in (0, 0, 1)]
    assert instances[0].equal(instances[1])
    assert not instances[0].equal(instances[2])


def test_the_classes_have_150_points_each():
    official = make_two_moons(0)
    assert torch.cat([official.train.labels, official.test.labels]).bincount().tolist() == [
        150,
        150,
    ]
