import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
import torchvision

from mixreg._errors import DataError
from mixreg.data import fashion_mnist, load
from mixreg.data.fashion_mnist import (
    CLASS_NAMES,
    FASHION_MNIST,
    IdxFile,
    Release,
    read_fashion_mnist,
)
from mixreg.data.location import MissingDataError


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">2xBB{array.ndim}I", 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def arrays() -> dict[str, np.ndarray]:
    source = np.random.default_rng(0)
    return {
        "train-images-idx3-ubyte": source.integers(0, 256, (7, 28, 28)),
        "train-labels-idx1-ubyte": np.array([0, 9, 1, 2, 3, 4, 5]),
        "t10k-images-idx3-ubyte": source.integers(0, 256, (3, 28, 28)),
        "t10k-labels-idx1-ubyte": np.array([8, 6, 7]),
    }


def write(folder: Path, contents: dict[str, bytes], *, compress: bool = False) -> Release:
    """Write the four files and state their digests."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for (name, content), array in zip(contents.items(), arrays().values(), strict=True):
        if compress:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        files.append(IdxFile(name, md5, array.shape))
    return Release(*files)


def published() -> dict[str, bytes]:
    return {name: idx(array) for name, array in arrays().items()}


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("sub", [".", "fashion-mnist", "FashionMNIST/raw"])
def test_reads_plain_and_compressed_files_from_each_folder(tmp_path, compress, sub):
    release = write(tmp_path / sub, published(), compress=compress)
    official = read_fashion_mnist(tmp_path, release)
    images = arrays()["train-images-idx3-ubyte"]
    np.testing.assert_array_equal(official.train.inputs.squeeze(1).numpy(), images)
    assert official.train.labels.tolist() == [0, 9, 1, 2, 3, 4, 5]
    assert official.test.inputs.shape == (3, 1, 28, 28)
    assert official.test.labels.tolist() == [8, 6, 7]


def test_names_and_files_are_the_published_ones():
    theirs = torchvision.datasets.FashionMNIST
    assert list(CLASS_NAMES) == theirs.classes
    files = [f"{file.name}.gz" for file in FASHION_MNIST.files]
    assert files == [name for name, _ in theirs.resources]


def test_debians_folder_is_looked_at_last_and_only_without_a_root(no_data_around, monkeypatch):
    system = no_data_around / "system"
    release = write(system, published())
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", system)
    assert len(read_fashion_mnist(None, release).test.labels) == 3
    with pytest.raises(MissingDataError, match="fashion-mnist"):
        read_fashion_mnist(no_data_around / "elsewhere", release)
    write(no_data_around / "data", dict.fromkeys(published(), b""))
    with pytest.raises(DataError, match="data/train-images-idx3-ubyte is no idx file"):
        read_fashion_mnist(None, release)


def test_missing_says_what_where_and_how(tmp_path):
    with pytest.raises(MissingDataError) as error:
        load("fashion-mnist", tmp_path)
    message = str(error.value)
    for part in (
        "t10k-labels-idx1-ubyte[.gz]",
        str(tmp_path / "FashionMNIST/raw"),
        "MIXREG_DATA",
        "FashionMNIST(ROOT, download=True)",
        "package dataset-fashion-mnist",
        "https://github.com/zalandoresearch/fashion-mnist",
    ):
        assert part in message


@pytest.mark.parametrize("name", list(arrays()))
def test_an_absent_file_is_named(tmp_path, name):
    release = write(tmp_path, published())
    (tmp_path / name).unlink()
    message = rf"is incomplete: {name} missing\. Delete its other files .*download=True"
    with pytest.raises(DataError, match=message):
        read_fashion_mnist(tmp_path, release)


@pytest.mark.parametrize("kept", [0, 3, 16, 5000, -1])
def test_truncated_compressed_files_are_named(tmp_path, kept):
    release = write(tmp_path, published(), compress=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is (damaged|no idx file)"):
        read_fashion_mnist(tmp_path, release)


def test_a_file_that_is_not_compressed_despite_its_name_is_refused(tmp_path):
    release = write(tmp_path, published(), compress=True)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(published()["t10k-labels-idx1-ubyte"])
    with pytest.raises(DataError, match="or no gzip file"):
        read_fashion_mnist(tmp_path, release)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(np.zeros((7, 28, 27))), "is no idx file of unsigned bytes of shape"),
        (idx(np.zeros((6, 28, 28))), "is no idx file of unsigned bytes of shape"),
        (idx(np.zeros(7)), "is no idx file of unsigned bytes of shape"),
        (published()["train-images-idx3-ubyte"][:-1], r"holds 5487 values, expected 5488"),
        (published()["train-images-idx3-ubyte"] + b"\0", r"holds 5489 values, expected 5488"),
        (idx(np.zeros((7, 28, 28))), "is damaged or not the published file"),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_wrong_contents_are_refused(tmp_path, content, message, compress):
    release = write(tmp_path, published(), compress=compress)
    changed = {**published(), "train-images-idx3-ubyte": content}
    write(tmp_path, changed, compress=compress)
    with pytest.raises(DataError, match=f"train-images-idx3-ubyte.*{message}"):
        read_fashion_mnist(tmp_path, release)


def test_labels_out_of_range_are_refused_even_with_the_right_digest(tmp_path):
    contents = {**published(), "t10k-labels-idx1-ubyte": idx(np.array([8, 10, 7]))}
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte holds labels from 0 to 10"):
        read_fashion_mnist(tmp_path, write(tmp_path, contents))


def test_no_more_than_the_published_size_is_unpacked(tmp_path):
    release = write(tmp_path, published(), compress=True)
    bomb = published()["train-images-idx3-ubyte"] + bytes(200_000_000)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bomb, 1))
    with pytest.raises(DataError, match="holds 5489 values, expected 5488"):
        read_fashion_mnist(tmp_path, release)
