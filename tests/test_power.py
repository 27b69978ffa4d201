"""Powers in bands against SciPy and NumPy, those of mixes against brute force over mixes."""

import numpy as np
import pytest
import torch
from scipy import fft, stats
from torch.utils.data import DataLoader, TensorDataset

import mixreg
from mixreg import BandPower, Beta, CheckpointError, Constant, TrainingStatistics, Uniform
from mixreg.power import component_bands, cosine_bands

LAWS = [Beta(1.0), Beta(0.5), Uniform(0.2, 0.9), Constant(0.3), Beta(1.0).with_probability(0.5)]


@pytest.fixture
def images():
    g = torch.Generator().manual_seed(0)
    return torch.randn(300, 3, 8, 12, generator=g) * torch.rand(300, 1, 1, 1, generator=g)


@pytest.fixture
def measured(images):
    labels = torch.zeros(len(images))
    return TrainingStatistics.from_tensors(images, labels, second_moments="spectral")


def by_hand(images):
    """Log mean squares of SciPy's cosines in rings of one eighth, (n, 8)."""
    deviations = images.double().numpy() - images.double().numpy().mean(0)
    coordinates = fft.dctn(deviations, axes=(-2, -1), norm="ortho")
    ring = np.hypot(np.arange(8)[:, None] / 8, np.arange(12) / 12)
    number = np.minimum(np.floor(8 * ring), 7)
    rows = [(coordinates[..., number == b] ** 2).mean((1, 2)) for b in range(8)]
    return np.log(np.stack(rows, 1))


def test_spectral_moments_are_those_of_scipys_cosines(images, measured):
    logs = by_hand(images)
    power = measured.second_moments
    np.testing.assert_allclose(power.log_mean, logs.mean(0), rtol=0, atol=1e-10)
    np.testing.assert_allclose(power.log_covariance, np.cov(logs.T, ddof=0), rtol=0, atol=1e-10)
    assert power.basis == "spectral"


def test_components_are_those_of_numpys_covariance():
    g = torch.Generator().manual_seed(1)
    x = torch.randn(400, 20, generator=g).double() @ torch.randn(20, 24, generator=g).double()
    power = TrainingStatistics.from_tensors(
        x, torch.zeros(400), second_moments="components"
    ).second_moments
    scores = (x - x.mean(0)).numpy() @ power.axes.numpy().T
    covariance = np.cov(scores.T, ddof=0)
    values = np.linalg.eigvalsh(np.cov(x.numpy().T, ddof=0))[::-1][:20]  # the rank is 20
    np.testing.assert_allclose(covariance, np.diag(values), rtol=0, atol=1e-9 * values[0])
    logs = np.log([(scores[:, part] ** 2).mean(1) for part in (slice(10), slice(10, 20))])
    np.testing.assert_allclose(power.log_mean, logs.mean(1), rtol=1e-9)
    assert power.basis == "components"


def test_batches_and_passes_do_not_matter(images, measured):
    data = TensorDataset(images, torch.zeros(300))
    streamed = TrainingStatistics.from_loader(DataLoader(data, 7), second_moments="spectral")
    for name in ("log_mean", "log_covariance"):
        whole, parts = (getattr(s.second_moments, name) for s in (measured, streamed))
        torch.testing.assert_close(parts, whole, rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 32)])
def test_coordinates_are_orthonormal(shape):
    bands = cosine_bands(torch.Size(shape))
    x = torch.randn(5, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    coordinates = bands.coordinates(x)
    torch.testing.assert_close(coordinates.square().sum(), x.square().sum())
    again = bands.scaled(coordinates, x.new_ones(5, 8))
    torch.testing.assert_close(again, x)


@pytest.mark.parametrize(("rank", "bands"), [(1, 1), (15, 1), (16, 2), (63, 7), (500, 8)])
def test_bands_of_components_have_eight_at_least(rank, bands):
    sizes = component_bands(torch.eye(rank)).members.sum(0)
    assert len(sizes) == bands
    assert (sizes >= min(rank, 8)).all()


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_mean_power_of_mixes_is_exact(law, images):
    """E P of mixes over all pairs is E[θ² + (1 − θ)²] that of the data, in every band."""
    x = images[:40].double() - images[:40].double().mean(0)
    bands = cosine_bands(x.shape[1:])
    squares = bands.coordinates(x).square().mean(1).flatten(1) @ bands.members
    nodes, weights = law.quadrature(8)
    pairs = torch.zeros(8, dtype=torch.float64)
    for lam, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
        for shift in range(40):
            mixes = bands.coordinates(lam * x + (1 - lam) * x.roll(shift, 0)).square().mean(1)
            pairs += weight * (mixes.flatten(1) @ bands.members).mean(0) / 40
    kept = 1 - 2 * law.shrinkage + 2 * law.gamma_squared
    torch.testing.assert_close(pairs, kept * squares.mean(0), rtol=1e-10, atol=0)


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_log_power_of_mixes_against_sampled_mixes(law):
    """Sums of two log-normal powers, 200,000 drawn: the log-normal match is near."""
    covariance = torch.tensor([[0.45, 0.2], [0.2, 0.3]], dtype=torch.float64)
    power = BandPower(torch.tensor([1.0, -2.0], dtype=torch.float64), covariance)
    g = torch.Generator().manual_seed(3)
    root = torch.linalg.cholesky(covariance)
    drawn = [
        (power.log_mean + torch.randn(200_000, 2, generator=g).double() @ root.T).exp()
        for _ in range(2)
    ]
    theta = law.sample_theta(200_000, generator=g).unsqueeze(1)
    logs = (theta**2 * drawn[0] + (1 - theta) ** 2 * drawn[1]).log()
    mean, deviation = power.of_mixes(law)
    torch.testing.assert_close(mean, logs.mean(0), rtol=0, atol=0.02)
    torch.testing.assert_close(deviation, logs.std(0), rtol=0.05, atol=0)


def test_without_mixing_the_powers_are_those_of_the_data(measured):
    power = measured.second_moments
    mean, deviation = power.of_mixes(Constant(1.0))
    torch.testing.assert_close(mean, power.log_mean)
    torch.testing.assert_close(deviation, power.log_covariance.diagonal().sqrt())


def test_likely_weight_is_bayes_rule(measured):
    """A grid of θ with SciPy's normal densities."""
    power, law = measured.second_moments, Beta(1.0)
    logs = power.log_mean + torch.linspace(-2, 1, 7, dtype=torch.float64).unsqueeze(1)
    theta = (np.arange(400) + 0.5) / 800 + 0.5
    kept, squared = theta**2 + (1 - theta) ** 2, theta**4 + (1 - theta) ** 4
    covariance = power.log_covariance.numpy()
    density = np.zeros((7, 400))
    for k in range(400):
        mixed = np.log(1 + squared[k] / kept[k] ** 2 * (np.exp(covariance) - 1))
        mean = power.log_mean.numpy() + np.log(kept[k]) + np.diag(covariance - mixed) / 2
        density[:, k] = stats.multivariate_normal(mean, mixed).pdf(logs.numpy())
    expected = density @ theta / density.sum(1)
    likely = power.likely_weight(logs, law)
    np.testing.assert_allclose(likely, expected, rtol=1e-3)
    assert likely[-1] > likely[0]


def test_statistics_keep_their_second_moments(measured, tmp_path):
    file = tmp_path / "stats.safetensors"
    measured.save(file)
    loaded = TrainingStatistics.load(file)
    for name in ("log_mean", "log_covariance"):
        assert torch.equal(
            getattr(loaded.second_moments, name), getattr(measured.second_moments, name)
        )
    assert loaded.describe()["second_moments"] == "spectral"


REFUSED = {
    "an unknown basis": ({"second_moments": "fourier"}, ValueError, "second_moments"),
    "no image": ({"second_moments": "spectral"}, ValueError, r'second_moments="components"'),
}


@pytest.mark.parametrize(("options", "error", "said"), REFUSED.values(), ids=REFUSED)
def test_refusals(options, error, said):
    with pytest.raises(error, match=said):
        TrainingStatistics.from_tensors(torch.randn(4, 5), torch.zeros(4), **options)


def test_more_refusals(images, tmp_path):
    with pytest.raises(TypeError, match="an iterator gives one"):
        TrainingStatistics.from_loader(
            iter([(images, torch.zeros(300))]), second_moments="spectral"
        )
    with pytest.raises(ValueError, match="all the same"):
        TrainingStatistics.from_tensors(
            torch.ones(4, 5), torch.zeros(4), second_moments="components"
        )
    eye = torch.eye(2, dtype=torch.float64)
    with pytest.raises(ValueError, match="need a covariance of shape"):
        BandPower(eye[0], eye[:1])
    with pytest.raises(ValueError, match="finite float64"):
        BandPower(eye[0].float(), eye)
    with pytest.raises(TypeError, match="log_mean"):
        BandPower([0.0], eye)


def test_a_file_with_half_of_the_moments_is_refused(measured, tmp_path):
    file = tmp_path / "stats.safetensors"
    measured.save(file)
    tensors, about = mixreg._files.read_tensors(file, kind="", remedy="")
    del tensors["power.log_covariance"]
    mixreg._files.write_tensors(file, tensors, about)
    with pytest.raises(CheckpointError, match="log_covariance"):
        TrainingStatistics.load(file)
