"""Training with the approximate risk through the networks and devices people use."""

import copy
import os

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from mixreg import Beta, TrainingStatistics
from mixreg._errors import MixregError
from mixreg.models import build
from mixreg.risk import approximate_loss
from mixreg.risk.approximate_loss import ApproximateMixupLoss

LAW = Beta(1.0)
IMAGE = (3, 8, 8)


class SmallTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, 4)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        return self.head(self.block(tokens).mean(1))


def conv_net():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(36, 3),
    )


NETS = {
    "convolutional": conv_net,
    "layer norm": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(192, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 3)
    ),
    "transformer": SmallTransformer,
    "spectral norm": lambda: nn.Sequential(
        nn.Flatten(), nn.utils.parametrizations.spectral_norm(nn.Linear(192, 3))
    ),
}


def images(n=8):
    x, y = torch.randn(n, *IMAGE), torch.arange(n) % 3
    return x, y, TrainingStatistics.from_tensors(x, y, num_classes=3)


def gradients(net):
    return [p.grad.clone() for p in net.parameters()]


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("name", NETS)
def test_every_parameter_gets_a_gradient(name, directions, second_order, generator):
    net, (x, y, stats) = NETS[name](), images()
    loss = ApproximateMixupLoss(
        stats, LAW, directions=directions, second_order=second_order, generator=generator
    )
    value = loss(net, x, y)
    value.backward()
    assert value.dtype == torch.float32
    assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in net.parameters())


@pytest.mark.parametrize(("name", "step"), [("lenet", 0.1), ("resnet20", 0.02)])
def test_training_lowers_the_risk(name, step, generator):
    x = torch.randn(8, 3, 32, 32).to(memory_format=torch.channels_last)
    y = torch.arange(8) % 4
    stats = TrainingStatistics.from_tensors(x, y, num_classes=4)
    net = build(name, input_shape=(3, 32, 32), num_outputs=4)
    net = net.to(memory_format=torch.channels_last)
    loss = ApproximateMixupLoss(stats, LAW, generator=generator)
    optimizer = torch.optim.SGD(net.parameters(), lr=step, momentum=0.9)
    values = []
    for _ in range(20):
        optimizer.zero_grad()
        value = loss(net, x, y)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert sum(values[-5:]) < 0.9 * sum(values[:5])


@pytest.mark.parametrize("directions", [1, 2])
def test_running_statistics_are_updated_once_by_the_modified_inputs(directions, generator):
    net, (x, y, stats) = conv_net(), images()
    plain = copy.deepcopy(net)
    ApproximateMixupLoss(stats, LAW, directions=directions, generator=generator)(net, x, y)
    mean = stats.x_mean.float()
    plain(mean + LAW.theta_mean * (x - mean))
    for ours, theirs in zip(net.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_batch_statistics_enter_as_in_a_mixed_batch(monkeypatch):
    """The expectation over signs and partners is the expansion of the whole batch's loss.

    Every example has its own perturbation, so that only the diagonal blocks of the Hessian in all
    inputs at once count.
    """
    n, width = 3, 2
    x, y = torch.randn(n, width, dtype=torch.float64), torch.eye(n, dtype=torch.float64)
    stats = TrainingStatistics.from_tensors(x, y)
    net = nn.Sequential(nn.Linear(width, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 3)).double()
    loss = ApproximateMixupLoss(stats, LAW, second_order=True)
    index = torch.arange(n)
    values = []
    for shift in range(n):
        for bits in range(4**n):
            signs = 1 - 2 * torch.tensor([bits >> k & 1 for k in range(2 * n)]).reshape(2, n)
            drawn = ((index + shift) % n, signs)
            monkeypatch.setattr(approximate_loss, "_draw", lambda *_, drawn=drawn: drawn)
            values.append(loss(copy.deepcopy(net), x, y).item())

    d, e = x - x.mean(0), y - y.mean(0)
    x_modified, y_modified = x.mean(0) + LAW.theta_mean * d, y.mean(0) + LAW.theta_mean * e
    elementary = nn.Sequential(net[0], Normalized(), net[2], net[3])

    def joint(z):
        inputs, targets = z[:, :width], z[:, width:]
        return -(targets * elementary(inputs).log_softmax(1)).sum(1).mean()

    at = torch.cat([x_modified, y_modified], 1)
    hessian = torch.autograd.functional.hessian(joint, at)
    z = torch.cat([d, e], 1)
    expected = joint(at).item()
    for i in range(n):
        covariance = LAW.theta_variance * torch.outer(z[i], z[i])
        covariance += LAW.gamma_squared * z.T @ z / n
        expected += (hessian[i, :, i] * covariance).sum().item() / 2
    assert sum(values) / len(values) == pytest.approx(expected, rel=1e-9)


class Normalized(nn.Module):
    def forward(self, h):
        return (h - h.mean(0)) / (h.var(0, unbiased=False) + 1e-5).sqrt()


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_bfloat16_autocast(name, second_order, generator):
    net, (x, y, stats) = NETS[name]().eval(), images()
    state, results = generator.get_state(), []
    for enabled in (False, True):
        generator.set_state(state)
        loss = ApproximateMixupLoss(stats, LAW, second_order=second_order, generator=generator)
        net.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            value = loss(net, x, y)
        value.backward()
        results.append((value.detach(), torch.cat([g.flatten() for g in gradients(net)])))
    (full, full_gradient), (half, half_gradient) = results
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=0.03, atol=0.03)
    assert (half_gradient - full_gradient).norm() < 0.06 * full_gradient.norm()


def test_one_logit(generator):
    x, y = torch.randn(6, 4), torch.rand(6, 1)
    stats = TrainingStatistics.from_tensors(x, y)
    loss = ApproximateMixupLoss(stats, LAW, "logistic", generator=generator)
    assert torch.isfinite(loss(nn.Linear(4, 1), x, y))


def test_evaluation_without_gradients(generator):
    net, (x, y, stats) = NETS["layer norm"](), images()
    state = generator.get_state()
    value = ApproximateMixupLoss(stats, LAW, generator=generator)(net, x, y)
    generator.set_state(state)
    with torch.no_grad():
        again = ApproximateMixupLoss(stats, LAW, generator=generator)(net, x, y)
    assert not again.requires_grad
    torch.testing.assert_close(again, value.detach())


def test_each_process_draws_its_own_stream_and_gradients_are_averaged(tmp_path):
    multiprocessing.start_processes(_process, (str(tmp_path),), nprocs=2, start_method="forkserver")
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for case in first["cases"]:
        ours, theirs = first["cases"][case], second["cases"][case]
        assert not torch.equal(ours["signs"], theirs["signs"])
        for together, a, b in zip(ours["together"], ours["alone"], theirs["alone"], strict=True):
            torch.testing.assert_close(together, (a + b) / 2)
    assert "DistributedDataParallel" in first["refused"]


def _process(rank, folder):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    torch.manual_seed(rank)
    x, y, stats = images()
    cases = {}
    for directions, second_order in ((1, False), (2, False), (1, True)):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(144, 3)
        )
        alone, wrapped = copy.deepcopy(net), DistributedDataParallel(net)
        options = {"directions": directions, "second_order": second_order}
        loss = ApproximateMixupLoss(stats, LAW, generator=torch.Generator(), **options)
        state = loss.state_dict()
        for model in (wrapped, alone):
            loss.load_state_dict(state)
            loss(model, x, y).backward()
        loss.load_state_dict(state)
        cases[directions, second_order] = {
            "together": gradients(wrapped),
            "alone": gradients(alone),
            "signs": approximate_loss._draw(8, 8, loss._stream.generator())[1],
        }
    refused = ""
    try:
        loss(DistributedDataParallel(net, static_graph=True), x, y)
    except MixregError as error:
        refused = str(error)
    torch.save({"cases": cases, "refused": refused}, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()
