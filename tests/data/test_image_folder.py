import io
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from tests.support import joined
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


# From Python 3.12 on, forking a process with threads warns; PyTorch's loader forks.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_worker_processes_change_nothing(tree):
    alone, helped = imagenet(tree), imagenet(tree, workers=2)
    one = joined(alone.train_batches(3, seed=0, epoch=0))
    two = joined(helped.train_batches(3, seed=0, epoch=0))
    assert one[0].equal(two[0])
    assert one[1].equal(two[1])


def test_validation_is_held_out_of_the_training_folder_which_may_be_named_itself(tree):
    data = imagenet(tree / "imagenet", validation_fraction=0.5)
    assert (data.name, data.class_names, data.input_shape) == ("imagenet", CLASSES, (3, 224, 224))
    assert [data.size(s) for s in ("train", "validation", "test")] == [3, 3, 3]
    assert joined(data.batches("validation", 3))[1].tolist() == [0, 0, 1]


def test_label_noise(tree):
    labels = joined(imagenet(tree, label_noise=0.5).batches("train", 6))[1]
    assert int((labels != torch.tensor([0, 0, 0, 0, 1, 1])).sum()) == 3


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


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["val/n03"], r"do not have the same classes.*: n03"),
        (["train/n03", "val/n03"], "train/n03 has no images"),
    ],
)
def test_empty_classes_are_named(tree, folders, message):
    for folder in folders:
        (tree / "imagenet" / folder).mkdir()
    with pytest.raises(DataError, match=message):
        imagenet(tree)


def test_one_class_is_too_few(tmp_path):
    empty_tree(tmp_path, ("n01",))
    with pytest.raises(DataError, match=r"has 1 class folders \(n01\), expected at least 2"):
        imagenet(tmp_path)


def test_without_torchvision_the_extra_is_named(tree, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.transforms.v2", None)
    with pytest.raises(DataError, match=r"data set imagenet needs .*'mixreg\[cli\]'"):
        imagenet(tree)


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
    with pytest.warns(UserWarning, match=r"class 1 is '10' here and '2' there\): for a network"):
        data = imagenet(tmp_path)
    assert data.class_names == classes == tuple(ImageFolder(tmp_path / "train").classes)
    natural = ("1", "2", "10", "ant", "Zebra")
    reader = pytest.importorskip("timm.data.readers.reader_image_folder")
    images, numbers = reader.find_images_and_targets(str(tmp_path / "train"))
    assert tuple(sorted(numbers, key=numbers.get)) == natural
    assert imagenet(tmp_path, class_order="torchvision").class_names == classes
    assert imagenet(tmp_path, class_order="timm").class_names == natural
    data = imagenet(tmp_path, class_order=natural)
    assert data.class_names == natural
    assert sorted(held(data)) == sorted(images)


@pytest.mark.parametrize("order", [["cat"], ["cat", "dog", "cow"], ["cat", "cat", "dog"], []])
def test_a_class_order_of_other_classes_is_refused(tmp_path, order):
    empty_tree(tmp_path)
    with pytest.raises(DataError, match="class_order must name each of the 2 class folders"):
        imagenet(tmp_path, class_order=order)


# --- what is in the files ---


RAMP = np.arange(65536, dtype=np.uint32).reshape(256, 256)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


def encoded(pixels, **options):
    """An image file of pixels, or of nothing but zeros where a mode and a size are given."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else Image.new(*pixels)
    image.save(buffer, **({"format": "PNG"} | options))
    return buffer.getvalue()


BLOWN_UP = r": {}×{} pixels are \d+ once the shorter side is 256"
NOISE = np.random.default_rng(0).integers(0, 256, (260, 300, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("0.png", b"", ""),
        ("0.png", b"no image", ""),
        ("0.png", encoded(NOISE)[:2000], ""),
        *((name, EPS, "cannot identify") for name in ("0.png", "0.jpg", "0.tif")),
        ("0.png", encoded(RAMP.astype(np.int32), format="TIFF"), "mode 'I' have no stated range"),
        ("0.png", encoded(RAMP.astype(np.float32), format="TIFF"), "mode 'F' have no stated range"),
        *(
            ("0.png", encoded(("L", size)), BLOWN_UP.format(*size))
            for size in ((30000, 1), (1, 30000), (3000, 2))
        ),
    ],
)
def test_what_is_no_image_to_learn_from_is_named(tree, name, content, message):
    path = tree / "imagenet" / "val" / "n01" / "0.png"
    path.unlink()
    path.with_name(name).write_bytes(content)
    with pytest.raises(DataError, match=rf"val/n01/{name} is damaged or no image.*{message}"):
        list(imagenet(tree).batches("test", 1))


def test_the_postscript_would_be_opened_by_pillow_itself():
    assert Image.open(io.BytesIO(EPS)).format == "EPS"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_worker_names_a_damaged_image_without_a_traceback(tree):
    (tree / "imagenet" / "val" / "n02" / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"^\S*val/n02/0\.png is damaged or no image") as error:
        list(imagenet(tree, workers=1).batches("test", 1))
    assert "Traceback" not in str(error.value)


def test_an_image_of_too_many_pixels_is_named(tree, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match=r"val/n01/0\.png is damaged or no image: .*exceeds limit"):
        list(imagenet(tree).batches("test", 1))


def test_a_long_image_within_the_limit_is_read(tree):
    Image.new("L", (1000, 1), 255).save(tree / "imagenet" / "val" / "n01" / "0.png")
    ((inputs, _), *_) = imagenet(tree).batches("test", 1)
    assert inputs.amin((0, 2, 3)).tolist() == inputs.amax((0, 2, 3)).tolist()


def colours(width=4):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, width), dtype=np.uint8)
    return pixels if width > 1 else pixels[..., 0]


def decoded(path):
    return np.asarray(_open_rgb(path))


def palette_image():
    image = Image.fromarray(colours(1))
    image.putpalette(PALETTE.tobytes())
    return image


HIGH = np.repeat((RAMP // 256)[..., None], 3, axis=2)
PALETTE = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)
BITS = colours(1) > 127
CMYK = (255 - colours()[..., :3].astype(int)) * (255 - colours()[..., 3:].astype(int)) / 255


@pytest.mark.parametrize(
    ("name", "image", "options", "expected"),
    [
        ("a.png", Image.fromarray(RAMP.astype(np.uint16)), {}, HIGH),
        ("a.tif", Image.fromarray(RAMP.astype(np.uint16)), {}, HIGH),
        ("a.tif", Image.fromarray(RAMP.astype(">u2")), {}, HIGH),
        # transparency is dropped and the colour beneath kept
        ("a.png", Image.fromarray(colours(4)), {}, colours(4)[..., :3]),
        ("a.png", Image.fromarray(colours(2)), {}, np.repeat(colours(2)[..., :1], 3, axis=2)),
        ("a.png", palette_image(), {}, PALETTE[colours(1)]),
        ("a.png", palette_image(), {"transparency": 3}, PALETTE[colours(1)]),
        ("a.png", palette_image(), {"transparency": bytes(range(25))}, PALETTE[colours(1)]),
        ("a.png", Image.fromarray(BITS), {}, np.repeat(255 * BITS[..., None], 3, axis=2)),
        ("a.tif", Image.fromarray(colours(), mode="CMYK"), {}, CMYK),
        # a PNG under the name of another format
        ("ILSVRC2012.JPEG", Image.fromarray(colours(3)), {"format": "PNG"}, colours(3)),
    ],
)
def test_pixels_of_every_mode(tmp_path, name, image, options, expected):
    image.save(tmp_path / name, **options)
    assert np.abs(decoded(tmp_path / name) - expected).max() <= (image.mode == "CMYK")


def test_16_bit_pgm_keeps_its_high_byte(tmp_path):
    (tmp_path / "ramp.pgm").write_bytes(b"P5 256 256 65535\n" + RAMP.astype(">u2").tobytes())
    np.testing.assert_array_equal(decoded(tmp_path / "ramp.pgm")[..., 0], RAMP // 256)


def test_the_orientation_in_exif_is_not_applied_as_in_torchvision(tmp_path):
    image = Image.fromarray(colours(3)[:5])
    exif = image.getexif()
    exif[0x0112] = 6
    (tmp_path / "class").mkdir()
    image.save(tmp_path / "class" / "turned.png", exif=exif)
    pixels = decoded(tmp_path / "class" / "turned.png")
    np.testing.assert_array_equal(pixels, colours(3)[:5])
    np.testing.assert_array_equal(pixels, np.asarray(ImageFolder(tmp_path)[0][0]))
