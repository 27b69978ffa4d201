"""Corrupted test sets: read as published, generated and kept, refused when damaged."""

import pickle

import numpy as np
import pytest
from tests.support import Bomb

from mixreg._errors import DataError
from mixreg.data import MissingDataError
from mixreg.data.corruptions import CORRUPTIONS, SEVERITIES, corrupted, corrupted_sets, sets

N = 4
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(N)
KINDS = ["fog", "zoom_blur"]


@pytest.fixture
def published(tmp_path):
    """A folder in the layout of CIFAR-10-C."""
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    for number, kind in enumerate(KINDS):
        levels = [np.full_like(IMAGES, 10 * number + severity) for severity in SEVERITIES]
        np.save(folder / f"{kind}.npy", np.concatenate(levels))
    np.save(folder / "labels.npy", np.tile(LABELS, 5).astype(np.uint8))
    return folder


def test_published_files_are_read_severity_by_severity(published):
    result = list(corrupted_sets(IMAGES, LABELS, published=published, kinds=KINDS))
    assert [(s.kind, s.severity) for s in result] == [(k, v) for k in KINDS for v in SEVERITIES]
    assert [np.unique(s.images).tolist() for s in result] == [
        [10 * number + severity] for number in (0, 1) for severity in SEVERITIES
    ]
    assert all(s.images.shape == IMAGES.shape for s in result)
    assert all(isinstance(s.images, np.memmap) for s in result)
    assert {s.source for s in result} == {"published files in CIFAR-10-C"}
    few = corrupted_sets(IMAGES, LABELS, published=published, kinds=["fog"], severities=[5, 2])
    assert [s.images.max() for s in few] == [5, 2]


def save(file, array):
    return lambda folder: np.save(folder / file, array, allow_pickle=True)


def cut(folder):
    content = (folder / "fog.npy").read_bytes()
    (folder / "fog.npy").write_bytes(content[:-1])


def lengthen(folder):
    with (folder / "fog.npy").open("ab") as file:
        file.write(b"more")


def plant(folder):
    (folder / "fog.npy").write_bytes(pickle.dumps(Bomb(folder / "trace")))


def plant_in_array(folder):
    np.save(folder / "fog.npy", np.array([Bomb(folder / "trace")] * 20), allow_pickle=True)


FIVE = np.tile(IMAGES, (5, 1, 1, 1))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (save("fog.npy", FIVE[:-1]), "holds 19 images, expected 20: 4 at each of five severities"),
        (save("fog.npy", FIVE[:N]), "holds 4 images, expected 20: 4 at each of five severities"),
        (save("fog.npy", FIVE / 255), "holds float64, expected images of uint8"),
        (save("fog.npy", FIVE[:, :28]), r"shape \(20, 28, 32, 3\), expected \(20, 32, 32, 3\)"),
        (cut, "fog.npy is no whole .npy file"),
        (lengthen, "has 4 bytes after its array"),
        (plant, "fog.npy is no whole .npy file"),
        (plant_in_array, "fog.npy is no whole .npy file"),
        (lambda folder: (folder / "fog.npy").unlink(), "no file fog.npy in .* a file KIND.npy for"),
        (lambda folder: (folder / "labels.npy").unlink(), "no file labels.npy in"),
        (
            save("labels.npy", LABELS),
            r"labels of shape \(4,\), expected the 4 labels .* five times",
        ),
        (save("labels.npy", np.arange(20)), "does not hold the same labels five times"),
        (save("labels.npy", np.tile(LABELS[::-1], 5)), "the labels of the clean images in their"),
        (save("labels.npy", np.zeros(20)), "holds float64, expected integer labels"),
    ],
)
def test_damaged_published_files_are_refused_and_never_unpickled(damage, message, published):
    damage(published)
    with pytest.raises(DataError, match=message):
        corrupted_sets(IMAGES, LABELS, published=published, kinds=KINDS)
    assert not (published / "trace").exists()


def test_a_missing_file_is_missing_data(published):
    with pytest.raises(MissingDataError):
        corrupted_sets(IMAGES, LABELS, published=published)


def test_generated_sets_are_the_corrupted_images_and_say_so():
    result = list(corrupted_sets(IMAGES, LABELS, seed=3, kinds=["frost", "fog"], severities=[4]))
    for each in result:
        expected = corrupted(IMAGES, each.kind, 4, seed=3)
        np.testing.assert_array_equal(each.images, expected)
        assert each.source.startswith("generated from the clean images, cifar parameters of Hend")
        assert "seed 3" in each.source
    assert ["procedural texture" in each.source for each in result] == [True, False]


def test_grey_images_get_every_kind_but_the_one_for_colours():
    grey = IMAGES[..., :1]
    kinds = [s.kind for s in corrupted_sets(grey, LABELS, severities=[1])]
    assert kinds == [kind for kind in CORRUPTIONS if kind != "saturate"]


def test_kept_sets_are_used_again_for_the_same_images_and_seed(tmp_path, monkeypatch):
    def run(seed=0, images=IMAGES):
        return list(corrupted_sets(images, LABELS, seed=seed, cache=tmp_path / "c", kinds=KINDS))

    first = run()
    assert all(isinstance(s.images, np.memmap) for s in first)
    for each in first:
        np.testing.assert_array_equal(
            each.images, corrupted(IMAGES, each.kind, each.severity, seed=0)
        )
    run(seed=1)
    run(images=255 - IMAGES)
    folders = list((tmp_path / "c").iterdir())
    assert [len(list(folder.iterdir())) for folder in folders] == [10] * 3
    monkeypatch.setattr(sets, "corrupted_blocks", None)
    for each, again in zip(first, run(), strict=True):
        np.testing.assert_array_equal(each.images, again.images)


def test_a_set_that_is_interrupted_is_not_kept(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        yield IMAGES[:2]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sets, "corrupted_blocks", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(corrupted_sets(IMAGES, LABELS, cache=tmp_path, kinds=KINDS))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert next(corrupted_sets(IMAGES, LABELS, cache=tmp_path, kinds=KINDS)).severity == 1


@pytest.mark.parametrize("damage", [cut, lengthen, save("fog.npy", LABELS)])
def test_a_kept_set_that_was_damaged_is_refused(damage, tmp_path):
    next(corrupted_sets(IMAGES, LABELS, cache=tmp_path, kinds=KINDS))
    (file,) = tmp_path.rglob("*.npy")
    file.rename(file.with_name("fog.npy"))
    damage(file.parent)
    file.with_name("fog.npy").rename(file)
    with pytest.raises(DataError, match=r"fog-1\.npy .*(get it again|delete it)"):
        next(corrupted_sets(IMAGES, LABELS, cache=tmp_path, kinds=KINDS))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": LABELS[:3]}, ValueError, "4 images need as many labels, got 3"),
        ({"kinds": ["rain"]}, ValueError, "unknown corruption 'rain'"),
        ({"severities": [0]}, ValueError, "severity must be 1 to 5, got 0"),
        ({"seed": True}, TypeError, "seeds must be integers"),
        ({"images": IMAGES / 255}, TypeError, "got ndarray of float64"),
        ({"parameters": "imagenet"}, ValueError, 'choose parameters="cifar"'),
        ({"images": IMAGES[..., :1], "kinds": ["saturate"]}, ValueError, "leave it out"),
    ],
)
def test_bad_arguments_are_refused_before_the_first_set(change, error, message):
    given = {"images": IMAGES, "labels": LABELS, **change}
    with pytest.raises(error, match=message):
        corrupted_sets(given.pop("images"), given.pop("labels"), **given)
