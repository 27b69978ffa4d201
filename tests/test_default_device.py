"""What is computed on the CPU stays there whatever the default device of tensors is.

The device "meta", which holds no numbers, stands in for an accelerator: any tensor that is made on
the default device by mistake fails at once.
"""

import pytest
import torch

import mixreg
from mixreg.diagnostics import roughness

LAW = mixreg.mixture([(0.5, mixreg.Beta(0.7)), (0.5, mixreg.Constant(0.75))])
LAWS = (LAW, mixreg.Beta(0.7), mixreg.Beta(1.0), mixreg.Uniform(), mixreg.Constant(0.75))


class Problem:
    """Data, network and statistics in float64 on the CPU."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(9, 3, dtype=torch.float64, generator=generator)
        self.y = torch.tensor([0, 1, 2] * 3)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)
        ).double()
        for parameter in self.net.parameters():
            torch.nn.init.normal_(parameter, generator=generator)
        self.stats = self.statistics()

    def statistics(self):
        loader = [(self.x[:4], self.y[:4]), (self.x[4:], self.y[4:])]
        return mixreg.TrainingStatistics.from_loader(loader, num_classes=3, progress=False)

    @property
    def risk_arguments(self):
        return self.net, self.x, self.y, "cross_entropy"


def statistics(p, tmp_path):
    p.statistics().save(tmp_path / "statistics.safetensors")
    return mixreg.TrainingStatistics.load(tmp_path / "statistics.safetensors").x_mean


def mixup(p, _):
    mixer = mixreg.Mixup(LAW, 3)
    mixer(p.x, p.y)
    mixer.load_state_dict(mixer.state_dict())
    return mixer(p.x[:5], p.y[:5]).inputs


def rescaled(p, _):
    model = mixreg.RescaledModel(p.net, p.stats, LAW)
    model.load_state_dict(model.state_dict())
    return model(p.x) + model.fold()(p.x)


def approximate_loss(p, _):
    return mixreg.ApproximateMixupLoss(p.stats, LAW, "cross_entropy")(p.net, p.x, p.y)


def temperature(p, _):
    logits = 1.5 * p.x
    logits[torch.arange(9, device="cpu"), p.y] += 2
    return mixreg.apply_temperature(logits, mixreg.fit_temperature(logits, p.y))


def risks(p, _):
    exact = mixreg.mixup_risk(*p.risk_arguments, LAW, order=4)
    estimate = mixreg.mixup_risk_estimate(
        *p.risk_arguments, LAW, samples=10, generator=torch.Generator()
    )
    both = mixreg.theorem_one(*p.risk_arguments, LAW, order=4)
    return torch.tensor([exact, estimate.value, *both], device="cpu")


def terms(p, _):
    return torch.tensor(mixreg.approximate_mixup_risk(*p.risk_arguments, LAW).r1, device="cpu")


def draws_and_rules(*_):
    drawn = [law.sample_theta(3) for law in LAWS]
    return torch.cat([*drawn, *(law.quadrature(3).nodes for law in LAWS)])


def perturbations(p, _):
    kinds = ("mixup", "inputs-only", "labels-only", "independent", "gaussian")
    g = torch.Generator()
    drawn = [mixreg.perturb(p.x, p.y, p.stats, LAW, kind, generator=g) for kind in kinds]
    return torch.stack([batch.inputs for batch in drawn])


def slopes(p, _):
    found = roughness(p.net, p.x, generator=torch.Generator(), pairs=20)
    return torch.tensor([found.value, found.standard_error], device="cpu")


@pytest.mark.parametrize(
    "computed",
    [
        statistics,
        mixup,
        rescaled,
        approximate_loss,
        temperature,
        risks,
        terms,
        draws_and_rules,
        perturbations,
        slopes,
    ],
)
def test_results_stay_on_the_cpu(computed, tmp_path):
    problem = Problem()
    with torch.device("meta"):
        result = computed(problem, tmp_path)
    assert result.device.type == "cpu"
    assert torch.isfinite(result).all()
