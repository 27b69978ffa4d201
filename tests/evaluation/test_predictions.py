"""Predictions: what is computed, stored, read back and refused."""

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from mixreg import Beta, CheckpointError, RescaledModel, TrainingStatistics
from mixreg._files import write_tensors
from mixreg._random import generator
from mixreg.evaluation.corrections import correct
from mixreg.evaluation.predictions import FORMAT, Predictions, predict

LAW = Beta(1.0)


def some(n=5, c=3, dtype=torch.float32, seed=0):
    g = generator("predictions", seed)
    raw, shrunk = torch.randn(2, n, c, generator=g, dtype=torch.float64).to(dtype)
    return Predictions(raw, shrunk, torch.randint(c, (n,), generator=g))


def batches(n=10, d=4, c=3, size=3):
    g = generator("batches")
    x, y = torch.randn(n, d, generator=g), torch.randint(c, (n,), generator=g)
    return x, y, list(zip(x.split(size), y.split(size), strict=True))


def net(d=4, c=3):
    g = generator("net")
    layer = nn.Linear(d, c)
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=g)
    return nn.Sequential(layer, nn.Dropout(0.5), nn.Tanh())


def test_predicts_at_the_inputs_and_at_shrunk_inputs():
    x, y, loader = batches()
    model, mean = net(), torch.randn(4, generator=generator("mean"))
    found = predict(model, loader, mean, LAW)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(found.raw, model(x))
        torch.testing.assert_close(found.shrunk, model(mean + 0.75 * (x - mean)))
    assert torch.equal(found.labels, y)
    assert (found.count, found.num_classes) == (10, 3)


def test_rescaled_logits_are_those_of_the_rescaled_model():
    x, y, loader = batches()
    model, stats = net(), TrainingStatistics.from_tensors(x, y, num_classes=3)
    found = predict(model, loader, stats.x_mean, LAW)
    rescaled = correct(found, "rescaled", y_mean=stats.y_mean, law=LAW)
    wrapped = RescaledModel(model, stats, LAW).eval()
    with torch.no_grad():
        torch.testing.assert_close(rescaled.float(), wrapped(x))


@pytest.mark.parametrize("flat", [False, True])
def test_one_logit_becomes_two_classes(flat):
    x, y, loader = batches(c=2)
    model = nn.Sequential(nn.Linear(4, 1), nn.Flatten(0) if flat else nn.Identity())
    stats = TrainingStatistics.from_tensors(x, y.float())
    found = predict(model, loader, stats.x_mean, LAW)
    assert torch.equal(found.raw[:, 0], torch.zeros(10))
    with torch.no_grad():
        torch.testing.assert_close(found.raw[:, 1], model(x).flatten())
        wrapped = RescaledModel(model, stats, LAW, link="sigmoid")(x).flatten()
    rescaled = correct(found, "rescaled", y_mean=stats.y_mean, law=LAW)
    torch.testing.assert_close((rescaled[:, 1] - rescaled[:, 0]).float(), wrapped)


def test_leaves_every_module_in_its_mode():
    model = net()
    model.train()
    model[1].eval()
    predict(model, batches()[2], torch.zeros(4), LAW)
    assert [module.training for module in model.modules()] == [True, True, False, True]


def test_restores_the_mode_after_a_failure():
    model = net().train()
    with pytest.raises(RuntimeError):
        predict(model, [(torch.zeros(2, 5), torch.zeros(2).long())], torch.zeros(5), LAW)
    assert model.training


def test_low_precision_outputs_are_stored_as_float32():
    loader = [(torch.ones(2, 4).bfloat16(), torch.zeros(2).long())]
    assert predict(net().bfloat16(), loader, torch.zeros(4), LAW).raw.dtype == torch.float32


def test_results_can_be_used_in_autograd():
    found = predict(net(), batches()[2], torch.zeros(4), LAW)
    assert not found.raw.is_inference()
    assert not found.raw.requires_grad


@given(
    n=st.integers(1, 20),
    c=st.integers(2, 5),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_save_and_load_round_trip(tmp_path_factory, n, c, dtype):
    path = tmp_path_factory.mktemp("p") / "test.safetensors"
    stored = some(n, c, dtype)
    stored.save(path)
    found = Predictions.load(path)
    for name in ("raw", "shrunk", "labels"):
        a, b = getattr(found, name), getattr(stored, name)
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_views_and_strides_do_not_matter(tmp_path):
    base = torch.randn(3, 5, generator=generator("v"))
    Predictions(base.T, base.T, torch.arange(10)[::2] % 3).save(tmp_path / "p")
    assert torch.equal(Predictions.load(tmp_path / "p").raw, base.T)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no predictions at"):
        Predictions.load(tmp_path / "nowhere")


@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_a_truncated_file_is_refused(tmp_path, keep):
    path = tmp_path / "p"
    some().save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"p (holds no|was changed).*; delete it and run"):
        Predictions.load(path)


def test_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "p"
    some(n=2).save(path)
    whole = path.read_bytes()
    for k in range(len(whole)):
        path.write_bytes(whole[:k] + bytes([whole[k] ^ 1 << k % 8]) + whole[k + 1 :])
        with pytest.raises(CheckpointError, match="delete it and run the evaluation again"):
            Predictions.load(path)


def test_predictions_of_another_source_are_refused(tmp_path):
    some().save(tmp_path / "p", source="these weights")
    assert Predictions.load(tmp_path / "p", source="these weights").count == some().count
    with pytest.raises(CheckpointError, match="p holds predictions of other weights"):
        Predictions.load(tmp_path / "p", source="those weights")


def test_another_safetensors_file_is_refused(tmp_path):
    save_file({"raw": torch.zeros(2, 2)}, tmp_path / "p")
    with pytest.raises(CheckpointError, match="holds no predictions"):
        Predictions.load(tmp_path / "p")


@pytest.mark.parametrize(
    "change",
    [
        {"labels": torch.tensor([0, 1, 9])},
        {"raw": torch.zeros(3, 4)},
        {"raw": torch.full((3, 2), torch.nan)},
        {"labels": torch.zeros(3)},
        {"raw": None},
        {"more": torch.zeros(3)},
    ],
)
def test_contents_are_checked_on_load(tmp_path, change):
    good = {"raw": torch.zeros(3, 2), "shrunk": torch.zeros(3, 2), "labels": torch.zeros(3).long()}
    tensors = {k: v for k, v in (good | change).items() if v is not None}
    write_tensors(tmp_path / "p", tensors, {"format": FORMAT})
    with pytest.raises(CheckpointError, match=r"p holds no predictions: .*; delete it"):
        Predictions.load(tmp_path / "p")


def test_refuses_a_loader_without_batches():
    with pytest.raises(ValueError, match="yields no batches"):
        predict(net(), [], torch.zeros(4), LAW)


def test_refuses_outputs_of_another_rank():
    images = [(torch.zeros(2, 3, 4), torch.zeros(2).long())]
    with pytest.raises(ValueError, match=r"\(n, c\), \(n, 1\) or \(n,\), got \(2, 3, 4\)"):
        predict(nn.Identity(), images, torch.zeros(3, 4), LAW)


def test_a_diverged_network_is_named():
    model = net()
    model[0].weight.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="row 0 holds NaN"):
        predict(model, batches()[2], torch.zeros(4), LAW)


def test_prediction_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predict(net(), batches()[2], torch.zeros(4), LAW)
