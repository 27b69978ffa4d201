import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from mixreg._errors import DataError
from mixreg.data import load
from mixreg.data.cifar import CIFAR10, CIFAR100, Release, read_cifar

PUBLISHED = {
    "cifar10": (CIFAR10, torchvision.datasets.CIFAR10),
    "cifar100": (CIFAR100, torchvision.datasets.CIFAR100),
}


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class Maker:
    """Writes a small release in the official format, with the digests of what it wrote."""

    def __init__(self, root: Path, release: Release, dump: Callable[[object], bytes]) -> None:
        self.folder = root / release.folder
        self.folder.mkdir()
        self.release = release
        self.dump = dump

    def write(self, name: str, values: object) -> tuple[str, str]:
        content = values if isinstance(values, bytes) else self.dump(values)
        (self.folder / name).write_bytes(content)
        return name, md5(content)

    def small(self, planar_images, sizes: tuple[int, ...], test_size: int) -> Release:
        key, classes = self.release.label_key, self.release.num_classes
        batches = [
            {b"data": planar_images(n, seed), key: [(7 * i + seed) % classes for i in range(n)]}
            for seed, n in enumerate((*sizes, test_size))
        ]
        names = [f"class {k}".encode() for k in range(classes)]
        train = tuple(self.write(f"part_{i}", b) for i, b in enumerate(batches[:-1]))
        return dataclasses.replace(
            self.release,
            train=train,
            test=self.write("test_part", batches[-1]),
            meta=self.write("names", {self.release.names_key: names}),
            train_size=sum(sizes),
            test_size=test_size,
        )


@pytest.fixture(params=["cifar10", "cifar100"])
def maker(request, tmp_path, python2_pickle) -> Maker:
    return Maker(tmp_path, PUBLISHED[request.param][0], python2_pickle)


def test_reads_every_image_and_label(maker, tmp_path, planar_images):
    official = read_cifar(maker.small(planar_images, (6, 5), 4), tmp_path)
    classes = maker.release.num_classes
    planes = np.concatenate([planar_images(6, 0), planar_images(5, 1)]).reshape(11, 3, 32, 32)
    assert official.train.inputs.dtype == torch.uint8
    np.testing.assert_array_equal(official.train.inputs.numpy(), planes)
    labels = [(7 * i) % classes for i in range(6)] + [(7 * i + 1) % classes for i in range(5)]
    assert official.train.labels.tolist() == labels
    tested = planar_images(4, 2).reshape(4, 3, 32, 32)
    np.testing.assert_array_equal(official.test.inputs.numpy(), tested)
    assert official.class_names == tuple(f"class {k}" for k in range(classes))
    assert official.train.inputs.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", PUBLISHED)
def test_digests_are_those_torchvision_checks(name):
    release, theirs = PUBLISHED[name]
    assert release.folder == theirs.base_folder
    assert [list(pair) for pair in release.train] == theirs.train_list
    assert [list(release.test)] == theirs.test_list
    assert release.meta == (theirs.meta["filename"], theirs.meta["md5"])
    assert release.names_key.decode() == theirs.meta["key"]


def test_a_truncated_file_is_named(maker, tmp_path, planar_images):
    release = maker.small(planar_images, (6, 5), 4)
    path = maker.folder / "part_1"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"part_1 is damaged or not the published file: \d+ bytes"):
        read_cifar(release, tmp_path)


def test_one_changed_bit_is_noticed(maker, tmp_path, planar_images):
    release = maker.small(planar_images, (6,), 4)
    path = maker.folder / "test_part"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"test_part.*MD5 {md5(content)}, expected MD5"):
        read_cifar(release, tmp_path)


@pytest.mark.parametrize("name", ["part_0", "test_part", "names"])
def test_an_absent_file_is_named(maker, tmp_path, planar_images, name):
    release = maker.small(planar_images, (6,), 4)
    (maker.folder / name).unlink()
    message = rf"is incomplete: {name} missing\. Delete its other files .*download=True"
    with pytest.raises(DataError, match=message):
        read_cifar(release, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.pop(b"data"), "no array of images"),
        (lambda b: b.update(data=b.pop(b"data")), "no array of images"),
        (lambda b: b.update({b"data": b[b"data"][:, :-1]}), "no array of images"),
        (lambda b: b.update({b"data": b[b"data"][:5]}), "one label for each of its 5 images"),
        (lambda b: b.pop(b"labels"), "one label for each of its 6 images"),
        (lambda b: b.update({b"labels": [0, 1, 2, 3, 4, 10]}), "labels from 0 to 10"),
        (lambda b: b.update({b"labels": [0, 1, 2, 3, 4, -1]}), "labels from -1 to 4"),
        (lambda b: b.update({b"labels": [0, 1, 2, 3, 4, 2.0]}), "labels that are not integers"),
        (lambda b: b.update({b"labels": [0, 1, 2, 3, 4, True]}), "labels that are not integers"),
    ],
)
def test_wrong_contents_are_refused(tmp_path, python2_pickle, planar_images, change, message):
    maker = Maker(tmp_path, CIFAR10, python2_pickle)
    release = maker.small(planar_images, (6,), 4)
    batch = {b"data": planar_images(6, 0), b"labels": [0, 1, 2, 3, 4, 5]}
    change(batch)
    release = dataclasses.replace(release, train=(maker.write("part_0", batch),))
    with pytest.raises(DataError, match=message):
        read_cifar(release, tmp_path)


@pytest.mark.parametrize(
    ("size", "message"), [(5, "more than the 5 images"), (7, "holds 6 images")]
)
def test_other_numbers_of_images_are_refused(maker, tmp_path, planar_images, size, message):
    release = maker.small(planar_images, (6,), 4)
    with pytest.raises(DataError, match=message):
        read_cifar(dataclasses.replace(release, train_size=size), tmp_path)


def test_a_bomb_with_the_right_digest_is_refused(maker, tmp_path, planar_images):
    release = maker.small(planar_images, (6,), 4)
    bomb = maker.write("part_0", b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(DataError, match=r"part_0 names os.system"):
        read_cifar(dataclasses.replace(release, train=(bomb,)), tmp_path)


@pytest.mark.parametrize("names", [[b"one"], "names", None, [1] * 10])
def test_wrong_class_names_are_refused(tmp_path, python2_pickle, planar_images, names):
    maker = Maker(tmp_path, CIFAR10, python2_pickle)
    release = maker.small(planar_images, (6,), 4)
    meta = maker.write("names", {b"label_names": names})
    with pytest.raises(DataError, match="names does not list 10 class names"):
        read_cifar(dataclasses.replace(release, meta=meta), tmp_path)


def test_the_official_folder_comes_before_the_archive_even_if_damaged(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    np.savez(tmp_path / "cifar10.npz", nothing=0)
    with pytest.raises(DataError, match=r"is incomplete: batches\.meta, data_batch_1, "):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("name", PUBLISHED)
def test_missing_says_what_where_and_how(name, tmp_path):
    with pytest.raises(DataError) as error:
        load(name, tmp_path)
    message = str(error.value)
    release = PUBLISHED[name][0]
    for part in (
        release.folder,
        f"{name}.npz",
        str(tmp_path),
        "MIXREG_DATA",
        "download=True",
        f"torchvision.datasets.{name.upper()}(",
        "www.cs.toronto.edu",
    ):
        assert part in message
    assert "\n" not in message
