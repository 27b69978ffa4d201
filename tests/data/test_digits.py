import numpy as np
import torch
from sklearn.datasets import load_digits

from mixreg.data import load
from mixreg.data.digits import read_digits


def joined(batches):
    inputs, labels = zip(*batches, strict=True)
    return torch.cat(inputs), torch.cat(labels)


def test_the_test_set_does_not_depend_on_the_seed():
    first, other = (joined(load("digits", seed=seed).batches("test", 100)) for seed in (0, 1))
    assert first[0].equal(other[0])
    assert first[1].equal(other[1])


def test_all_digits_are_there_once():
    official = read_digits()
    ours = torch.cat([official.train.inputs, official.test.inputs]).flatten(1).numpy()
    theirs = load_digits().data
    np.testing.assert_array_equal(np.sort(ours, axis=0), np.sort(theirs, axis=0))


def test_a_quarter_of_each_class_is_for_testing():
    official = read_digits()
    tested, trained = official.test.labels.bincount(), official.train.labels.bincount()
    assert (tested / (tested + trained)).sub(0.25).abs().max() < 0.005


def test_inputs_are_standardised_on_the_published_training_part():
    inputs, _ = joined(load("digits", validation_fraction=0).batches("train", 500))
    assert inputs.shape[1:] == (1, 8, 8)
    assert abs(inputs.mean()) < 1e-3
    assert abs(inputs.std() - 1) < 1e-3


def test_there_is_no_augmentation():
    data = load("digits", validation_fraction=0)
    shuffled = joined(data.train_batches(500, seed=0, epoch=0))[0]
    ordered = joined(data.batches("train", 500))[0]
    assert shuffled.flatten(1).sort(0).values.equal(ordered.flatten(1).sort(0).values)
