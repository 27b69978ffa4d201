"""A user's own data: every form is read, and what is no data to learn from is named."""

import os

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tests.support import joined
from torch.utils.data import DataLoader, TensorDataset

from mixreg._errors import DataError, MixregError
from mixreg.data import Preprocessing, load

WHOLE = {"validation_fraction": 0.0}
IMAGES = Preprocessing((8,), (8,), mean=(0.5,), std=(0.25,))


def sizes(data):
    return [data.size(split) for split in ("train", "validation", "test")]


def picture(path, value=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (10, 12), (value, 0, 0)).save(path)


def tree(root, *splits, classes=("ant", "bee"), n=4):
    for split in splits:
        for k, name in enumerate(classes):
            for i in range(n):
                picture(root / split / name / f"{i}.png", 100 + 50 * k)
    return root


def own(path, **options):
    return load(str(path), **({"preprocessing": IMAGES, "workers": 0} | WHOLE | options))


# --- folders of class folders ---


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (("train", "val"), [8, 0, 8]),
        (("Training", "valid", "testing"), [8, 8, 8]),
        (("train", "validation", "test"), [8, 8, 8]),
        (("set/images/train", "set/images/test", "set/more"), [8, 0, 8]),
        (("",), [6, 0, 2]),
    ],
)
def test_split_folders_of_any_name_and_depth(tmp_path, splits, expected):
    data = own(tree(tmp_path, *splits))
    assert sizes(data) == expected
    assert data.class_names == ("ant", "bee")
    assert data.input_shape == (3, 8, 8)
    x, y = joined(data.batches("test", 3))
    values = (torch.where(y == 0, 100, 150) / 255 - 0.5) / 0.25
    torch.testing.assert_close(x[:, 0, 0, 0], values)
    assert any("is not split" in note for note in data.notes) == (splits == ("",))
    assert "the shorter side resized to 8 (bilinear), the middle 8×8 cut out" in data.notes[-1]


def test_a_class_without_test_examples_is_said(tmp_path):
    tree(tmp_path, "train", classes=("ant", "bee", "cow"))
    tree(tmp_path, "test")
    data = own(tmp_path)
    assert f"No test example of {tmp_path} is of the classes cow." in data.notes
    assert joined(data.batches("test", 9))[1].unique().tolist() == [0, 1]


def test_height_and_width_and_other_sizes(tmp_path):
    data = own(
        tree(tmp_path, "train", "test"),
        preprocessing=Preprocessing((4, 6), (8, 9), "bicubic", (0.0,), (1.0,)),
    )
    assert next(iter(data.batches("test", 2)))[0].shape == (2, 3, 4, 6)
    assert next(iter(data.train_batches(2, seed=0, epoch=0)))[0].shape == (2, 3, 4, 6)


FOLDERS = [
    (lambda p: tree(p, "train", "val", classes=("ant",)), r"train has 1 class folders \(ant\)"),
    (lambda p: tree(p, "", classes=("ant",)), r"has 1 class folders \(ant\), expected at least 2"),
    (lambda p: tree(p, "train"), r"has class folders in train and none for testing .* are train$"),
    (lambda p: tree(p, "train", "rest"), r"and none for testing .*; there are rest, train$"),
    (lambda p: (tree(p, "train", "val") / "val" / "cow").mkdir(), "without training images: cow"),
    (lambda p: (tree(p, "train", "val") / "train" / "cow").mkdir(), "train/cow has no images"),
    (lambda p: tree(p, "train", "val", "valid"), "has both val and valid; keep one of them"),
    (lambda p: tree(p, "a/train", "a/test", "b/train", "b/test"), "several places: .*/a, .*/b"),
]


@pytest.mark.parametrize(("make", "message"), FOLDERS)
def test_folders_that_are_no_data(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(DataError, match=message) as error:
        own(tmp_path)
    assert "\n" not in str(error.value)


def test_a_corrupt_image_is_named(tmp_path):
    tree(tmp_path, "train", "test")
    (tmp_path / "test" / "bee" / "3.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"test/bee/3\.png is damaged or no image"):
        list(own(tmp_path).batches("test", 4))


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (None, "need --image-size and --resize"),
        (Preprocessing((8,), mean=(0.5,), std=(1.0,)), "need --resize"),
        (Preprocessing((8,), (8,)), r"need mean and std .*, got \[\] and \[\]"),
        (Preprocessing((8,), (8,), mean=(0.5,) * 2, std=(1.0,)), "one finite number each or 3"),
        (Preprocessing((8,), (8,), mean=(0.5,), std=(0.0,)), "must be above 0"),
        (Preprocessing((8, 8, 8), (8,), mean=(0.5,), std=(1.0,)), "need one or two numbers"),
        (Preprocessing((8,), (8,), "cubic", (0.5,), (1.0,)), "unknown interpolation 'cubic'"),
    ],
)
def test_nothing_is_guessed_of_images(tmp_path, stated, message):
    with pytest.raises(DataError, match=message):
        own(tree(tmp_path, "train", "test"), preprocessing=stated)


# --- tables and arrays ---


def frame(n=8):
    return pd.DataFrame(
        {"a": np.arange(n) * 1.0, "kind": ["x", "y"] * (n // 2), "b": np.arange(n) % 3}
    )


def write(table, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False) if path.suffix == ".csv" else table.to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables(tmp_path, suffix):
    alone = load(str(write(frame(), tmp_path / f"t{suffix}")), label="kind", **WHOLE)
    assert sizes(alone) == [6, 0, 2]
    assert alone.class_names == ("x", "y")
    for split in ("train", "val", "test"):
        write(frame(), tmp_path / "split" / f"{split}{suffix}")
    data = load(str(tmp_path / "split"), label="kind", standardise=True)
    assert sizes(data) == [8, 8, 8]
    x, y = joined(data.batches("train", 8))
    assert y.tolist() == [0, 1] * 4
    table = frame()[["a", "b"]].to_numpy()
    expected = torch.from_numpy((table - table.mean(0)) / table.std(0)).float()
    torch.testing.assert_close(x, expected)


def holed(column):
    table = frame().astype({"b": float})
    table.loc[2, column] = None
    return table


TABLES = [
    (frame(), {}, r"say which \(--label\); there are a, kind, b"),
    (frame(), {"label": "c"}, r"'c' is none \(--label\); there are a, kind, b"),
    (holed("b"), {"label": "kind"}, r"missing values in b \(1 rows\)"),
    (holed("kind"), {"label": "kind"}, r"missing values in kind \(1 rows\)"),
    (frame(), {"label": "b"}, "has columns that are no numbers: kind"),
    (frame().drop(columns="kind"), {"label": "a"}, "labels of float64; expected class indices"),
    (frame().drop(columns="kind").assign(b=3), {"label": "b"}, "the training labels .* are 3; "),
    (frame().assign(kind="x"), {"label": "kind"}, "has labels of 1 class"),
    (frame().assign(a=np.inf), {"label": "kind"}, "inputs that are not finite"),
    (frame(), {"label": "kind", "preprocessing": IMAGES}, "and .* holds features"),
]


@pytest.mark.parametrize(("table", "options", "message"), TABLES)
def test_tables_that_are_no_data(tmp_path, table, options, message):
    for suffix in (".csv", ".parquet"):
        path = write(table, tmp_path / f"t{suffix}")
        with pytest.raises(DataError, match=message) as error:
            load(str(path), **WHOLE, **options)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",a,kind\n0,1,x\n1,2,y\n", "has a column without a name"),
        ("a,kind\n0,1,x\n1,2,y\n", "is damaged or no table: Length of header"),
    ],
)
def test_columns_without_a_name(tmp_path, text, message):
    """The index that pandas writes would be a feature; one beyond the header moves the others."""
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load(str(tmp_path / "t.csv"), label="kind")


def test_a_constant_feature_is_left_as_it_is(tmp_path):
    write(frame().assign(b=0.1), tmp_path / "train.csv")
    write(frame().assign(b=0.2), tmp_path / "test.csv")
    x, _ = joined(load(str(tmp_path), label="kind", standardise=True).batches("test", 8))
    torch.testing.assert_close(x[:, 1], torch.full((8,), 0.1))


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.npz", "t.npy"])
def test_damaged_files(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x00\xff" * 40)
    with pytest.raises(DataError, match=rf"t\.{name[2:]} is damaged or ") as error:
        load(str(tmp_path / name), label="a" if name[2:] in ("csv", "parquet") else None)
    assert "\n" not in str(error.value)


def arrays(channels_last=True, dtype=np.uint8):
    shape = (6, 4, 4, 3) if channels_last else (6, 3, 4, 4)
    x = np.random.default_rng(0).integers(0, 255, shape).astype(dtype)
    return {
        "x_train": x,
        "y_train": np.arange(6)[:, None] % 2,
        "x_test": x,
        "y_test": np.arange(6) % 2,
    }


def test_arrays_of_images(tmp_path):
    stated = Preprocessing(mean=(0.5,), std=(0.5,))
    for last in (True, False):
        np.savez(tmp_path / "a.npz", **arrays(last))
        data = load(str(tmp_path / "a.npz"), preprocessing=stated, **WHOLE)
        pixels = torch.from_numpy(arrays(last)["x_test"]).float() / 255
        expected = (pixels.permute(0, 3, 1, 2) if last else pixels) * 2 - 1
        x, y = joined(data.batches("test", 4))
        torch.testing.assert_close(x, expected)
        assert y.tolist() == [0, 1] * 3
    with pytest.raises(DataError, match=r"images need mean and std .*--mean, --std"):
        load(str(tmp_path / "a.npz"))
    with pytest.raises(DataError, match=r"images of 4×4 pixels, which are not resized to 8×8"):
        load(str(tmp_path / "a.npz"), preprocessing=IMAGES)


def test_features_and_grey_images_beside_one_another(tmp_path):
    for name, array in arrays(dtype=np.float64).items():
        np.save(tmp_path / f"{name}.npy", array)
    data = load(str(tmp_path / "x_train.npy"), **WHOLE)
    assert data.input_shape == (4, 4, 3)
    np.savez(tmp_path / "b.npz", images=np.zeros((8, 5, 5), np.uint8), labels=np.arange(8) % 2)
    data = load(str(tmp_path / "b.npz"), preprocessing=Preprocessing(mean=(0.0,), std=(1.0,)))
    assert data.input_shape == (1, 5, 5)


ARRAYS = [
    ({"y_train": np.eye(2)[[0, 1, 0]]}, r"soft or one-hot labels of shape \(3, 2\)"),
    ({"y_train": np.array([0.0, 1.0, 0.5])}, "labels of float64; expected class indices"),
    ({"y_train": np.array([0, 1])}, "has 3 inputs and 2 labels"),
    ({"y_train": np.array([1, 2, 2])}, "labels of .* are 1, 2; expected the class indices from 0"),
    ({"y_test": np.array([0, 1, 2])}, "the labels 2 of .* are none of the 2 classes"),
    ({"weights": np.ones(3)}, "holds the array weights; expected inputs"),
    ({"y_test": None}, "has only inputs for the split test"),
    ({"x_test": None, "y_test": None}, "has training samples and none for testing"),
    ({"x_train": None, "y_train": None}, r"has the parts test, and none for training"),
    ({"x_train": np.array(["a", "b", "c"])}, "inputs of <U1 and shape"),
    ({"x_train": np.ones((0, 2)), "y_train": np.array([], int)}, "no examples for training"),
    ({"class_names": np.array("ant")}, "class_names that are no list of different names"),
    ({"class_names": np.array(["ant", "ant"])}, "class_names that are no list of different names"),
    ({"y_train": np.array(["a", "b", "a"]), "class_names": np.array(["a", "c"])}, "the labels b "),
]


@pytest.mark.parametrize(("changed", "message"), ARRAYS)
def test_arrays_that_are_no_data(tmp_path, changed, message):
    x, y = np.ones((3, 2)), np.array([0, 1, 0])
    held = {"x_train": x, "y_train": y, "x_test": x, "y_test": y} | changed
    np.savez(tmp_path / "a.npz", **{name: a for name, a in held.items() if a is not None})
    with pytest.raises(DataError, match=message) as error:
        load(str(tmp_path / "a.npz"))
    assert "\n" not in str(error.value)


def test_text_is_numbered_as_class_names_say(tmp_path):
    x, y = np.arange(8.0)[:, None], np.array(["dog", "cat"] * 4)
    np.savez(tmp_path / "a.npz", x=x, y=y, class_names=np.array(["dog", "ape", "cat"]))
    (tmp_path / "a.npz").rename(tmp_path / "A.NPZ")
    data = load(str(tmp_path / "A.NPZ"), **WHOLE)
    inputs, labels = joined(data.batches("train", 8))
    assert data.class_names == ("dog", "ape", "cat")
    assert labels.tolist() == [2 * (int(value) % 2) for value in inputs[:, 0]]
    np.save(tmp_path / "b.npy", x)
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    with pytest.raises(DataError, match=r"b\.npz is damaged or holds objects"):
        load(str(tmp_path / "b.npz"))


# --- Hugging Face ---


def saved(path, columns, kinds, splits=("train", "test")):
    table = datasets.Dataset.from_dict(columns, datasets.Features(kinds))
    whole = datasets.DatasetDict(dict.fromkeys(splits, table)) if splits else table
    whole.save_to_disk(str(path))
    return path


KINDS = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee"])}


def shots(tmp_path, n=4):
    for i in range(n):
        picture(tmp_path / f"{i}.png", 10 * i)
    return [str(tmp_path / f"{i}.png") for i in range(n)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_images_of_hugging_face(tmp_path):
    columns = {"image": shots(tmp_path), "label": [0, 1, 0, 1]}
    more = {name: 2 * column for name, column in columns.items()}
    data = own(saved(tmp_path / "set", columns, KINDS))
    assert (data.class_names, sizes(data)) == (("ant", "bee"), [4, 0, 4])
    x, y = joined(data.batches("test", 3))
    assert y.tolist() == [0, 1, 0, 1]
    values = (torch.arange(4) * 10 / 255 - 0.5) / 0.25
    torch.testing.assert_close(x[:, 0, 0, 0], values)
    assert next(iter(data.train_batches(2, seed=0, epoch=0)))[0].shape == (2, 3, 8, 8)
    assert sizes(own(saved(tmp_path / "whole", more, KINDS, None))) == [6, 0, 2]
    with pytest.raises(DataError, match="has too few samples"):
        own(saved(tmp_path / "few", columns, KINDS, None))
    columns["image"][3] = None
    with pytest.raises(DataError, match=r"row 3 is damaged or no image"):
        list(own(saved(tmp_path / "hole", columns, KINDS)).batches("test", 4))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_numbers_of_hugging_face_and_what_is_no_data(tmp_path):
    kinds = {"a": datasets.Value("float32"), "label": KINDS["label"]}
    table = {"a": [0.1, 0.2, 0.3, 0.4], "label": [0, 1, 1, 1]}
    data = load(str(saved(tmp_path / "set", table, kinds)), **WHOLE)
    assert joined(data.batches("test", 4))[0].tolist() == pytest.approx(
        torch.tensor([[0.1], [0.2], [0.3], [0.4]]).numpy()
    )
    text = {"text": datasets.Value("string"), "label": KINDS["label"]}
    saved(tmp_path / "text", {"text": ["a", "b"], "label": [0, 1]}, text)
    with pytest.raises(DataError, match="columns that are no numbers: text"):
        load(str(tmp_path / "text"))
    saved(tmp_path / "split", table, kinds, ("left", "right"))
    with pytest.raises(DataError, match="has the splits left, right; expected train and test"):
        load(str(tmp_path / "split"))
    saved(tmp_path / "none", {"a": table["a"], "label": [0, -1, 1, 1]}, kinds)
    with pytest.raises(DataError, match=r"the labels -1 of .* are none of the 2 classes"):
        load(str(tmp_path / "none"))


# --- functions ---


def loaders(x=None, y=None, n=2, **options):
    x = torch.randn(10, 3) if x is None else x
    y = torch.arange(10) % 2 if y is None else y
    return tuple(DataLoader(TensorDataset(x, y), batch_size=4, **options) for _ in range(n))


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of a user in the current folder, whose function returns what is asked for."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made_here.py").write_text("returned = None\ndef make(): return returned\n")
    (tmp_path / "broken_here.py").write_text("def make(): return 1 / 0\n")
    before = list(os.sys.path)

    def give(value):
        import made_here  # the reader has imported it from the current folder

        made_here.returned = value

    monkeypatch.syspath_prepend(tmp_path)
    yield give
    os.sys.modules.pop("made_here", None)
    os.sys.modules.pop("broken_here", None)
    assert [p for p in os.sys.path if p != str(tmp_path)] == before


def test_loaders_of_a_function(module):
    x = torch.arange(20.0).reshape(10, 2)
    module(loaders(x, n=3))
    data = load("made_here:make")
    assert (sizes(data), data.num_classes, data.input_shape) == ([10, 10, 10], 2, (2,))
    for size in (1, 3, 7, 20):
        batches = list(data.batches("train", size))
        assert [len(y) for _, y in batches[:-1]] == [size] * (len(batches) - 1)
        assert joined(batches)[0].equal(x)
    assert joined(data.batches("test", 3, rank=1, world_size=3))[0].equal(x[1::3])
    assert joined(data.train_batches(4, seed=0, epoch=0))[0].equal(x)


SOFT = torch.eye(2)[torch.arange(10) % 2]
RETURNED = [
    (lambda: None, "returned NoneType, expected the loaders"),
    (lambda: loaders(n=1), r"returned tuple, expected the loaders \(train, test\)"),
    (lambda: tuple(map(iter, loaders())), "returned an iterator, which ends"),
    (lambda: loaders(y=SOFT), "labels must be class indices of shape"),
    (lambda: loaders(y=torch.randn(10)), "labels must be class indices of shape"),
    (lambda: loaders(x=torch.ones(10, 2).long()), "a batch must be a pair of inputs, floating"),
    (lambda: ([torch.ones(3)], [torch.ones(3)]), "a batch must be a pair of inputs"),
    (lambda: loaders(y=torch.zeros(10).long()), "of 1 classes"),
    (lambda: ([(SOFT[:0], torch.zeros(0).long())], []), r"at least one, got inputs \(0, 2\)"),
    (lambda: (loaders()[0], []), "gave 10 training and 0 test examples"),
    (lambda: (loaders()[0], loaders(y=torch.full((10,), 5))[0]), "no training example .* label 5"),
]


@pytest.mark.parametrize(("returned", "message"), RETURNED)
def test_a_function_that_returns_something_else(module, returned, message):
    module(returned())
    with pytest.raises(DataError, match=message) as error:
        load("made_here:make")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:make", "calling .* failed: ModuleNotFoundError"),
        ("made_here:nothing", "calling .* failed: AttributeError"),
        ("broken_here:make", "calling .* failed: ZeroDivisionError: division by zero"),
        ("./nowhere", r"there is no folder ./nowhere, and it is neither"),
    ],
)
@pytest.mark.usefixtures("module")
def test_what_is_not_there(name, message):
    with pytest.raises(DataError, match=message):
        load(name)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("digits", {"label": "a"}),
        ("digits", {"preprocessing": IMAGES}),
        ("made_here:make", {"class_order": "timm"}),
        ("made_here:make", {"label": "a"}),
        ("made_here:make", {"training_fraction": 0.5}),
        ("made_here:make", {"preprocessing": IMAGES}),
    ],
)
def test_options_of_other_data(module, name, options):
    module(loaders())
    with pytest.raises((ValueError, MixregError), match=r"(is|are) (not )?for |is none"):
        load(name, **options)
