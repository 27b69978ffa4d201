import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from mixreg._errors import DataError
from mixreg.data import load
from mixreg.data.image_folder import _open_rgb

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


def test_without_torchvision_the_extra_is_named(tree, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.transforms.v2", None)
    with pytest.raises(DataError, match=r"data set imagenet needs .*'mixreg\[cli\]'"):
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


# --- what is in the folders ---


def small(path, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 8)).save(path)


def empty_tree(root, classes=("cat", "dog")):
    for part in ("train", "val"):
        for name in classes:
            small(root / part / name / "0.png")


def held(data, split="train"):
    """Paths from the root and labels, as `ImageFolder` lists them."""
    files = data._splits[split]
    paths = [str(files.folder / os.fsdecode(path)) for path in files.paths]
    return list(zip(paths, files.labels.tolist(), strict=True))


def test_nested_and_linked_folders_are_read_in_the_order_of_torchvision(tmp_path):
    empty_tree(tmp_path)
    for name in ("sub/1.jpg", "sub/deep/2.PNG", "sub-a/3.png", "a.webp", "B.jpeg", "b.tif"):
        small(tmp_path / "train" / "cat" / name)
    small(tmp_path / "elsewhere" / "more" / "5.png")
    (tmp_path / "train" / "dog" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "train" / "dog" / "file.png").symlink_to(tmp_path / "elsewhere" / "more" / "5.png")
    theirs = ImageFolder(tmp_path / "train")
    assert len(theirs) == 10
    assert held(imagenet(tmp_path)) == theirs.samples
    assert held(imagenet(tmp_path), "test") == ImageFolder(tmp_path / "val").samples


def test_what_is_left_out_is_counted(tmp_path):
    empty_tree(tmp_path)
    train = tmp_path / "train"
    small(train / "cat" / "sub" / "1.png")
    small(train / ".ipynb_checkpoints" / "0.png")
    small(train / "cat" / ".cache" / "0.png")
    for name in ("._0.png", "sub/.hidden.jpg", "notes.txt", "sub/x.gif"):
        (train / "cat" / name).write_bytes(b"no image")
    (train / "labels.csv").touch()
    message = r"left out of .*/train: 4 names that begin with a dot and 3 that do not end as"
    with pytest.warns(UserWarning, match=message):
        data = imagenet(tmp_path)
    assert data.class_names == ("cat", "dog")
    names = [path.removeprefix(f"{train}/") for path, _ in held(data)]
    assert names == ["cat/0.png", "cat/sub/1.png", "dog/0.png"]


def test_a_link_to_a_folder_around_it_is_refused(tmp_path):
    empty_tree(tmp_path)
    (tmp_path / "train" / "cat" / "again").symlink_to(tmp_path / "train")
    with pytest.raises(DataError, match="cat/again links to a folder that holds it"):
        imagenet(tmp_path)


def test_class_order_is_torchvisions_with_a_warning_where_timm_differs(tmp_path):
    classes = ("1", "10", "2", "Zebra", "ant")
    empty_tree(tmp_path, classes)
    with pytest.warns(UserWarning, match=r"class 1 is '10' here and '2' there\): give class_order"):
        data = imagenet(tmp_path)
    assert data.class_names == classes == tuple(ImageFolder(tmp_path / "train").classes)
    natural = ("1", "2", "10", "ant", "Zebra")
    reader = pytest.importorskip("timm.data.readers.reader_image_folder")
    images, numbers = reader.find_images_and_targets(str(tmp_path / "train"))
    assert tuple(sorted(numbers, key=numbers.get)) == natural
    data = imagenet(tmp_path, class_order=natural)
    assert data.class_names == natural
    assert sorted(held(data)) == sorted(images)


@pytest.mark.parametrize("order", [["cat"], ["cat", "dog", "cow"], ["cat", "cat", "dog"], []])
def test_a_class_order_of_other_classes_is_refused(tmp_path, order):
    empty_tree(tmp_path)
    with pytest.raises(DataError, match="class_order must name each of the 2 class folders"):
        imagenet(tmp_path, class_order=order)


# --- what is in the files ---


def decoded(path):
    return np.asarray(_open_rgb(path))


RAMP = np.arange(65536, dtype=np.uint32).reshape(256, 256)


@pytest.mark.parametrize(
    ("suffix", "values"),
    [
        (".png", RAMP.astype(np.uint16)),
        (".tif", RAMP.astype(np.uint16)),
        (".tif", RAMP.astype(">u2")),
    ],
)
def test_16_bit_greys_keep_their_high_byte(tmp_path, suffix, values):
    Image.fromarray(values).save(tmp_path / f"ramp{suffix}")
    expected = np.repeat((RAMP // 256)[..., None], 3, axis=2)
    np.testing.assert_array_equal(decoded(tmp_path / f"ramp{suffix}"), expected)


def test_16_bit_pgm_keeps_its_high_byte(tmp_path):
    (tmp_path / "ramp.pgm").write_bytes(b"P5 256 256 65535\n" + RAMP.astype(">u2").tobytes())
    np.testing.assert_array_equal(decoded(tmp_path / "ramp.pgm")[..., 0], RAMP // 256)


@pytest.mark.parametrize("values", [RAMP.astype(np.int32), RAMP.astype(np.float32)])
def test_pixels_without_a_stated_range_are_refused(tree, values):
    path = tree / "imagenet" / "val" / "n01" / "0.png"
    Image.fromarray(values).save(path, format="TIFF")
    with pytest.raises(DataError, match=r"n01/0.png .*mode '[IF]' have no stated range"):
        list(imagenet(tree).batches("test", 1))


def colours(width=4):
    return np.random.default_rng(0).integers(0, 256, (8, 8, width), dtype=np.uint8)


def test_transparency_is_dropped_and_the_colour_beneath_kept(tmp_path):
    for mode, width in (("RGBA", 4), ("LA", 2)):
        Image.fromarray(colours(width), mode=None).save(tmp_path / f"{mode}.png")
        pixels = colours(width)[..., :-1]
        expected = np.broadcast_to(pixels, (8, 8, 3))
        np.testing.assert_array_equal(decoded(tmp_path / f"{mode}.png"), expected)


@pytest.mark.parametrize("transparency", [None, 3, bytes(range(0, 250, 10))])
def test_palettes_are_looked_up_whatever_is_transparent(tmp_path, transparency):
    palette = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)
    image = Image.fromarray(colours(1)[..., 0])
    image.putpalette(palette.tobytes())
    options = {} if transparency is None else {"transparency": transparency}
    image.save(tmp_path / "palette.png", **options)
    np.testing.assert_array_equal(decoded(tmp_path / "palette.png"), palette[colours(1)[..., 0]])


def test_one_bit_is_black_or_white(tmp_path):
    bits = colours(1)[..., 0] > 127
    Image.fromarray(bits).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(decoded(tmp_path / "bits.png")[..., 1], 255 * bits)


def test_cmyk_is_converted_without_a_profile(tmp_path):
    ink = colours(4)
    Image.fromarray(ink, mode="CMYK").save(tmp_path / "print.tif")
    cyan_magenta_yellow, black = ink[..., :3].astype(int), ink[..., 3:].astype(int)
    expected = (255 - cyan_magenta_yellow) * (255 - black) / 255
    assert np.abs(decoded(tmp_path / "print.tif") - expected).max() <= 1


def test_the_orientation_in_exif_is_not_applied_as_in_torchvision(tmp_path):
    image = Image.fromarray(colours(3)[:5])
    exif = image.getexif()
    exif[0x0112] = 6
    (tmp_path / "class").mkdir()
    image.save(tmp_path / "class" / "turned.png", exif=exif)
    pixels = decoded(tmp_path / "class" / "turned.png")
    np.testing.assert_array_equal(pixels, colours(3)[:5])
    np.testing.assert_array_equal(pixels, np.asarray(ImageFolder(tmp_path)[0][0]))


@pytest.mark.parametrize("name", ["0.png", "0.jpg", "0.tif"])
def test_postscript_is_never_opened_whatever_it_is_called(tree, name, monkeypatch):
    path = tree / "imagenet" / "val" / "n01" / "0.png"
    path.unlink()
    path.with_name(name).write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    )
    with Image.open(path.with_name(name)) as image:
        assert image.format == "EPS"
    with pytest.raises(DataError, match="is damaged or no image: cannot identify"):
        list(imagenet(tree).batches("test", 1))


def test_an_image_under_the_name_of_another_format_is_read(tmp_path):
    Image.fromarray(colours(3)).save(tmp_path / "ILSVRC2012.JPEG", format="PNG")
    np.testing.assert_array_equal(decoded(tmp_path / "ILSVRC2012.JPEG"), colours(3))


@pytest.mark.parametrize("size", [(30000, 1), (1, 30000), (3000, 2)])
def test_an_image_that_scaling_would_blow_up_is_refused(tree, size):
    Image.new("L", size).save(tree / "imagenet" / "val" / "n01" / "0.png")
    message = rf"val/n01/0\.png .*: {size[0]}×{size[1]} pixels are \d+ once the shorter side is 256"
    with pytest.raises(DataError, match=message):
        list(imagenet(tree).batches("test", 1))


def test_a_long_image_within_the_limit_is_read(tree):
    Image.new("L", (1000, 1), 255).save(tree / "imagenet" / "val" / "n01" / "0.png")
    ((inputs, _), *_) = imagenet(tree).batches("test", 1)
    assert inputs.amin((0, 2, 3)).tolist() == inputs.amax((0, 2, 3)).tolist()
