"""Data sets of files: read as published, refused when damaged, fetched only when asked for."""

import gzip
import hashlib
import pickle
import struct
import sys
import zipfile
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from tests.support import Bomb

from mixreg._errors import DataError
from mixreg.data import MissingDataError, datasets, load, releases
from mixreg.data.releases import read_archive, read_cifar, read_fashion_mnist

DOWNLOADER = "download_and_extract_archive"
SIZES = (5, 3), (4, 4, 3), 2
LABELS = {"cifar10": ("labels", 10), "cifar100": ("fine_labels", 100)}


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def batch(name: str, n: int, seed: int) -> dict[str, object]:
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8)
    key, classes = LABELS[name]
    return {"data": pixels, key: [(7 * i + seed) % classes for i in range(n)]}


@pytest.fixture(params=["cifar10", "cifar100"])
def cifar(request, tmp_path, monkeypatch):
    """A small release in the official format whose digests stand in torchvision's lists."""
    name = request.param
    release = getattr(torchvision.datasets, name.upper())
    folder = tmp_path / release.base_folder
    folder.mkdir()
    names = {release.meta["key"]: [f"class {k}" for k in range(LABELS[name][1])]}
    contents = {
        "part_0": batch(name, 6, 0),
        "part_1": batch(name, 5, 1),
        "test_part": batch(name, 4, 2),
        "names": names,
    }
    digests = {}
    for file, values in contents.items():
        (folder / file).write_bytes(pickle.dumps(values, protocol=2))
        digests[file] = md5((folder / file).read_bytes())
    files = list(digests.items())
    monkeypatch.setattr(release, "train_list", files[:2])
    monkeypatch.setattr(release, "test_list", files[2:3])
    monkeypatch.setattr(release, "meta", {**release.meta, "filename": "names", "md5": files[3][1]})
    return name, folder


def test_cifar_has_every_image_and_label(cifar):
    name, folder = cifar
    train, test, class_names, *_ = read_cifar(name, folder.parent)
    batches = [batch(name, n, seed) for seed, n in enumerate((6, 5, 4))]
    planes = np.concatenate([b["data"] for b in batches]).reshape(15, 3, 32, 32)
    np.testing.assert_array_equal(torch.cat([train.inputs, test.inputs]).numpy(), planes)
    key, classes = LABELS[name]
    assert train.labels.tolist() == batches[0][key] + batches[1][key]
    assert test.labels.tolist() == batches[2][key]
    assert class_names == tuple(f"class {k}" for k in range(classes))
    assert train.inputs.dtype == torch.uint8
    assert train.inputs.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("file", ["part_0", "part_1", "test_part", "names"])
@pytest.mark.parametrize("kind", ["empty", "truncated", "one bit", "longer", "swapped", "bomb"])
def test_nothing_is_unpickled_that_is_not_the_published_file(cifar, tmp_path, file, kind):
    name, folder = cifar
    content, trace = (folder / file).read_bytes(), tmp_path / "trace"
    middle = len(content) // 2
    other = folder / ("part_0" if file != "part_0" else "part_1")
    changed = {
        "empty": b"",
        "truncated": content[:-100],
        "one bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "longer": content + b"\0",
        "swapped": other.read_bytes(),
        "bomb": pickle.dumps({"data": Bomb(trace)}),
    }[kind]
    (folder / file).write_bytes(changed)
    message = rf"{file} is damaged or not the published file: {len(changed)} bytes with MD5 "
    with pytest.raises(DataError, match=f"{message}{md5(changed)}, expected MD5 {md5(content)}"):
        read_cifar(name, folder.parent)
    assert not trace.exists()


def test_the_bomb_goes_off_where_it_is_unpickled(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "trace")))  # noqa: S301 (that is the test)
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("file", ["part_0", "test_part", "names"])
def test_an_absent_file_of_cifar_is_named(cifar, file):
    name, folder = cifar
    (folder / file).unlink()
    message = rf"is incomplete: {file} missing\. Delete its other files .*download=True"
    with pytest.raises(DataError, match=message):
        read_cifar(name, folder.parent)


def test_the_official_folder_comes_before_the_archive_even_if_damaged(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    np.savez(tmp_path / "cifar10.npz", nothing=0)
    with pytest.raises(DataError, match=r"is incomplete: batches\.meta, data_batch_1, "):
        load("cifar10", tmp_path)


CIFAR = ("download=True", "www.cs.toronto.edu", "MIXREG_DATA", "--data-root")
FASHION = ("t10k-labels-idx1-ubyte[.gz]", "FashionMNIST/raw", "MIXREG_DATA", "download=True")
SOURCES = ("package dataset-fashion-mnist", "https://github.com/zalandoresearch")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("cifar10", ("cifar-10-batches-py", "cifar10.npz", "CIFAR10(", *CIFAR)),
        ("cifar100", ("cifar-100-python", "cifar100.npz", "CIFAR100(", *CIFAR)),
        ("fashion-mnist", (*FASHION, *SOURCES)),
        ("imagenet", ("train and val", "https://image-net.org", "MIXREG_DATA")),
    ],
)
def test_missing_says_what_where_and_how(name, parts, tmp_path):
    with pytest.raises(MissingDataError) as error:
        load(name, tmp_path)
    for part in (*parts, str(tmp_path)):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


# --- one .npz file ---


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
def test_archives_are_read_with_channels_last(tmp_path, arrays, save):
    save(tmp_path / "a.npz", **arrays)
    train, test, names, *_ = read_archive(tmp_path / "a.npz", *SIZES)
    expected = arrays["train_images"].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(train.inputs.numpy(), expected)
    assert test.labels.tolist() == [1, 0, 0]
    assert test.labels.dtype == torch.int64
    assert names == ("cat", "dog")


def flagged(content: bytes, value: int, places: tuple[int, int]) -> bytes:
    """Set a byte in both headers of every member of an archive."""
    for magic, offset in zip((b"PK\x03\x04", b"PK\x01\x02"), places, strict=True):
        parts = content.split(magic)
        changed = [p[: offset - 4] + bytes([value]) + p[offset - 3 :] for p in parts[1:]]
        content = magic.join([parts[0], *changed])
    return content


def one_bit_changed(content: bytes) -> bytes:
    place = content.find(b"NUMPY") + 200
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        *((lambda c, kept=kept: c[:kept], "") for kept in (0, 10, 300, -30, -1)),
        (one_bit_changed, "Bad CRC"),
        (lambda content: flagged(content, 1, (6, 8)), ".*encr"),
        (lambda content: flagged(content, 97, (8, 10)), ".*compr"),
    ],
)
def test_damaged_archives_are_named(tmp_path, arrays, damage, message):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=rf"a\.npz is damaged or no NumPy archive: {message}"):
        read_archive(path, *SIZES)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train_images", np.zeros((5, 4, 4, 1), np.uint8), r"train_images of shape \(5, 4, 4, 1\)"),
        ("train_images", np.zeros((4, 4, 4, 3), np.uint8), r"expected \(5, 4, 4, 3\)"),
        ("train_images", np.zeros((5, 4, 4, 3)), "of dtype float64, expected uint8"),
        ("train_images", np.zeros((5, 4, 4, 3), np.int8), "of dtype int8, expected uint8"),
        ("test_labels", np.array([0, 1, 2]), "labels from 0 to 2, expected 0 to 1"),
        ("test_labels", np.array([0, -1, 1]), "labels from -1 to 1"),
        ("test_labels", np.array([0, 1, 2**64 - 1], np.uint64), f"labels from 0 to {2**64 - 1}"),
        ("test_labels", np.array([0.0, 1.0, 1.0]), "of dtype float64, expected integers"),
        ("test_labels", np.zeros(3, "timedelta64[s]"), "of dtype timedelta64.*expected integers"),
        ("test_labels", np.zeros(3, "datetime64[s]"), "of dtype datetime64.*expected integers"),
        ("test_labels", np.zeros(3, bool), "of dtype bool, expected integers"),
        ("test_labels", np.zeros(3, complex), "of dtype complex128, expected integers"),
        ("test_labels", np.array(["0", "1", "1"]), "of dtype <U1, expected integers"),
        ("test_labels", np.zeros(3, "i4,i4"), "expected integers"),
        ("class_names", np.array(["cat"]), "class_names of shape"),
        ("class_names", np.array([1, 2]), "class_names of dtype int64"),
        ("class_names", np.array([b"a", b"b"]), "class_names of dtype .S1, expected text"),
        ("class_names", np.array(["a", "b" * 300]), "class_names of dtype <U300, expected text"),
        ("class_names", np.array([{}, {}], dtype=object), "class_names of dtype object"),
    ],
)
def test_other_arrays_are_refused(tmp_path, arrays, key, value, message):
    np.savez(tmp_path / "a.npz", **{**arrays, key: value})
    with pytest.raises(DataError, match=message):
        read_archive(tmp_path / "a.npz", *SIZES)


def npy(shape: tuple[int, ...], dtype: str, data: bytes = b"") -> bytes:
    """An array file whose header may promise more than follows."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy((2**20, 2**10, 3), "|u1"), r"shape \(1048576, 1024, 3\), expected \(5, 4, 4, 3\)"),
        (npy((5, 4, 4, 3), "<f8", bytes(2000)), "dtype float64"),
        (npy((5, 4, 4, 3), "|u1", bytes(100)), "another size than its header says"),
        (npy((5, 4, 4, 3), "|u1", bytes(300_000_000)), "another size than its header says"),
        (npy((5, 4, 4, 3), "|O"), "dtype object"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b" " * 65535, "damaged or no NumPy archive"),
        (b"no array", "damaged or no NumPy archive"),
        (b"", "damaged or no NumPy archive"),
    ],
)
def test_what_a_header_promises_is_checked_before_it_is_unpacked(
    tmp_path, arrays, content, message, monkeypatch
):
    np.savez(tmp_path / "a.npz", **arrays)
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train_images.npy", content)

    def never(*_, **__):
        raise AssertionError("an array was unpacked")

    monkeypatch.setattr("numpy.lib.format.read_array", never)
    with pytest.raises(DataError, match=message):
        read_archive(tmp_path / "b.npz", *SIZES)


def test_an_array_under_another_name_is_named_and_written_nowhere(tmp_path, arrays):
    del arrays["test_labels"]
    np.savez(tmp_path / "a.npz", **arrays)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("../test_labels.npy", npy((3,), "|u1", bytes(3)))
    with pytest.raises(DataError, match="has no array 'test_labels', only"):
        read_archive(tmp_path / "a.npz", *SIZES)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


# --- Fashion-MNIST ---


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">2xBB{array.ndim}I", 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def garments() -> dict[str, np.ndarray]:
    source = np.random.default_rng(0)
    return {
        "train-images-idx3-ubyte": source.integers(0, 256, (7, 28, 28)),
        "train-labels-idx1-ubyte": np.array([0, 9, 1, 2, 3, 4, 5]),
        "t10k-images-idx3-ubyte": source.integers(0, 256, (3, 28, 28)),
        "t10k-labels-idx1-ubyte": np.array([8, 6, 7]),
    }


IMAGES = "train-images-idx3-ubyte"


def write(folder: Path, changed: dict[str, bytes] | None = None, *, compress: bool = False) -> None:
    """Write the four files, some of them changed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in garments().items():
        content = {name: idx(array), **(changed or {})}[name]
        if compress:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content, 1))
        else:
            (folder / name).write_bytes(content)


@pytest.fixture
def small_fashion(monkeypatch):
    files = {name: (array.shape, md5(idx(array))) for name, array in garments().items()}
    monkeypatch.setattr(releases, "FASHION_FILES", files)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("sub", [".", "fashion-mnist", "FashionMNIST/raw"])
@pytest.mark.usefixtures("small_fashion")
def test_fashion_is_read_plain_and_compressed_from_each_folder(tmp_path, compress, sub):
    write(tmp_path / sub, compress=compress)
    train, test, *_ = read_fashion_mnist(tmp_path)
    np.testing.assert_array_equal(train.inputs.squeeze(1).numpy(), garments()[IMAGES])
    assert train.labels.tolist() == [0, 9, 1, 2, 3, 4, 5]
    assert test.inputs.shape == (3, 1, 28, 28)
    assert test.labels.tolist() == [8, 6, 7]


def test_fashion_has_the_published_names_and_files():
    theirs = torchvision.datasets.FashionMNIST
    assert list(releases.GARMENTS) == theirs.classes
    assert [f"{name}.gz" for name in releases.FASHION_FILES] == [
        name for name, _ in theirs.resources
    ]


@pytest.mark.usefixtures("small_fashion")
def test_debians_folder_is_looked_at_last_and_only_without_a_root(no_data_around, monkeypatch):
    write(no_data_around / "system")
    monkeypatch.setattr(datasets, "DEBIAN_FOLDER", no_data_around / "system")
    assert load("fashion-mnist").size("test") == 3
    with pytest.raises(MissingDataError, match="fashion-mnist"):
        load("fashion-mnist", no_data_around / "elsewhere")
    write(no_data_around / "data", dict.fromkeys(garments(), b""))
    with pytest.raises(DataError, match="data/train-images-idx3-ubyte is no idx file"):
        load("fashion-mnist")


@pytest.mark.parametrize("name", list(garments()))
@pytest.mark.usefixtures("small_fashion")
def test_an_absent_file_of_fashion_is_named(tmp_path, name):
    write(tmp_path)
    (tmp_path / name).unlink()
    message = rf"is incomplete: {name} missing\. Delete its other files .*download=True"
    with pytest.raises(DataError, match=message):
        read_fashion_mnist(tmp_path)


COMPRESSED = gzip.compress(idx(garments()[IMAGES]), 1, mtime=0)


@pytest.mark.parametrize(
    "content", [idx(garments()[IMAGES]), *(COMPRESSED[:kept] for kept in (0, 3, 16, 5000, -1))]
)
@pytest.mark.usefixtures("small_fashion")
def test_damaged_compressed_files_are_named(tmp_path, content):
    write(tmp_path, compress=True)
    (tmp_path / f"{IMAGES}.gz").write_bytes(content)
    with pytest.raises(DataError, match=rf"{IMAGES}\.gz is (damaged, or no gzip file|no idx file)"):
        read_fashion_mnist(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(np.zeros((7, 28, 27))), "is no idx file of unsigned bytes of shape"),
        (idx(np.zeros((6, 28, 28))), "is no idx file of unsigned bytes of shape"),
        (idx(np.zeros(7)), "is no idx file of unsigned bytes of shape"),
        (idx(garments()[IMAGES])[:-1], "is damaged or not the published file: 5503 bytes"),
        (idx(garments()[IMAGES]) + b"\0", "is damaged or not the published file: 5505 bytes"),
        (idx(garments()[IMAGES]) + bytes(10**8), "not the published file: 5505 bytes"),
        (idx(np.zeros((7, 28, 28))), "is damaged or not the published file"),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.usefixtures("small_fashion")
def test_other_contents_of_fashion_are_refused(tmp_path, content, message, compress):
    write(tmp_path, {IMAGES: content}, compress=compress)
    with pytest.raises(DataError, match=f"{IMAGES}.*{message}"):
        read_fashion_mnist(tmp_path)


# --- downloads ---


@pytest.fixture
def calls(monkeypatch):
    """What torchvision's downloader was asked for, instead of a download."""
    asked = []

    def record(url, folder, *, filename, md5):
        asked.append((url, folder, filename, md5))

    monkeypatch.setattr(torchvision.datasets.utils, DOWNLOADER, record)
    return asked


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100", "FashionMNIST"])
def test_what_is_missing_is_fetched_as_torchvision_does(calls, tmp_path, name):
    theirs, root = getattr(torchvision.datasets, name), tmp_path / "new"
    name = {"FashionMNIST": "fashion-mnist"}.get(name, name.lower())
    with pytest.raises(DataError, match=f"data set '{name}' is missing"):
        load(name, root, download=True)
    if name == "fashion-mnist":
        folder, url = str(root / "FashionMNIST" / "raw"), theirs.mirrors[0]
        assert calls == [(url + file, folder, file, md5) for file, md5 in theirs.resources]
    else:
        assert calls == [(theirs.url, str(root), theirs.filename, theirs.tgz_md5)]
    assert root.is_dir()


def test_nothing_is_fetched_unasked_or_over_damaged_files_or_for_embedded_sets(calls, tmp_path):
    with pytest.raises(MissingDataError):
        load("cifar10", tmp_path)
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match="is incomplete"):
        load("cifar10", tmp_path, download=True)
    assert load("digits", download=True).size("test") == 450
    assert calls == []


@pytest.mark.parametrize("failure", [URLError, TimeoutError, RuntimeError])
def test_a_failed_download_is_one_clear_error(monkeypatch, tmp_path, failure):
    def fail(*args, **options):
        raise failure("no route to host")

    monkeypatch.setattr(torchvision.datasets.utils, DOWNLOADER, fail)
    with pytest.raises(DataError, match=rf"downloading cifar10 to {tmp_path} failed: .*no route"):
        load("cifar10", tmp_path, download=True)


@pytest.mark.parametrize("name", ["cifar10", "fashion-mnist"])
def test_without_torchvision_the_extra_is_named(monkeypatch, tmp_path, name):
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(DataError, match=rf"{name} needs .*pip install 'mixreg\[cli\]'"):
        load(name, tmp_path, download=True)


def test_a_root_that_cannot_be_made_and_imagenet_are_refused(calls, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"failed: .*File exists"):
        load("cifar10", tmp_path / "file", download=True)
    with pytest.raises(DataError, match="'imagenet' cannot be downloaded automatically"):
        load("imagenet", tmp_path, download=True)
