"""Published test sets for networks trained on ImageNet, with the rules of their authors.

A network is asked for target classes, each of which stands for one or more classes of ImageNet; the
logit of a target class is the largest of theirs.

Sources: ImageNet-A, Hendrycks et al., CVPR 2021; -C, Hendrycks and Dietterich, ICLR 2019; -V2,
Recht et al., ICML 2019; ImageNet-Vid-Robust and YTBB-Robust, Shankar et al., ICCV 2021; ObjectNet,
Barbu et al., NeurIPS 2019. The rules are those of https://github.com/modestyachts/imagenet-testbed,
src/eval_settings, whose metadata files of the two video sets are read; those of ObjectNet come with
its images.
"""

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixreg._errors import DataError, require
from mixreg.data.augmentation import Normalisation
from mixreg.data.corruptions import CORRUPTIONS, EXTRA_CORRUPTIONS, SEVERITIES
from mixreg.data.image_folder import SUFFIXES, Decoder, decoded
from mixreg.data.published import ImageFiles, MissingDataError

FOLDERS = {
    "imagenet-a": "imagenet-a",
    "imagenet-c": "imagenet-c",
    "imagenet-v2": "imagenetv2-matched-frequency-format-val",
    "vid-robust": "imagenet-vid-robust",
    "ytbb-robust": "ytbb-robust",
    "objectnet": "objectnet-1.0",
}
"""Where each set is looked for in the folder of the data sets."""

CROP = 224
_SIMILAR = 10  # frames on either side of an anchor
_MAP = "rev_class_idx_map.json"
_PROBLEMS = {
    *("dissimilar", "problematic", "incorrect", "dont know", "deformation"),
    *("background-change", "occlusion-increased", "blur-increase", "bad-anchor"),
}
"""What a pair of frames must not be labelled to count as similar."""


@dataclass(frozen=True, eq=False)
class RobustnessSet:
    """Images, the target classes that are right for each, and how they are cut."""

    kind: str  # of ImageNet-C the corruption
    severity: int
    paths: Sequence[Path]
    targets: Sequence[Sequence[int]]
    columns: Sequence[Sequence[int]] | None = None  # a target class's classes of the network
    groups: Sequence[Sequence[int]] = ()  # of video frames: rows of an anchor, then of those near
    resized: int | None = 256  # shorter side before the middle is cut out, None if it is already
    border: int = 0  # pixels cut off on all sides first
    remarks: Sequence[str] = ()  # what is not as published

    @property
    def labels(self) -> Tensor:
        """The first right target class of each image, int64 (n,)."""
        return torch.tensor([right[0] for right in self.targets])

    def merged(self, logits: Tensor) -> Tensor:
        """Logits (n, classes of the network) as those of the target classes."""
        if self.columns is None:
            return logits
        return torch.stack([logits[:, list(c)].amax(1) for c in self.columns], 1)

    def width(self, classes: int) -> int:
        """Number of target classes, for a network with so many classes."""
        return classes if self.columns is None else len(self.columns)

    def digest(self) -> str:
        """Of the names, sizes and times of the files, and how they are cut."""
        digest = hashlib.sha256(repr((self.resized, self.border)).encode())
        for path in self.paths:
            about = path.stat()
            digest.update(f"{path} {about.st_size} {about.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def batches(self, normalisation: Normalisation, workers: int) -> Iterator[Tensor]:
        """Inputs in order, decoded by worker processes."""
        v2: Any = require(
            "torchvision.transforms.v2", extra="cli", purpose="images", error=DataError
        )
        resize = [v2.Resize(self.resized)] if self.resized else []
        inner = partial(_without_border, self.border)
        cut = v2.Compose([inner, *resize, v2.CenterCrop(CROP), v2.PILToTensor()])
        files = ImageFiles(Path(), np.array([os.fsencode(p) for p in self.paths]), self.labels)
        yield from (x for x, _ in decoded(Decoder(files, cut), 100, workers, normalisation))


def _without_border(width: int, image: Any) -> Any:
    right, lower = image.size
    return image.crop((width, width, right - width, lower - width))


def find(name: str, root: Path, class_names: Sequence[str]) -> list[RobustnessSet]:
    """A set of `FOLDERS` below the root, of ImageNet-C each corruption and severity."""
    folder = root / FOLDERS[name]
    if not folder.is_dir():
        raise MissingDataError(
            f"{name} is missing: looked for {folder.absolute()}; its authors say how to get it, "
            "and the documentation (distribution shift) which files it must hold"
        )
    if name == "imagenet-c":
        return list(_imagenet_c(folder, class_names))
    read = {
        "imagenet-a": _imagenet_a,
        "imagenet-v2": _imagenet_v2,
        "objectnet": _objectnet,
        "vid-robust": _vid_robust,
        "ytbb-robust": _ytbb_robust,
    }
    return [read[name](folder, class_names)]


def find_folder(folder: Path, class_names: Sequence[str]) -> Iterator[RobustnessSet]:
    """Images in KIND/SEVERITY/CLASS, or in CLASS alone (severity 1), with the network's classes."""
    index = {name: k for k, name in enumerate(class_names)}
    kinds = [name for name in _folders(folder) if name not in index]
    if not kinds:
        yield RobustnessSet(folder.name, 1, *_images(folder, index))
    for kind in kinds:
        yield from _severities(folder, kind, index)


def _severities(folder: Path, kind: str, index: Mapping[str, int]) -> Iterator[RobustnessSet]:
    places = [place for place in (folder / kind, *folder.glob(f"*/{kind}")) if place.is_dir()]
    levels = sorted(_folders(places[0])) if places else []
    if levels != [str(s) for s in SEVERITIES]:
        raise DataError(
            f"{folder} must hold {kind} with the severities 1 to 5, and has "
            f"{', '.join(levels[:5]) or 'none'}; get it again"
        )
    for severity in SEVERITIES:
        images = _images(places[0] / str(severity), index)
        yield RobustnessSet(kind, severity, *images, resized=None)


def _imagenet_a(folder: Path, class_names: Sequence[str]) -> RobustnessSet:
    """Class folders by WordNet number; only these classes compete."""
    index = {name: k for k, name in enumerate(class_names)}
    names = _class_folders(folder, index)
    paths, labels = _listed(folder, {name: k for k, name in enumerate(names)})
    return RobustnessSet("imagenet-a", 0, paths, labels, [[index[name]] for name in names])


def _imagenet_v2(folder: Path, class_names: Sequence[str]) -> RobustnessSet:
    """Class folders by the number of the class, from 0."""
    index = {str(k): k for k in range(len(class_names))}
    return RobustnessSet("imagenet-v2", 0, *_images(folder, index))


def _imagenet_c(folder: Path, class_names: Sequence[str]) -> Iterator[RobustnessSet]:
    """KIND/SEVERITY/CLASS, or in the folders of groups that the archives unpack to."""
    index = {name: k for k, name in enumerate(class_names)}
    for kind in CORRUPTIONS:
        if kind not in EXTRA_CORRUPTIONS or any(folder.rglob(f"{kind}/1")):
            yield from _severities(folder, kind, index)


def _objectnet(folder: Path, class_names: Sequence[str]) -> RobustnessSet:
    """The objects that ImageNet has too, a red border of 2 pixels cut off."""
    maps = folder / "mappings"
    labels: dict[str, str] = _json(maps / "folder_to_objectnet_label.json")
    known: dict[str, str] = _json(maps / "objectnet_to_imagenet_1k.json")
    numbers: dict[str, int] = _json(maps / "pytorch_to_imagenet_2012_id.json")
    lines = _text(maps / "imagenet_to_label_2012_v2").splitlines()
    by_number = {int(number): int(k) for k, number in numbers.items()}
    # The numbers of 2012 begin with 1.
    index = {line.strip(): by_number.get(k) for k, line in enumerate(lines, start=1)}
    objects = _class_folders(folder / "images", labels)
    shared = [name for name in objects if labels[name] in known]
    columns = []
    for name in shared:
        places = [index.get(label) for label in known[labels[name]].split("; ")]
        columns.append([k for k in places if k is not None])
        if len(columns[-1]) < len(places) or max(columns[-1]) >= len(class_names):
            raise DataError(
                f"{maps} maps {labels[name]!r} to {known[labels[name]]!r}, not all of which are "
                f"among the {len(class_names)} classes of the network"
            )
    paths, rows = _listed(folder / "images", {name: k for k, name in enumerate(shared)})
    return RobustnessSet("objectnet", 0, paths, rows, columns, border=2)


def _vid_robust(folder: Path, class_names: Sequence[str]) -> RobustnessSet:
    """Frames of ImageNet-Vid: pmsets.json has those near each anchor, labels.json all labels."""
    near: dict[str, list[str]] = _json(folder / "pmsets.json")
    right: dict[str, list[int]] = _json(folder / "labels.json")
    absent = sorted(
        frame for pair in near.items() for frame in (pair[0], *pair[1]) if frame not in right
    )
    if absent:
        raise DataError(f"{folder / 'labels.json'} has no label of {absent[0]}; get it again")
    return _video("vid-robust", folder, near, right, class_names)


def _ytbb_robust(folder: Path, class_names: Sequence[str]) -> RobustnessSet:
    """Frames of YouTube: anchors labelled good, with the frames labelled similar within 10."""
    anchors, names = _labelled(folder / "anchor_labels.json")
    pairs, words = _labelled(folder / "pmk_labels.json")
    classes: dict[str, str] = _json(folder / "ytbb_class_index.json")
    by_name = {name: int(k) for k, name in classes.items()}
    first = {}
    for row in csv.DictReader(_text(folder / "ytbb_robustness_test_anchors_full.csv").splitlines()):
        swapped = {22: 23, 23: 22}  # as its authors correct it
        label = int(row["label"])
        first[f"{row['ytid']}_{row['time_ms']}"] = swapped.get(label, label)
    said = {key: {words[k] for k in marks} for key, marks in pairs.items()}
    bad = {_frame(key.partition(",")[0]) for key, marks in said.items() if "bad-anchor" in marks}
    similar = {
        (_frame(key.partition(",")[0]), _frame(key.partition(",")[2]))
        for key, marks in said.items()
        if "similar" in marks and not marks & _PROBLEMS
    }
    near: dict[str, list[str]] = {}
    right: dict[str, list[int]] = {}
    for key, marks in anchors.items():
        anchor, told = _frame(key), {names[k] for k in marks}
        if "good" not in told or told & {"bad", "unsure"} or anchor in bad:
            continue
        place, number = anchor.rsplit("/frame-", 1)
        around = (int(number.split(".")[0]) + k for k in range(-_SIMILAR, _SIMILAR + 1) if k)
        frames = [f"{place}/frame-{k}.jpg" for k in around]
        near[anchor] = [frame for frame in frames if (anchor, frame) in similar]
        if place not in first:
            raise DataError(
                f"the list of anchors in {folder} has no label of {anchor}; get it again"
            )
        labels = sorted({first[place], *(by_name[name] for name in told if name in by_name)})
        right |= dict.fromkeys((anchor, *near[anchor]), labels)
    return _video("ytbb-robust", folder, near, right, class_names)


def _video(
    kind: str,
    folder: Path,
    near: Mapping[str, Sequence[str]],
    right: Mapping[str, Sequence[int]],
    class_names: Sequence[str],
) -> RobustnessSet:
    """Anchors with their neighbours; what is missing is left out and counted."""
    merged: dict[str, list[int]] = _json(folder / _MAP)
    if max(max(classes) for classes in merged.values()) >= len(class_names):
        raise DataError(
            f"{folder / _MAP} names classes that the network with {len(class_names)} has not"
        )
    target = {int(k): place for place, k in enumerate(merged)}
    rows: dict[str, int] = {}
    targets: list[list[int]] = []
    groups, lost, frames = [], 0, 0
    for anchor, others in near.items():
        present = [frame for frame in (anchor, *others) if (folder / frame).is_file()]
        frames += 1 + len(others) - len(present)
        if anchor not in present:
            lost += 1
            continue
        for frame in present:
            if frame not in rows:
                rows[frame] = len(targets)
                # a class without one of ImageNet is never right
                targets.append([target[k] for k in right[frame] if k in target] or [-1])
        groups.append([rows[frame] for frame in present])
    if not groups:
        raise DataError(f"{folder} holds none of the {len(near)} anchor frames; get it again")
    remark = (
        f"{kind}: {frames} frames are missing; {lost} of {len(near)} groups have no anchor and are "
        "left out, the others are judged by the frames that are there"
    )
    return RobustnessSet(
        kind, 0, [folder / frame for frame in rows], targets, list(merged.values()), groups,
        remarks=[remark] if frames else [],
    )  # fmt: skip


def _labelled(file: Path) -> tuple[dict[str, list[int]], list[str]]:
    """Labels by key, the last ones where there are several, and what they are called."""
    stored: dict[str, Any] = _json(file)
    try:
        return {row["key"]: row["labels"] for row in stored["annotations"]}, stored["labels"]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{file} holds no annotations with keys and labels; get it again"
        ) from error


def _frame(key: str) -> str:
    """The video and the frame of a path."""
    return "/".join(Path(key).parts[-2:])


def _class_folders(folder: Path, known: Iterable[str]) -> list[str]:
    """The class folders of a folder; one that is not known is refused."""
    names = _folders(folder)
    if unknown := sorted(set(names).difference(known)):
        raise DataError(
            f"{folder} has the class folder {unknown[0]!r}, which is none of the known classes"
            f"{f', and {len(unknown) - 1} more' if unknown[1:] else ''}; the class folders of the "
            "training data must be named as in ImageNet"
        )
    if not names:
        raise DataError(f"{folder} has no class folders; get it again")
    return names


def _folders(folder: Path) -> list[str]:
    """Names of the folders in a folder."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; get it again")
    return sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))


def _images(folder: Path, index: Mapping[str, int]) -> tuple[list[Path], list[list[int]]]:
    """The images of all class folders, in order, each with its class."""
    return _listed(folder, {name: index[name] for name in _class_folders(folder, index)})


def _listed(folder: Path, targets: Mapping[str, int]) -> tuple[list[Path], list[list[int]]]:
    """The images of class folders in order, each with its target class."""
    paths: list[Path] = []
    labels: list[list[int]] = []
    for name, target in targets.items():
        images = sorted(p for p in (folder / name).rglob("*") if p.suffix.lower() in SUFFIXES)
        if not images:
            raise DataError(f"{folder / name} has no images ({', '.join(SUFFIXES)})")
        paths += images
        labels += [[target]] * len(images)
    return paths, labels


def _json(file: Path) -> Any:
    try:
        return json.loads(_text(file))
    except ValueError as error:
        raise DataError(f"{file} is no JSON: {error}; get it again") from error


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(
            f"{file} is missing; the documentation (distribution shift) says where it is from"
        ) from error
