import zipfile

import numpy as np
import pytest
import torch

from mixreg._errors import DataError
from mixreg.data.image_archive import read_archive

SIZES = {"train_size": 5, "test_size": 3, "shape": (4, 4, 3), "num_classes": 2}


@pytest.fixture
def arrays():
    source = np.random.default_rng(0)
    return {
        "train_images": source.integers(0, 256, (5, 4, 4, 3), dtype=np.uint8),
        "train_labels": np.array([0, 1, 1, 0, 1]),
        "test_images": source.integers(0, 256, (3, 4, 4, 3), dtype=np.uint8),
        "test_labels": np.array([1, 0, 0], dtype=np.uint8),
        "class_names": np.array(["cat", "dog"]),
    }


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_reads_channels_last_images(tmp_path, arrays, save):
    save(tmp_path / "a.npz", **arrays)
    official = read_archive(tmp_path / "a.npz", **SIZES)
    expected = arrays["train_images"].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(official.train.inputs.numpy(), expected)
    assert official.test.labels.tolist() == [1, 0, 0]
    assert official.test.labels.dtype == torch.int64
    assert official.class_names == ("cat", "dog")


@pytest.mark.parametrize("kept", [0, 10, 300, -30, -1])
def test_truncated_archives_are_named(tmp_path, arrays, kept):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"a\.npz is (no NumPy archive|damaged)"):
        read_archive(path, **SIZES)


def test_a_changed_byte_is_noticed(tmp_path, arrays):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    content = bytearray(path.read_bytes())
    place = content.find(arrays["train_images"].tobytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz is damaged or no NumPy archive: Bad CRC"):
        read_archive(path, **SIZES)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train_images", np.zeros((5, 4, 4, 1), np.uint8), r"train_images of shape \(5, 4, 4, 1\)"),
        ("train_images", np.zeros((4, 4, 4, 3), np.uint8), r"expected \(5, 4, 4, 3\)"),
        ("train_images", np.zeros((5, 4, 4, 3)), "train images of dtype float64"),
        ("test_labels", np.array([0, 1, 2]), "labels from 0 to 2, expected 0 to 1"),
        ("test_labels", np.array([0, -1, 1]), "labels from -1 to 1"),
        ("test_labels", np.array([0.0, 1.0, 1.0]), "labels of float64"),
        ("class_names", np.array(["cat"]), "class_names of shape"),
        ("class_names", np.array([1, 2]), "class names of dtype int64"),
        ("class_names", np.array([{}, {}], dtype=object), "allow_pickle=False"),
    ],
)
def test_other_contents_are_refused(tmp_path, arrays, key, value, message):
    np.savez(tmp_path / "a.npz", **{**arrays, key: value})
    with pytest.raises(DataError, match=message):
        read_archive(tmp_path / "a.npz", **SIZES)


@pytest.mark.parametrize("name", ["train_images", "train_images.npy"])
def test_a_member_that_is_no_array_is_named(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr(name, b"no array")
    with pytest.raises(DataError, match="holds train_images as something else than a NumPy array"):
        read_archive(tmp_path / "a.npz", **SIZES)


@pytest.mark.parametrize(("field", "value"), [("flag_bits", 1), ("compress_type", 97)])
def test_encryption_and_unknown_compression_are_refused(tmp_path, arrays, field, value):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    content = bytearray(path.read_bytes())
    places = {"flag_bits": (6, 8), "compress_type": (8, 10)}[field]
    for magic, offset in zip((b"PK\x03\x04", b"PK\x01\x02"), places, strict=True):
        start = content.find(magic)
        while start >= 0:
            content[start + offset] = value
            start = content.find(magic, start + 1)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz is damaged or no NumPy archive: .*(encr|compr)"):
        read_archive(path, **SIZES)


def test_an_absent_array_is_named(tmp_path, arrays):
    del arrays["test_labels"]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match="has no array 'test_labels', only"):
        read_archive(tmp_path / "a.npz", **SIZES)
