"""Trained networks from runs and from files of weights, also those that hold something else."""

import re
import shutil
import struct
import zipfile
from argparse import Namespace
from collections import OrderedDict
from fractions import Fraction

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import mixreg
from mixreg import Beta, CheckpointError, Constant, RescaledModel, TrainingStatistics
from mixreg.training import RunDirectory, TrainConfig, load_bare, load_run, load_weights, train
from mixreg.training.run import read_model
from mixreg.training.weights import read_weights


def _net():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def _same(one, other):
    return all(value.equal(other.state_dict()[key]) for key, value in one.state_dict().items())


class TestLoad:
    """`mixreg.load` and the file that it reads."""

    def test_a_run_is_loaded_in_one_line(self, finished):
        model, trained = mixreg.load(finished.path), load_run(finished.path)
        x = next(iter(trained.data.batches("test", 5)))[0]
        assert model.law == Beta(1.0)
        assert model.link == "softmax"
        assert not model.training
        torch.testing.assert_close(
            model(x), RescaledModel(trained.net, trained.stats, trained.law)(x)
        )
        assert mixreg.load(str(finished.weights))(x).equal(model(x))

    @pytest.mark.parametrize("method", ["erm", "spectral", "dropout", "mit-l", "mit-a"])
    def test_a_method_without_mixing_predicts_as_it_is(self, small, method):
        run = train(small(method=method, epochs=1))
        model, x = mixreg.load(run.path), torch.randn(4, 1, 8, 8).clamp(-1, 1)
        assert model.law == Constant(1.0)
        torch.testing.assert_close(model(x), load_run(run.path).net(x))

    @pytest.mark.parametrize(
        ("method", "inputs", "scale"), [("regmixup", 0.875, 0.875), ("unshrunk", 1, 0.75)]
    )
    def test_a_rival_has_its_own_correction(self, small, method, inputs, scale):
        run = train(small(method=method, epochs=1))
        model, trained, x = mixreg.load(run.path), load_run(run.path), torch.rand(4, 1, 8, 8)
        x_mean, y_mean = (m.float() for m in (trained.stats.x_mean, trained.stats.y_mean))
        expected = (trained.net(x_mean + inputs * (x - x_mean)) - (1 - scale) * y_mean) / scale
        torch.testing.assert_close(model(x), expected)
        assert trained.law.theta_mean == pytest.approx(scale)

    def test_one_logit_and_snapshots(self, small):
        logit = {"data": "two-moons", "loss": "logistic", "model": "random-fourier-features"}
        run = train(small(**logit, batch_size=50, snapshots=[1]))
        model = mixreg.load(run.path)
        assert model.link == "sigmoid"
        assert model(torch.zeros(3, 2)).shape == (3, 1)
        assert not _same(mixreg.load(run.snapshot(1)), model)

    def test_any_network_takes_the_file_as_its_state(self, finished):
        trained = load_run(finished.path)
        stats = TrainingStatistics.from_tensors(torch.randn(4, 2), torch.tensor([0, 1, 1, 1]), 2)
        model = RescaledModel(trained.net, stats, Constant(0.5))
        model.load_state_dict(load_file(finished.weights))
        assert _same(model, mixreg.load(finished.path))
        assert model.law == Beta(1.0)

    def test_the_means_keep_their_digits(self, finished):
        stored = read_model(finished.weights, remedy="")
        x = load_run(finished.path).data.train_batches(64, seed=0, epoch=0)
        expected = torch.cat([batch for batch, _ in x]).double().mean(0)
        torch.testing.assert_close(stored.stats.x_mean, expected, rtol=1e-13, atol=1e-15)
        assert stored.stats.count == 135
        assert stored.config == finished.read_config()

    def test_what_is_no_trained_model_is_refused(self, tmp_path, finished):
        save_file({"weight": torch.ones(2)}, tmp_path / "a.safetensors")
        TrainingStatistics.from_tensors(torch.ones(2, 1), torch.tensor([0, 1]), 2).save(
            tmp_path / "b.safetensors"
        )
        shutil.copytree(finished.path, tmp_path / "begun").joinpath("result.json").unlink()
        for name, message in (
            ("a.safetensors", "holds no trained model"),
            ("b.safetensors", "holds no trained model"),
            ("none.safetensors", "is missing"),
            ("", "holds no run"),
            ("begun", "is not finished"),
        ):
            with pytest.raises(CheckpointError, match=message) as error:
                mixreg.load(tmp_path / name)
            assert "\n" not in str(error.value)


def test_the_stored_classifier_is_the_trained_one(small):
    run = train(small(method="erm"))
    trained = load_run(run.path)
    right = total = 0
    for x, y in trained.data.batches("test", 100):
        right += int((trained.net(x).argmax(1) == y).sum())
        total += len(y)
    assert right / total == pytest.approx(run.read_result().history[-1]["test_accuracy"])
    assert trained.stats.count == trained.data.size("train")
    assert trained.class_means.sum() == pytest.approx(1)


def test_the_class_means_of_one_logit(small):
    run = train(small(data="two-moons", loss="logistic", epochs=30, batch_size=50))
    trained = load_run(run.path, {"workers": 0})
    assert trained.config.workers == 0
    assert trained.stats.y_mean.shape == (1,)
    assert trained.class_means.shape == (2,)
    assert trained.class_means[1] == trained.stats.y_mean
    assert run.read_result().history[-1]["test_accuracy"] > 0.7


STATE = _net().state_dict()
EMA = _net().state_dict()


def _under(prefix, state):
    return {f"{prefix}{key}": value for key, value in state.items()}


@pytest.mark.parametrize(
    ("stored", "prefix"),
    [
        (STATE, ""),
        (OrderedDict(STATE), ""),
        ({"state_dict": STATE, "epoch": 3}, ""),
        ({"model": STATE, "optimizer": {"state": {0: {"m": torch.ones(1)}}}}, ""),
        ({"model": {"state_dict": STATE}}, ""),
        ({"net": STATE, "acc": 91.2, "epoch": 3}, ""),
        ({"model_state_dict": STATE, "loss": torch.tensor(0.3)}, ""),
        (_under("module.", STATE), "module."),
        (_under("_orig_mod.", STATE), "_orig_mod."),
        ({"state_dict": _under("module._orig_mod.", STATE)}, "module._orig_mod."),
        ({"state_dict": _under("model.", STATE) | {"metric.sum": torch.ones(1)}}, "model."),
        ({"state_dict": _under("net.", STATE) | {"stats.mean": torch.ones(1)}}, "net."),
        ({"n_averaged": torch.tensor(3)} | _under("module.", STATE), "module."),
        ({"state_dict": STATE, "arch": "mlp", "args": Namespace(model="mlp", lr=0.1)}, ""),
    ],
    ids=lambda value: "-".join(value)[:40] if isinstance(value, dict) else value,
)
def test_each_container_is_read(tmp_path, stored, prefix):
    net = _net()
    torch.save(stored, tmp_path / "w.pt")
    found = read_weights(tmp_path / "w.pt")
    assert found.put(net) == [f"The prefix {prefix} of all keys in w.pt was stripped."] * (
        prefix != ""
    )
    assert all(value.equal(STATE[key]) for key, value in net.state_dict().items())
    assert found.arguments == ({"model": "mlp", "lr": 0.1} if "args" in stored else None)


def test_safetensors_may_have_a_prefix_as_well(tmp_path):
    net = _net()
    save_file(_under("module.", STATE), tmp_path / "w.safetensors")
    with pytest.warns(UserWarning, match=r"The prefix module\. of all keys in w\.safetensors"):
        assert load_weights(tmp_path / "w.safetensors", net) is net
    assert all(value.equal(STATE[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("stored", "averaged", "trained"),
    [
        ({"state_dict": STATE, "state_dict_ema": EMA}, "state_dict_ema", "state_dict"),
        ({"model": STATE, "model_ema": _under("module.", EMA)}, "model_ema", "model"),
        ({"model": STATE, "ema": {"state_dict": EMA}}, "ema.state_dict", "model"),
        (
            {"state_dict": _under("ema_model.", EMA) | _under("model.", STATE)},
            "ema_model",
            "model",
        ),
    ],
    ids=["timm", "torchvision", "nested", "lightning"],
)
def test_averaged_weights_are_taken_unless_others_are_named(tmp_path, stored, averaged, trained):
    torch.save(stored, tmp_path / "w.pt")
    found, net = read_weights(tmp_path / "w.pt"), _net()
    note, *_ = found.put(net)
    assert note.startswith("w.pt holds several weights of the model: ")
    assert trained in note
    assert f"those of {averaged}" in note or f"{averaged} state_dict were taken" in note
    assert net.state_dict()["0.weight"].equal(EMA["0.weight"])
    found.put(net, trained)
    assert net.state_dict()["0.weight"].equal(STATE["0.weight"])
    with pytest.raises(CheckpointError, match=f"no weights named 'other', only .*{trained}"):
        found.put(net, "other")


@pytest.mark.parametrize(
    ("stored", "names"),
    [
        ({"a": STATE, "b": EMA}, "a, b"),
        ({"state_dict": _under("student.", STATE) | _under("teacher.", EMA)}, "student, teacher"),
    ],
)
def test_two_networks_are_not_chosen_between(tmp_path, stored, names):
    torch.save(stored, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=f"holds several weights of the model: .*{names}"):
        load_weights(tmp_path / "w.pt", _net())
    net = _net()
    read_weights(tmp_path / "w.pt").put(net, names.split(", ")[1])
    assert net.state_dict()["0.weight"].equal(EMA["0.weight"])


def test_the_files_of_a_run_are_read_as_bare_weights(finished):
    net = load_run(finished.path).net
    config = TrainConfig(data="two-moons", progress=False)
    for file in (finished.checkpoint, finished.weights):
        assert _same(load_bare(file, config).net, net)


def test_a_network_whose_own_keys_begin_with_the_prefix(tmp_path):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 2)

    stored, read = Wrapped(), Wrapped()
    torch.save(stored.state_dict(), tmp_path / "w.pt")
    assert _same(load_weights(tmp_path / "w.pt", read), stored)


def _mirrors():
    """A mapping that holds itself, a thousand times and without a name."""
    held = {}
    held |= dict.fromkeys(["", *map(str, range(1000))], held)
    return held


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (_net(), "holds pickled objects and not only tensors"),
        ({"weight": object()}, "holds pickled objects and not only tensors"),
        ([1, 2], "no state dict"),
        (None, "no state dict"),
        (torch.ones(3), "no state dict"),
        ({"epoch": 3}, "no state dict"),
        (_mirrors(), "no state dict"),
        ({"state_dict": 3}, "no state dict"),
        ({0: torch.ones(3)}, "no state dict among 0; "),
        ({"epoch": 3, "optimizer": {}, "args": Namespace()}, "among epoch, optimizer, args; "),
        ({"state_dict": {"weight": torch.ones(3)}, "args": Fraction(1)}, "pickled objects"),
    ],
)
def test_other_contents_are_refused_in_one_sentence(tmp_path, stored, message):
    file = tmp_path / "w.pt"
    torch.save(stored, file)
    with pytest.raises(CheckpointError, match=message) as error:
        load_weights(file, _net())
    text = str(error.value)
    assert text.startswith(f"{file} is not a readable file of weights: ")
    assert text.endswith("; save net.state_dict() with torch.save or safetensors")
    assert "weights_only" not in text
    assert "\n" not in text


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 cut short", None])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_damaged_and_missing_weights_are_refused_in_one_line(tmp_path, content, suffix):
    file = tmp_path / f"w.{suffix}"
    if content is not None:
        file.write_bytes(content)
    missing, damaged = r"there are no weights at \S*w\.", "is not a readable file of weights"
    with pytest.raises(CheckpointError, match=missing if content is None else damaged) as error:
        load_weights(file, _net())
    assert "weights_only" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_misfit_names_the_first_keys_on_one_line(tmp_path):
    file = tmp_path / "w.safetensors"
    layers = nn.ModuleDict({name: nn.Linear(1, 1) for name in "abc"})
    state = {"0.weight": torch.ones(5, 3), **layers.state_dict()}
    save_file(state, file)
    with pytest.raises(CheckpointError) as error:
        load_weights(file, _net())
    assert str(error.value) == (
        f"{file} does not fit the model: 8 missing: 0.bias, 1.weight, 1.bias, ...; "
        "6 unexpected: a.bias, a.weight, b.bias, ...; "
        "1 of another shape: 0.weight (5, 3) instead of (4, 3)"
    )


def test_a_value_that_is_no_tensor_is_refused_in_one_line(tmp_path):
    file = tmp_path / "w.pt"
    torch.save({**nn.Linear(1, 1).state_dict(), "bias": 3}, file)
    with pytest.raises(CheckpointError, match=r"does not fit the model: .*\"bias\"") as error:
        load_weights(file, nn.Linear(1, 1))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.complex64])
def test_weights_that_are_no_real_numbers_are_refused(tmp_path, dtype):
    file = tmp_path / "w.pt"
    state = {key: value.to(dtype) for key, value in _net().state_dict().items()}
    torch.save(state, file)
    with pytest.raises(CheckpointError, match=rf"no floating-point weights.*0\.weight {dtype}, "):
        load_weights(file, _net())


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors_are_refused(tmp_path):
    ragged = torch.nested.nested_tensor([torch.ones(3), torch.ones(2)])
    torch.save({**_net().state_dict(), "0.weight": ragged}, tmp_path / "w.pt")
    message = r"no floating-point weights for the model: 0\.weight nested torch\.float32$"
    with pytest.raises(CheckpointError, match=message):
        load_weights(tmp_path / "w.pt", _net())


NUMBERS = [
    np.float64(91.25),
    np.float32(0.5),
    np.int64(3),
    np.bool_(True),
]


@pytest.mark.parametrize("number", NUMBERS, ids=repr)
@pytest.mark.parametrize("core", ["_core", "core"])
def test_numbers_of_numpy_are_read(tmp_path, number, core):
    args = Namespace(mixup=number)
    torch.save({"net": STATE, "acc": number, "args": args}, tmp_path / "w.pt")
    with zipfile.ZipFile(tmp_path / "w.pt") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:  # as NumPy 1 or 2 names them
        for name, data in parts.items():
            archive.writestr(name, re.sub(rb"numpy\._?core\.", f"numpy.{core}.".encode(), data))
    found, net = read_weights(tmp_path / "w.pt"), _net()
    assert found.put(net) == []
    assert net.state_dict()["0.weight"].equal(STATE["0.weight"])
    assert found.arguments == {"mixup": number}


class _Call:
    """Pickled as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


SCALAR = np.float64(1).__reduce__()[0]


def test_the_byte_order_of_a_number_is_read(tmp_path):
    for order in "<>":
        stored = _Call(SCALAR, np.dtype(f"{order}f8"), struct.pack(f"{order}d", 3.0))
        torch.save({"net": STATE, "args": Namespace(mixup=stored)}, tmp_path / "w.pt")
        assert read_weights(tmp_path / "w.pt").arguments == {"mixup": 3.0}


@pytest.mark.parametrize(
    "hidden",
    [
        lambda trace: _Call(open, trace, "w"),
        lambda trace: _Call(SCALAR, np.dtype("O"), _Call(open, trace, "w")),
        lambda trace: _Call(SCALAR, np.dtype("f8"), _Call(open, trace, "w")),
        lambda _: _Call(SCALAR, np.dtype("f8"), b"short"),
        lambda _: _Call(SCALAR, np.dtype("O"), 3),
        lambda _: _Call(SCALAR, np.dtype([("a", "f8")]), bytes(8)),
        lambda _: np.ones(3),
        lambda _: np.str_("a"),
        lambda _: np.bytes_(b"a"),
        lambda _: np.complex128(1),
        lambda _: np.datetime64(0, "s"),
    ],
)
def test_what_only_looks_like_a_number_is_refused_and_not_run(tmp_path, hidden):
    torch.save({"net": STATE, "acc": hidden(str(tmp_path / "trace"))}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="holds pickled objects and not only tensors"):
        read_weights(tmp_path / "w.pt")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_said(tmp_path, dtype):
    file, net = tmp_path / "w.pt", _net()
    torch.save(net.to(dtype).state_dict(), file)
    with pytest.warns(UserWarning, match=f"holds weights of {dtype}"):
        load_weights(file, _net())
    load_weights(file, _net().to(dtype))
    double = tmp_path / "double.pt"
    torch.save(_net().double().state_dict(), double)
    load_weights(double, _net())


def test_an_unfinished_run_is_not_read_as_finished(finished, tmp_path):
    run = RunDirectory(shutil.copytree(finished.path, tmp_path / "run"))
    (run.path / "result.json").unlink()
    with pytest.raises(CheckpointError, match="not finished"):
        load_run(run.path)
