"""An evaluation belongs to the weights, the law and the data that it names."""

import dataclasses
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import mixreg
from mixreg import CheckpointError, ConfigurationError, _stored, models
from mixreg.evaluation import Evaluation
from mixreg.experiments import evaluate as module
from mixreg.experiments._foreign import assumptions
from mixreg.experiments.evaluate import (
    beside,
    digest_of,
    evaluate_checkpoint,
    load_checkpoint,
)
from mixreg.report import read_document
from mixreg.settings import EvaluateOptions
from mixreg.training import TrainConfig, load_run, train

pytestmark = pytest.mark.usefixtures("no_pictures")

BARE = {"data": "digits", "model": "mlp", "alpha": 1.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    output = tmp_path_factory.mktemp("evaluated") / "run"
    settings = {"epochs": 3, "batch_size": 64, "progress": False}
    return train(TrainConfig(**settings, output=output)).path


def metrics(checkpoint, **options):
    _, page = evaluate_checkpoint(EvaluateOptions(checkpoint=checkpoint, **options))
    return read_document(page.parent / "metrics.json").records


def stored(folder):
    return _stored.decode(folder / "evaluation.json", Evaluation, remedy="again")


def state_of(run):
    stored = load_file(run / "model.safetensors")
    return {k.removeprefix("net."): v for k, v in stored.items() if k.startswith("net.")}


def weights(run, path, factor=1.0):
    save_file({name: factor * value for name, value in state_of(run).items()}, path)
    return path


def foreign(run, path):
    """The weights of the run for pixels from 0 to 255; it saw mean m and deviation s of 0 to 1."""
    ours, state = load_run(run).data.normalisation, state_of(run)
    first = next(name for name, value in state.items() if value.ndim == 2)
    bias = first.replace("weight", "bias")
    (m,), (s,) = ours.mean, ours.std
    state[bias] = state[bias] - state[first].sum(1) * m / s
    state[first] = state[first] / (255 * s)
    save_file(state, path)
    return path


def test_files_in_one_folder_have_reports_of_their_own(run, tmp_path):
    first = weights(run, tmp_path / "a.safetensors")
    second = weights(run, tmp_path / "b.safetensors", 3.0)
    assert metrics(first, **BARE) != metrics(second, **BARE)
    assert (tmp_path / "a-evaluation" / "report.html").is_file()
    assert (tmp_path / "b-evaluation" / "report.html").is_file()


def test_every_report_has_its_place(tmp_path):
    assert beside(tmp_path, "diagnosis") == tmp_path / "diagnosis"
    assert beside(tmp_path / "net.v2.pt", "diagnosis") == tmp_path / "net.v2-diagnosis"


@pytest.mark.parametrize("options", [{"alpha": 0.1}, {"mixing_probability": 0.5}], ids=str)
def test_another_law_takes_other_logits(run, tmp_path, options):
    kept, fresh = tmp_path / "kept", tmp_path / "fresh"
    before = metrics(run, alpha=0.5, output=kept)
    found = metrics(run, **({"alpha": 0.5} | options), output=kept)
    assert found != before
    assert found == metrics(run, **({"alpha": 0.5} | options), output=fresh)


def test_overwritten_weights_are_evaluated_anew(run, tmp_path):
    path = weights(run, tmp_path / "model.safetensors")
    before = metrics(path, **BARE)
    weights(run, path, 3.0)
    assert metrics(path, **BARE) != before


def test_logits_are_computed_once(run, tmp_path, monkeypatch):
    before = metrics(run, output=tmp_path)
    monkeypatch.setattr(module, "predict", None)
    assert metrics(run, output=tmp_path) == before


@pytest.mark.parametrize("form", ["folder", "array", "function"])
def test_other_images_of_the_same_size_take_other_logits(tmp_path, monkeypatch, form):
    """The same name, sizes, weights and training images; only the test images are others."""
    monkeypatch.chdir(tmp_path)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 4, 2))
    monkeypatch.setitem(models._BUILDERS, "mlp", lambda *_, **__: net)
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    where = {"data": DATA[form], "model": "mlp", "alpha": 1.0}
    if form == "folder":
        where |= {"image_size": [4], "resize": [4]}
    if form != "function":
        where |= {"mean": [0.5], "std": [0.25]}
    found = []
    for seed in (0, 0, 1):
        write_images(tmp_path, form, seed)
        sys.modules.pop("images_here", None)
        trained = load_checkpoint(
            EvaluateOptions(checkpoint=tmp_path / "w.safetensors", **where), progress=False
        )
        found.append(digest_of(trained))
    assert found[0] == found[1] != found[2]


def write_images(folder, form, seed):
    pixels = np.random.default_rng([seed, 1]).integers(0, 255, (8, 4, 4, 3), np.uint8)
    parts = {"train": np.arange(8 * 48).astype(np.uint8).reshape(pixels.shape), "test": pixels}
    if form == "function":
        np.save(folder / "pixels.npy", pixels)
        (folder / "images_here.py").write_text(LOADERS)
        return
    if form == "array":
        arrays = {f"x_{split}": part for split, part in parts.items()}
        np.savez(folder / "a.npz", **arrays, y_train=np.arange(8) % 2, y_test=np.arange(8) % 2)
        return
    for split, part in parts.items():
        for k, image in enumerate(part):
            file = folder / "set" / split / "ab"[k % 2] / f"{k}.bmp"
            file.parent.mkdir(parents=True, exist_ok=True)
            if not file.exists() or np.asarray(Image.open(file)).tolist() != image.tolist():
                Image.fromarray(image).save(file)


DATA = {"folder": "./set", "array": "./a.npz", "function": "images_here:loaders"}
LOADERS = """
import numpy as np, torch
def loaders():
    y = torch.arange(8) % 2
    x = torch.from_numpy(np.load("pixels.npy")).permute(0, 3, 1, 2).float()
    return [(torch.zeros(8, 3, 4, 4), y)], [(x, y)]
"""


def test_the_name_of_a_data_set_stands_for_its_samples(run):
    trained = load_run(run)
    known = digest_of(trained)
    trained.data._splits["test"].inputs.zero_()
    assert digest_of(trained) == known


def test_weights_that_are_not_finite(run, tmp_path):
    path = weights(run, tmp_path / "model.safetensors", torch.nan)
    with pytest.raises(CheckpointError, match="cannot be evaluated: logits must be finite"):
        metrics(path, **BARE)


def test_weights_from_elsewhere_are_evaluated_under_their_own_normalisation(run, tmp_path):
    path = foreign(run, tmp_path / "a.safetensors")
    bare = {"held_out": "validation", **BARE}
    metrics(weights(run, tmp_path / "b.safetensors"), output=tmp_path / "ours", **bare)
    metrics(path, output=tmp_path / "theirs", mean=[0.0], std=[1 / 255], **bare)
    ours, theirs = stored(tmp_path / "ours"), stored(tmp_path / "theirs")
    assert list(theirs.results) == list(ours.results)
    for name, result in ours.results.items():
        expected = dataclasses.asdict(result.metrics)
        assert dataclasses.asdict(theirs.results[name].metrics) == pytest.approx(expected, abs=1e-4)


def test_the_wrong_normalisation_is_told_with_the_better_one(run, tmp_path):
    path = foreign(run, tmp_path / "a.safetensors")
    text, page = evaluate_checkpoint(EvaluateOptions(checkpoint=path, **BARE))
    words = " ".join(text.split())
    assert "normalised with --mean [0.3047] --std [0.3757], the data set's own" in words
    assert "which is not plausible" in words
    assert "with --mean [0] --std [0.003922]" in words
    assert "which is not plausible" in page.read_text()
    right = EvaluateOptions(checkpoint=path, mean=[0.0], std=[1 / 255], **BARE)
    words = " ".join(evaluate_checkpoint(right)[0].split())
    assert "--mean [0] --std [0.003922], as given" in words
    assert "not plausible" not in words


def test_a_training_accuracy_far_below_that_of_the_test_is_told(run, tmp_path):
    path = weights(run, tmp_path / "a.safetensors")
    trained = load_checkpoint(EvaluateOptions(checkpoint=path, **BARE))
    assert not any("plausible" in line for line in assumptions(trained, 0.0))
    assert any("on the test examples it is 1.1000" in line for line in assumptions(trained, 1.1))
    chance = weights(run, tmp_path / "b.safetensors", 0.0)
    trained = load_checkpoint(EvaluateOptions(checkpoint=chance, **BARE))
    assert any("the most frequent class alone" in line for line in assumptions(trained))


def test_temperatures_need_examples_that_were_not_trained_on(run, tmp_path):
    path = weights(run, tmp_path / "a.safetensors")
    text, _ = evaluate_checkpoint(EvaluateOptions(checkpoint=path, output=tmp_path / "n", **BARE))
    none = stored(tmp_path / "n")
    assert set(none.absent) == {"temperature", "rescaled+temperature"}
    assert "--held-out validation or --held-out test-half" in " ".join(text.split())
    half = {"held_out": "test-half", "output": tmp_path / "h"}
    text, _ = evaluate_checkpoint(EvaluateOptions(checkpoint=path, **half, **BARE))
    halved = stored(tmp_path / "h")
    assert halved.absent == {}
    assert halved.count == none.count // 2
    assert f"those of the other {halved.count}" in " ".join(text.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"held_out": "test-half"}, "is a run and knows its held-out examples"),
        ({"mean": [0.5], "std": [0.5]}, "is a run, which knows its weights and how its inputs"),
        ({"weights": "ema"}, "is a run, which knows its weights"),
    ],
)
def test_a_run_is_not_told_what_it_knows(run, options, message):
    with pytest.raises(ConfigurationError, match=message):
        metrics(run, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"mean": [0.5]},
        {"std": [0.5]},
        {"mean": [0.5], "std": [0.0]},
        {"mean": [0.1, 0.2], "std": [1.0]},
        {"mean": [0.1], "std": [float("nan")]},
    ],
)
def test_refuses_a_normalisation_that_does_not_fit(run, tmp_path, options):
    path = weights(run, tmp_path / "a.safetensors")
    with pytest.raises(
        ConfigurationError, match=r"one finite number each or 1, dev|std must be finite"
    ):
        metrics(path, **options, **BARE)


def test_a_run_evaluated_into_another_folder_is_left_as_it_is(run, tmp_path):
    def content():
        return {f: f.read_bytes() for f in run.rglob("*") if f.is_file()}

    before = content()
    metrics(run, output=tmp_path / "out")
    assert content() == before
    assert stored(tmp_path / "out").count == 450


@pytest.mark.parametrize("name", ["report.html", "evaluation.json", "logits-test.safetensors"])
def test_files_of_other_people_are_kept(run, tmp_path, name):
    (tmp_path / name).write_text("theirs")
    with pytest.raises(CheckpointError, match=f"{name} .*another --output") as error:
        metrics(run, output=tmp_path)
    assert "\n" not in str(error.value)
    assert (tmp_path / name).read_text() == "theirs"


def test_logits_that_were_changed_are_computed_again(run, tmp_path):
    before = metrics(run, output=tmp_path)
    file = tmp_path / "logits-test.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:-9] + bytes([data[-9] ^ 64]) + data[-8:])
    assert metrics(run, output=tmp_path) == before
    assert file.read_bytes() == data


@pytest.mark.parametrize(
    ("method", "same", "theta_mean"), [("unshrunk", "scale-only", 0.75), ("regmixup", None, 0.875)]
)
def test_the_rescaled_prediction_of_a_rival_is_its_own(tmp_path, method, same, theta_mean):
    settings = {"method": method, "epochs": 1, "progress": False}
    run = train(TrainConfig(**settings, output=tmp_path / "run"))
    found, test = metrics(run.path), load_run(run.path).data.batches("test", 450)
    x, y = next(iter(test))
    with torch.no_grad():
        nll = torch.nn.functional.cross_entropy(mixreg.load(run.path)(x), y)
    expected = pytest.approx(float(nll), rel=1e-5)
    assert found.mean("nll", prediction="rescaled").mean == expected
    if same is not None:
        assert found.mean("nll", prediction=same).mean == expected
    assert stored(run.path).theta_mean == pytest.approx(theta_mean)
