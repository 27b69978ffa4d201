"""Files of weights, also those that hold something else."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mixreg import CheckpointError
from mixreg.training import TrainConfig, train
from mixreg.training.trained import load_bare, load_run, load_weights


def _net():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def _same(one, other):
    return all(value.equal(other.state_dict()[key]) for key, value in one.state_dict().items())


@pytest.mark.parametrize("form", ["safetensors", "pt", "entry", "checkpoint"])
def test_each_form_is_read(tmp_path, form):
    net, state = _net(), _net().state_dict()
    file = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pt")
    inner = {f"net.{key}": value for key, value in state.items()}
    if form == "safetensors":
        save_file(state, file)
    else:
        outer = {"state_dict": inner | {"stats.mean": torch.ones(1)}, "epoch": 3}
        torch.save({"pt": state, "entry": {"state_dict": state}, "checkpoint": outer}[form], file)
    assert load_weights(file, net) is net
    assert all(value.equal(net.state_dict()[key]) for key, value in state.items())


def test_the_checkpoint_of_a_run_is_read_as_bare_weights(tmp_path):
    config = TrainConfig(data="two-moons", epochs=1, progress=False, output=tmp_path)
    run = train(config)
    assert _same(load_bare(run.checkpoint, config).net, load_run(run.path, {}).net)


def test_a_network_whose_own_keys_begin_with_the_prefix(tmp_path):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 2)

    stored, read = Wrapped(), Wrapped()
    torch.save(stored.state_dict(), tmp_path / "w.pt")
    assert _same(load_weights(tmp_path / "w.pt", read), stored)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (_net(), "holds pickled objects and not only tensors"),
        ({"weight": object()}, "holds pickled objects and not only tensors"),
        ([1, 2], "no state dict"),
        (None, "no state dict"),
        (torch.ones(3), "no state dict"),
        ({"epoch": 3}, "no state dict"),
        ({"state_dict": 3}, "no state dict"),
        ({0: torch.ones(3)}, "no state dict"),
    ],
)
def test_other_contents_are_refused_in_one_sentence(tmp_path, stored, message):
    file = tmp_path / "w.pt"
    torch.save(stored, file)
    with pytest.raises(CheckpointError, match=message) as error:
        load_weights(file, _net())
    told = str(error.value)
    assert told.startswith(f"{file} is not a readable file of weights: ")
    assert told.endswith("; save net.state_dict() with torch.save or safetensors")
    assert "weights_only" not in told
    assert "\n" not in told


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 cut short"])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_damage_is_told_on_one_line(tmp_path, content, suffix):
    file = tmp_path / f"w.{suffix}"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="is not a readable file of weights") as error:
        load_weights(file, _net())
    assert "weights_only" not in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"there are no weights at \S*w\.pt"):
        load_weights(tmp_path / "w.pt", _net())


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


def test_a_value_that_is_no_tensor_is_told_on_one_line(tmp_path):
    file = tmp_path / "w.pt"
    torch.save({**nn.Linear(1, 1).state_dict(), "bias": 3}, file)
    with pytest.raises(CheckpointError, match=r"does not fit the model: .*\"bias\"") as error:
        load_weights(file, nn.Linear(1, 1))
    assert "\n" not in str(error.value)
