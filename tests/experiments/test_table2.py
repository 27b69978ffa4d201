"""Table 2 end to end on small trees in each published layout, and its metrics by hand."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from mixreg._errors import ConfigurationError, DataError
from mixreg.data import Normalisation
from mixreg.data.corruptions import CORRUPTIONS
from mixreg.data.published import MissingDataError
from mixreg.data.robustness import FOLDERS, RobustnessSet, find
from mixreg.experiments import _shifted, evaluate_shift, table2
from mixreg.experiments.evaluate import evaluate_checkpoint
from mixreg.report import read_document
from mixreg.report.records import METRIC_FORMATS
from mixreg.settings import EvaluateOptions, ReproduceOptions
from mixreg.training import load_run

CLASSES = ("n01", "n02", "n03", "n04")
KINDS = CORRUPTIONS[:15]


def image(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "PNG")


def write(file, values):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(values if isinstance(values, str) else json.dumps(values))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """ImageNet with four classes, and every shifted set in its published layout."""
    root = tmp_path_factory.mktemp("data")
    for k, name in enumerate(CLASSES):
        for j in range(4):
            image(root / "imagenet" / "train" / name / f"{j}.JPEG", 10 * k + j)
        image(root / "imagenet" / "val" / name / "0.JPEG", 100 + k)
        image(root / "imagenetv2-matched-frequency-format-val" / str(k) / "a.jpeg", 200 + k)
    for kind in KINDS:
        for severity in "12345":
            image(root / "imagenet-c" / "group" / kind / severity / CLASSES[2] / "0.JPEG", 300)
    for name in CLASSES[1:3]:
        image(root / "imagenet-a" / name / "x.jpg", 400)
    objects = root / "objectnet-1.0"
    for folder in ("air_freshener", "backpack", "banana"):
        image(objects / "images" / folder / "o.png", 500)
    maps = objects / "mappings"
    labels = {"air_freshener": "Air freshener", "backpack": "Backpack", "banana": "Banana"}
    write(maps / "folder_to_objectnet_label.json", labels)
    shared = {"Backpack": "pack; rucksack", "Banana": "banana"}
    write(maps / "objectnet_to_imagenet_1k.json", shared)
    write(maps / "imagenet_to_label_2012_v2", "banana\nother\npack\nrucksack\n")
    write(maps / "pytorch_to_imagenet_2012_id.json", {"0": 3, "1": 4, "2": 1, "3": 2})
    video = root / "imagenet-vid-robust"
    near = {"val/v/5.JPEG": ["val/v/4.JPEG", "val/v/6.JPEG"], "val/w/1.JPEG": ["val/w/2.JPEG"]}
    frames = [frame for anchor, others in near.items() for frame in (anchor, *others)]
    for k, frame in enumerate(frames):
        image(video / frame, 600 + k)
    write(video / "pmsets.json", near)
    write(video / "labels.json", {frame: [7, 3] if "/v/" in frame else [3] for frame in frames})
    write(video / "rev_class_idx_map.json", {"3": [0, 1], "7": [2]})
    tube = root / "ytbb-robust"
    good = ["abc_100/frame-30.jpg", "def_200/frame-12.jpg"]
    marks = {"labels": ["good", "bad", "unsure", "cat"]}
    rows = [
        {"key": good[0], "labels": [0, 3]},
        {"key": good[1], "labels": [0]},
        {"key": "ghi_1/frame-2.jpg", "labels": [0, 1]},
    ]
    write(tube / "anchor_labels.json", marks | {"annotations": rows})
    words = ["similar", "dissimilar", "bad-anchor", "correct"]
    pairs = [
        {"key": f"{good[0]},abc_100/frame-31.jpg", "labels": [0, 3]},
        {"key": f"{good[0]},abc_100/frame-32.jpg", "labels": [0, 1]},
        {"key": f"{good[0]},abc_100/frame-45.jpg", "labels": [0]},
        {"key": f"{good[1]},def_200/frame-13.jpg", "labels": [2]},
    ]
    write(tube / "pmk_labels.json", {"labels": words, "annotations": pairs})
    write(tube / "ytbb_class_index.json", {"7": "cat", "22": "none", "23": "car"})
    write(tube / "rev_class_idx_map.json", {"7": [1], "23": [0, 3]})
    lines = "ytid,time_ms,label\nabc,100,22\ndef,200,7\n"
    write(tube / "ytbb_robustness_test_anchors_full.csv", lines)
    for frame in (*good, "abc_100/frame-31.jpg"):
        image(tube / frame, 700)
    return root


def test_layouts_are_read_by_the_rules_of_their_authors(tree):
    (a,) = find("imagenet-a", tree, CLASSES)
    assert a.columns == [[1], [2]]
    assert a.targets == [[0], [1]]
    (v2,) = find("imagenet-v2", tree, CLASSES)
    assert v2.columns is None
    assert v2.labels.tolist() == [0, 1, 2, 3]
    levels = find("imagenet-c", tree, CLASSES)
    assert [(s.kind, s.severity) for s in levels] == [(k, s) for k in KINDS for s in range(1, 6)]
    (objects,) = find("objectnet", tree, CLASSES)
    assert [path.parent.name for path in objects.paths] == ["backpack", "banana"]
    assert objects.columns == [[0, 1], [2]]
    assert objects.border == 2
    (video,) = find("vid-robust", tree, CLASSES)
    assert video.groups == [[0, 1, 2], [3, 4]]
    assert video.targets == [[1, 0]] * 3 + [[0]] * 2
    assert video.columns == [[0, 1], [2]]
    (tube,) = find(
        "ytbb-robust", tree, CLASSES
    )  # one bad anchor, one pair not similar, one too far
    names = [path.name for path in tube.paths]
    assert names == ["frame-30.jpg", "frame-31.jpg"]
    assert tube.groups == [[0, 1]]
    assert tube.targets == [[0, 1]] * 2  # a cat as labelled, and the car that 22 and 23 swap to
    assert not any(s.remarks for s in (a, v2, objects, video, tube))


def test_target_classes_take_the_largest_logit_of_theirs():
    one = RobustnessSet("x", 0, [], [], columns=[[0, 2], [1]])
    assert one.merged(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 0.0]])).tolist() == [[3, 2], [4, 5]]


def test_images_are_cut_as_stated(tmp_path):
    pixels = np.zeros((228, 228, 3), np.uint8)
    pixels[2:-2, 2:-2] = np.random.default_rng(0).integers(0, 256, (224, 224, 3))
    Image.fromarray(pixels).save(tmp_path / "a.png")
    one = RobustnessSet("x", 0, [tmp_path / "a.png"], [[0]], resized=None, border=2)
    (batch,) = one.batches(Normalisation((0.0,) * 3, (1 / 255,) * 3), 0)
    inner = torch.from_numpy(pixels[2:-2, 2:-2]).permute(2, 0, 1).float()
    torch.testing.assert_close(batch[0], inner)


def test_pm_k_counts_groups_that_are_right_throughout():
    targets = [[0], [0], [1], [1, 2], [2]]
    one = RobustnessSet("x", 0, [], targets, groups=[[0, 1], [2, 3], [4]])
    # Group 1 is right throughout, the anchor of group 2 is right and its frame wrong, 3 is wrong.
    assert table2.group_accuracy(one, [0, 0, 1, 0, 0]) == {"pm-0": 2 / 3, "pm-k": 1 / 3}
    assert table2.group_accuracy(one, [0, 0, 1, 2, 2]) == {"pm-0": 1.0, "pm-k": 1.0}


def test_repetitions_have_their_mean_and_standard_error():
    form = METRIC_FORMATS["nll"]
    assert table2._with_error([0.1, 0.3], form) == "0.2000 ± 0.1000"  # deviation .1414 / √2
    assert table2._with_error([0.1], form) == "0.1000"
    assert table2._with_error([], form) == ""


def test_mce_divides_by_the_errors_of_alexnet():
    def half(kind):
        return {"accuracy": 1 - table2.ALEXNET.get(kind, 0) / 2, "nll": 1.0, "ece": 0.25}

    values = {
        (k, s): dict.fromkeys(table2.PREDICTIONS, half(k)) for k in CORRUPTIONS for s in (1, 2)
    }
    result = table2.corrupted(values)["raw"]
    assert result["mce"] == pytest.approx(0.5)
    mean_error = sum(table2.ALEXNET.values()) / 30
    assert result["accuracy"] == pytest.approx(1 - mean_error)
    assert (result["nll"], result["ece"]) == (1.0, 0.25)
    values["fog", 1]["raw"] = half("fog") | {"accuracy": 1 - table2.ALEXNET["fog"] * 3 / 2}
    values["fog", 1] = dict(values["fog", 1])
    assert table2.corrupted(values)["raw"]["mce"] == pytest.approx(0.5 + 0.5 / 15)


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("imagenet-a", lambda f: image(f / "n99" / "x.jpg"), "'n99', which is none of the known"),
        ("imagenet-v2", lambda f: image(f / "4" / "x.jpg"), "'4', which is none of the known"),
        ("imagenet-v2", lambda f: shutil.rmtree(f / "1") or (f / "1").mkdir(), "1 has no images"),
        ("imagenet-c", lambda f: shutil.rmtree(f / "group/fog/3"), "fog with the severities 1"),
        ("imagenet-c", lambda f: shutil.rmtree(f / "group/fog"), "severities 1 to 5, and has none"),
        ("imagenet-c", lambda f: image(f / "group/fog/3/n9/x.png"), "'n9', which is none of the"),
        ("objectnet", lambda f: image(f / "images/thing/x.png"), "'thing', which is none of the"),
        ("objectnet", lambda f: shutil.rmtree(f / "mappings"), "label.json is missing"),
        ("vid-robust", lambda f: write(f / "pmsets.json", "{"), "no JSON"),
        (
            "objectnet",
            lambda f: write(f / "mappings/objectnet_to_imagenet_1k.json", {"Banana": "plum"}),
            "maps 'Banana' to 'plum', not all of which",
        ),
        ("vid-robust", lambda f: write(f / "labels.json", {}), "has no label of val/v/4.JPEG"),
        ("vid-robust", lambda f: shutil.rmtree(f / "val"), "none of the 2 anchor frames"),
        ("vid-robust", lambda f: write(f / "rev_class_idx_map.json", {"3": [9]}), "names classes"),
        ("ytbb-robust", lambda f: write(f / "pmk_labels.json", {"labels": []}), "no annotations"),
        (
            "ytbb-robust",
            lambda f: write(f / "ytbb_robustness_test_anchors_full.csv", "ytid,time_ms,label\n"),
            "no label of abc_100/frame-30.jpg",
        ),
    ],
)  # fmt: skip
def test_what_is_not_as_published_is_refused(name, damage, words, tree, tmp_path):
    folder = shutil.copytree(tree / FOLDERS[name], tmp_path / FOLDERS[name])
    damage(folder)
    with pytest.raises(DataError, match=words):
        find(name, tmp_path, CLASSES)


def test_missing_frames_are_counted_and_said(tree, tmp_path):
    folder = shutil.copytree(tree / FOLDERS["vid-robust"], tmp_path / FOLDERS["vid-robust"])
    (folder / "val/v/6.JPEG").unlink()
    (folder / "val/w/1.JPEG").unlink()
    (one,) = find("vid-robust", tmp_path, CLASSES)
    assert one.groups == [[0, 1]]
    (remark,) = one.remarks
    assert remark.startswith("vid-robust: 2 frames are missing; 1 of 2 groups have no anchor")


def test_a_set_that_is_not_there_is_missing_data(tmp_path):
    for name in FOLDERS:
        with pytest.raises(MissingDataError, match=f"{name} is missing: looked for"):
            find(name, tmp_path, CLASSES)


def options(root, output):
    return ReproduceOptions(name="table2", scale="smoke", data_root=root, output=output, jobs=1)


@pytest.fixture(scope="module")
def made(tree, tmp_path_factory):
    folder = tmp_path_factory.mktemp("table2")
    return folder, table2.reproduce(options(tree, folder))


def test_the_table_has_every_set_beside_the_papers_numbers(made):
    folder, (text, page) = made
    document = read_document(folder / "table2" / "table2.json")
    assert page == folder / "table2" / "table2.html"
    assert document.text() == text
    (table,) = document.tables
    assert len(table.rows) == len(table2.PAPER) == 16
    cells = {name: [cell.text for cell in row] for name, row in table.rows}
    assert cells["imagenet-c: mCE (%) ↓"][1::2] == ["67.35 ± 0.18", "66.85 ± 0.14"]
    assert all(row[0] and row[2] for row in cells.values())
    assert document.missing == []
    assert {claim.effect.n for claim in document.claims} == {2}
    by_set = {r.setting for r in document.records}
    assert by_set == {"imagenet", *FOLDERS}


def test_sets_that_are_not_there_are_named_and_images_are_not_read_again(
    made, tree, tmp_path, monkeypatch
):
    folder, (text, _) = made
    shutil.copytree(folder / "runs", tmp_path / "runs")
    with monkeypatch.context() as patch:
        patch.setattr(_shifted, "_compute", None)
        assert table2.reproduce(options(tree, tmp_path))[0] == text
    alone = tmp_path / "data"
    shutil.copytree(tree / "imagenet", alone / "imagenet")
    table2.reproduce(options(alone, tmp_path / "fewer"))
    missing = read_document(tmp_path / "fewer" / "table2" / "table2.json").missing
    assert len(missing) == len(FOLDERS)
    assert "no folder" in missing[0]


def test_damaged_images_are_named(tree, tmp_path):
    root = shutil.copytree(tree, tmp_path / "data")
    (root / "imagenet-a" / "n02" / "x.jpg").write_bytes(b"nothing")
    (one,) = find("imagenet-a", root, CLASSES)
    with pytest.raises(DataError, match=r"x\.jpg is damaged or no image"):
        list(one.batches(Normalisation((0.5,) * 3, (0.5,) * 3), 0))


@pytest.mark.parametrize("kinds", [("contrast", "fog"), ()])
def test_a_folder_of_images_is_a_shift(kinds, made, tree, tmp_path):
    run, place = next((made[0] / "runs").glob("*-seed0")), tree / "imagenet-a"
    for kind in kinds:
        place = tmp_path / "worse"
        shutil.copytree(tree / "imagenet-c" / "group" / kind, place / kind)
    output = tmp_path / "evaluated"
    evaluate_checkpoint(
        EvaluateOptions(checkpoint=run, data_root=tree, shift=str(place), output=output)
    )
    document = read_document(output / "shift.json")
    assert document.subtitle.startswith(f"{len(kinds) or 1} kinds of shift, severities 0, 1")
    assert f"Images: image files in {place.name}." in document.caveats


def test_images_of_a_folder_are_corrupted_as_imagenet_c(made, tree, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate_shift, "CORRUPTIONS", ("contrast",))
    run = next((made[0] / "runs").glob("*-seed0"))
    trained = load_run(run, {"data_root": tree})
    test = list(evaluate_shift.shifted_sets(trained, run, "generated"))
    assert [(s.kind, s.severity) for s in test] == [
        ("clean", 0), *(("contrast", k) for k in range(1, 6))
    ]  # fmt: skip
    clean, worse = (torch.cat(list(test[k].batches())) for k in (0, 5))
    scale = torch.tensor(trained.data.normalisation.std).view(-1, 1, 1)
    mean = torch.tensor(trained.data.normalisation.mean).view(-1, 1, 1)
    pixels = ((clean * scale + mean) * 255).round()
    means = pixels.mean((2, 3), keepdim=True)
    expected = ((pixels - means) * 0.05 + means).floor()
    got = ((worse * scale + mean) * 255).round()
    assert (got - expected).abs().max() <= 1
    with pytest.raises(DataError, match="no folder"):
        list(evaluate_shift.shifted_sets(trained, run, str(tmp_path / "nowhere")))
    trained.data.normalisation = None  # as of a user's loader: nothing would be corrupted
    with pytest.raises(ConfigurationError, match="with a known normalisation"):
        list(evaluate_shift.shifted_sets(trained, run, "generated"))
