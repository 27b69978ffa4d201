"""Exported files predict what the rescaled model does, and say what they are."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

import mixreg
from mixreg import Beta, ConfigurationError, RescaledModel, TrainingStatistics
from mixreg.experiments import export as module
from mixreg.experiments.export import export_checkpoint
from mixreg.settings import ExportOptions
from mixreg.training import TrainConfig, load_run, train

FORMATS = ["safetensors", "pt2", "onnx"]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    output = tmp_path_factory.mktemp("exported") / "run"
    settings = {"epochs": 1, "batch_size": 256, "progress": False, "seed": 3}
    return train(TrainConfig(**settings, output=output)).path


def read(file, net):
    """Metadata of a file, and a function of inputs."""
    if file.suffix == ".safetensors":
        with safe_open(file, "pt") as content:
            about = content.metadata()["mixreg"]
        net.load_state_dict(load_file(file))
        return json.loads(about), net
    if file.suffix == ".pt2":
        extra = {"mixreg": ""}
        program = torch.export.load(file, extra_files=extra)
        return json.loads(extra["mixreg"]), program.module()
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(file)
    about = session.get_modelmeta().custom_metadata_map["mixreg"]
    return json.loads(about), lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


@pytest.mark.parametrize("form", FORMATS)
def test_an_exported_run_predicts_the_same_for_any_batch(run, form):
    if form == "onnx":
        pytest.importorskip("onnxruntime")
    text, file = export_checkpoint(ExportOptions(checkpoint=run, format=form))
    assert file == run / f"rescaled.{form}"
    assert "equation 22 in the weights, state keys as the network's" in text
    model, trained = mixreg.load(run), load_run(run)
    about, net = read(file, trained.net)
    x, _ = next(iter(trained.data.batches("test", 7)))
    for part in (x, x[:1]):
        torch.testing.assert_close(net(part), model(part), rtol=1e-5, atol=1e-6)
    assert mixreg.law_from_dict(about["law"]) == Beta(1.0)
    torch.testing.assert_close(torch.tensor(about["x_mean"]), model.x_mean)
    torch.testing.assert_close(torch.tensor(about["y_mean"]), model.y_mean)
    assert about["normalisation"]["mean"] == list(trained.data.normalisation.mean)


def test_the_normalisation_of_an_export(run, tmp_path):
    options = {"into": "normalisation", "output": tmp_path / "a.safetensors"}
    _, file = export_checkpoint(ExportOptions(checkpoint=run, **options))
    trained = load_run(run)
    stats, ours = trained.stats.per_channel(), trained.data.normalisation
    x, _ = next(iter(trained.data.batches("test", 7)))
    expected = RescaledModel(trained.net, stats, Beta(1.0))(x).detach()
    about, net = read(file, trained.net)
    (m,), (s,) = (about["normalisation"][name] for name in ("mean", "std"))
    inputs = (x * ours.std[0] + ours.mean[0] - m) / s
    torch.testing.assert_close(net(inputs), expected, rtol=1e-5, atol=1e-5)


def test_what_does_not_fold_is_exported_around_the_network(run, tmp_path):
    """Two views take two passes, which no weights hold."""
    options = {"checkpoint": run, "inputs": "both", "output": tmp_path / "two"}
    with pytest.raises(ConfigurationError, match=r"not a map over pixels .* --format onnx and pt2"):
        export_checkpoint(ExportOptions(**options))
    text, file = export_checkpoint(ExportOptions(**options, format="pt2"))
    assert text.startswith("equation 22 around the network; largest difference")
    trained = load_run(run)
    x, _ = next(iter(trained.data.batches("test", 7)))
    expected = RescaledModel(trained.net, trained.stats, Beta(1.0), inputs="both")(x)
    torch.testing.assert_close(torch.export.load(file).module()(x), expected)


def test_a_file_that_predicts_otherwise_is_not_written(run, tmp_path, monkeypatch):
    monkeypatch.setitem(module._FORMATS, "pt2", lambda net, *_: (b"", lambda x: net(x) + 1))
    output = tmp_path / "a.pt2"
    with pytest.raises(ConfigurationError, match=r"predictions are off by 1 of .* nothing was wr"):
        export_checkpoint(ExportOptions(checkpoint=run, format="pt2", output=output))
    assert not output.exists()


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.attend = nn.Linear(3, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        h = self.embed(x.flatten(2).mT)
        return self.head(self.attend(h, h, h, need_weights=False)[0].mean(1))


def convolution():
    layers = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(256, 4))


@pytest.mark.parametrize("make", [convolution, Attention])
@pytest.mark.parametrize("form", ["pt2", "onnx", "compiled"])
def test_folded_networks_agree_in_every_form(make, form, generator):
    """A convolution with padding, which a constant is added before, and an attention."""
    torch.manual_seed(0)
    x = torch.randn(6, 3, 8, 8, generator=generator)
    stats = TrainingStatistics.from_tensors(x, torch.arange(6) % 4, 4)
    model = RescaledModel(make().eval(), stats, Beta(1.0)).eval()
    net = model.fold()
    if form == "onnx":
        pytest.importorskip("onnxruntime")
    if form == "compiled":
        again = torch.compile(net, backend="aot_eager", fullgraph=True)
    else:
        _, again = module._FORMATS[form](net, x, {})
    torch.testing.assert_close(again(x[:5]), model(x[:5]), rtol=1e-5, atol=1e-6)
