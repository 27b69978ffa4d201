import sys
from urllib.error import URLError

import pytest
import torchvision

from mixreg._errors import DataError
from mixreg.data import load

DOWNLOADER = "download_and_extract_archive"


@pytest.fixture
def calls(monkeypatch):
    """What torchvision's downloader was asked for, instead of a download."""
    asked = []

    def record(url, folder, *, filename, md5):
        asked.append((url, folder, filename, md5))

    monkeypatch.setattr(torchvision.datasets.utils, DOWNLOADER, record)
    return asked


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_fetched_as_torchvision_does(calls, tmp_path, name):
    with pytest.raises(DataError, match=f"data set '{name}' is missing"):
        load(name, tmp_path / "new", download=True)
    theirs = getattr(torchvision.datasets, name.upper())
    folder = str(tmp_path / "new")
    assert calls == [(theirs.url, folder, theirs.filename, theirs.tgz_md5)]
    assert (tmp_path / "new").is_dir()


def test_fashion_mnist_is_fetched_to_torchvisions_folder(calls, tmp_path):
    with pytest.raises(DataError, match="data set 'fashion-mnist' is missing"):
        load("fashion-mnist", tmp_path, download=True)
    theirs = torchvision.datasets.FashionMNIST
    assert [(name, md5) for _, _, name, md5 in calls] == theirs.resources
    assert {folder for _, folder, _, _ in calls} == {str(tmp_path / "FashionMNIST" / "raw")}
    assert all(url.startswith(theirs.mirrors[0]) for url, _, _, _ in calls)


def test_nothing_is_fetched_over_damaged_files(calls, tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match="is incomplete"):
        load("cifar10", tmp_path, download=True)
    assert calls == []


@pytest.mark.parametrize(
    "failure",
    [
        URLError("no route to host"),
        TimeoutError("no route to host"),
        RuntimeError("no route to host"),
    ],
)
def test_a_failed_download_is_one_clear_error(monkeypatch, tmp_path, failure):
    def fail(*args, **options):
        raise failure

    monkeypatch.setattr(torchvision.datasets.utils, DOWNLOADER, fail)
    with pytest.raises(DataError, match=rf"downloading cifar10 to {tmp_path} failed: .*no route"):
        load("cifar10", tmp_path, download=True)


def test_without_torchvision_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(
        DataError, match=r"downloading cifar10 needs .*pip install 'mixreg\[vision\]'"
    ):
        load("cifar10", tmp_path, download=True)


def test_a_root_that_cannot_be_made_is_an_error(calls, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"failed: .*File exists"):
        load("cifar10", tmp_path / "file", download=True)


def test_imagenet_cannot_be_downloaded(tmp_path):
    with pytest.raises(DataError, match="'imagenet' cannot be downloaded automatically"):
        load("imagenet", tmp_path, download=True)


def test_embedded_data_sets_need_no_download(calls):
    assert load("digits", download=True).size("test") == 450
    assert calls == []
