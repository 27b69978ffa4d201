import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from mixreg._errors import DataError
from mixreg.data import load

CLASSES = ("n01", "n02")


@pytest.fixture
def tree(tmp_path):
    """Six training and three validation images of two classes, of several sizes and modes."""
    source = np.random.default_rng(0)
    for part, counts in (("train", (4, 2)), ("val", (1, 2))):
        for name, count in zip(CLASSES, counts, strict=True):
            folder = tmp_path / "imagenet" / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = source.integers(0, 256, (260 + 20 * index, 300, 3), dtype=np.uint8)
                image = Image.fromarray(pixels).convert("L" if index == 1 else "RGB")
                image.save(folder / f"{index}.png")
    (tmp_path / "imagenet" / "train" / "n01" / "notes.txt").write_text("no image")
    return tmp_path


def imagenet(tree, **options):
    return load("imagenet", tree, **{"validation_fraction": 0, "workers": 0, **options})


def joined(batches):
    inputs, labels = zip(*batches, strict=True)
    return torch.cat(inputs), torch.cat(labels)


def test_attributes(tree):
    data = imagenet(tree)
    assert (data.name, data.class_names, data.num_classes) == ("imagenet", CLASSES, 2)
    assert data.input_shape == (3, 224, 224)
    assert [data.size(s) for s in ("train", "validation", "test")] == [6, 0, 3]


def test_root_may_be_the_folder_itself(tree):
    assert imagenet(tree / "imagenet").size("train") == 6


def test_evaluation_is_the_usual_pipeline(tree):
    usual = v2.Compose(
        [
            v2.Resize(256),
            v2.CenterCrop(224),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    files = [tree / "imagenet" / "val" / name for name in ("n01/0.png", "n02/0.png", "n02/1.png")]
    expected = torch.stack([usual(Image.open(file).convert("RGB")) for file in files])
    inputs, labels = joined(imagenet(tree).batches("test", 2))
    torch.testing.assert_close(inputs, expected, rtol=0, atol=1e-5)
    assert labels.tolist() == [0, 1, 1]
    assert inputs.is_contiguous(memory_format=torch.channels_last)


def test_training_is_determined_by_seed_and_epoch_and_not_by_the_global_generator(tree):
    data = imagenet(tree)
    torch.manual_seed(0)
    batches = data.train_batches(4, seed=0, epoch=0)
    first = joined(batches)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert first[0].equal(joined(batches)[0])
    assert state.equal(torch.get_rng_state())
    assert not first[0].equal(joined(data.train_batches(4, seed=0, epoch=1))[0])
    assert not first[0].equal(joined(data.train_batches(4, seed=1, epoch=0))[0])
    assert sorted(first[1].tolist()) == [0, 0, 0, 0, 1, 1]
    assert [len(y) for _, y in batches] == [4, 2]
    assert len(batches) == 2


def test_an_image_is_augmented_anew_in_every_epoch_and_by_every_seed(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    for part in ("train", "val"):
        for name in CLASSES:
            (tmp_path / part / name).mkdir(parents=True)
            Image.fromarray(pixels).save(tmp_path / part / name / "same.png")
    data = imagenet(tmp_path)
    crops = torch.cat(
        [
            joined(data.train_batches(2, seed=seed, epoch=epoch))[0]
            for seed, epoch in ((0, 0), (0, 1), (1, 0))
        ]
    )
    assert len(set(crops.flatten(1).sum(1).tolist())) == 6


def test_processes_share_one_permutation_and_one_set_of_draws(tree):
    data = imagenet(tree)
    alone = joined(data.train_batches(6, seed=0, epoch=0))
    shares = [
        joined(data.train_batches(2, seed=0, epoch=0, rank=rank, world_size=2)) for rank in (0, 1)
    ]
    assert torch.stack([x for x, _ in shares], 1).flatten(0, 1).equal(alone[0])
    assert torch.stack([y for _, y in shares], 1).flatten().equal(alone[1])


def test_every_image_exactly_once_over_the_processes(tree):
    data = imagenet(tree)
    labels = [
        joined(data.batches("test", 2, rank=rank, world_size=2))[1].tolist() for rank in (0, 1)
    ]
    assert labels == [[0, 1], [1]]


# From Python 3.12 on, forking a process with threads warns; PyTorch's loader forks.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_worker_processes_change_nothing(tree):
    alone, helped = imagenet(tree), imagenet(tree, workers=2)
    one = joined(alone.train_batches(3, seed=0, epoch=0))
    two = joined(helped.train_batches(3, seed=0, epoch=0))
    assert one[0].equal(two[0])
    assert one[1].equal(two[1])


def test_validation_is_held_out_of_the_training_folder(tree):
    data = imagenet(tree, validation_fraction=0.5)
    assert [data.size(s) for s in ("train", "validation", "test")] == [3, 3, 3]
    assert joined(data.batches("validation", 3))[1].tolist() == [0, 0, 1]
    assert list(imagenet(tree).batches("validation", 3)) == []


def test_augmentation_can_be_left_out(tree):
    data = imagenet(tree, augment=False)
    trained = joined(data.train_batches(6, seed=0, epoch=0))[0]
    ordered = joined(data.batches("train", 6))[0]
    assert trained.flatten(1).sort(0).values.equal(ordered.flatten(1).sort(0).values)
    usual = joined(imagenet(tree).train_batches(6, seed=0, epoch=0))[0]
    assert not usual.equal(trained)


def test_label_noise(tree):
    labels = joined(imagenet(tree, label_noise=0.5).batches("train", 6))[1]
    assert int((labels != torch.tensor([0, 0, 0, 0, 1, 1])).sum()) == 3


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_a_damaged_image_is_named(tree, workers, content):
    path = tree / "imagenet" / "val" / "n02" / "0.png"
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    with pytest.raises(DataError, match=r"^\S*val/n02/0\.png is damaged or no image") as error:
        list(imagenet(tree, workers=workers).batches("test", 1))
    assert "Traceback" not in str(error.value)


def test_an_image_of_too_many_pixels_is_named(tree, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match=r"val/n01/0\.png is damaged or no image: .*exceeds limit"):
        list(imagenet(tree).batches("test", 1))


def test_classes_must_agree(tree):
    (tree / "imagenet" / "val" / "n03").mkdir()
    with pytest.raises(DataError, match=r"do not have the same classes.*: n03"):
        imagenet(tree)


def test_a_class_without_images_is_named(tree):
    for part in ("train", "val"):
        (tree / "imagenet" / part / "n03").mkdir()
    with pytest.raises(DataError, match="train/n03 has no images"):
        imagenet(tree)


def test_one_class_is_too_few(tmp_path):
    for part in ("train", "val"):
        (tmp_path / part / "n01").mkdir(parents=True)
    with pytest.raises(DataError, match="has 1 class folders, expected at least 2"):
        imagenet(tmp_path)


def test_missing_says_what_where_and_how(tmp_path):
    with pytest.raises(DataError) as error:
        imagenet(tmp_path)
    for part in (
        "train and val",
        str(tmp_path / "imagenet"),
        "https://image-net.org",
        "MIXREG_DATA",
    ):
        assert part in str(error.value)


def test_without_torchvision_the_extra_is_named(tree, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.transforms.v2", None)
    with pytest.raises(DataError, match=r"data set imagenet needs .*'mixreg\[vision\]'"):
        imagenet(tree)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: d.size("val"), "unknown split"),
        (lambda d: d.batches("test", 0), "batch_size"),
        (lambda d: d.train_batches(4, seed=0, epoch=0, world_size=7), "6 samples cannot be shared"),
    ],
)
def test_bad_calls_are_refused(tree, call, message):
    with pytest.raises(ValueError, match=message):
        call(imagenet(tree))
