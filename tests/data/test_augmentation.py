import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixreg.data.augmentation import CropAndFlip, Normalisation


def random_images(n: int, channels: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    source = torch.Generator().manual_seed(seed)
    shape = (n, channels, height, width)
    return torch.randint(256, shape, generator=source, dtype=torch.uint8)


def one_at_a_time(images: torch.Tensor, draws: torch.Tensor, padding: int) -> torch.Tensor:
    """Flip, pad and slice each image by itself."""
    height, width = images.shape[2:]
    results = []
    for image, (top, left, mirrored) in zip(images, draws.tolist(), strict=True):
        turned = image.flip(2) if mirrored else image
        padded = torch.nn.functional.pad(turned, (padding,) * 4)
        results.append(padded[:, top : top + height, left : left + width])
    return torch.stack(results)


@given(
    n=st.integers(1, 7),
    channels=st.sampled_from([1, 2, 3]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    padding=st.integers(0, 4),
    seed=st.integers(0, 100),
    last=st.booleans(),
)
def test_batch_equals_one_image_at_a_time(n, channels, height, width, padding, seed, last):
    images = random_images(n, channels, height, width, seed)
    expected_input = images.clone()
    augmentation = CropAndFlip(padding)
    draws = augmentation.draw(n, generator=torch.Generator().manual_seed(seed))
    given_images = images.contiguous(memory_format=torch.channels_last) if last else images
    result = augmentation.apply(given_images, draws)
    assert torch.equal(result, one_at_a_time(images, draws, padding))
    assert torch.equal(given_images, expected_input)
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_draws_are_uniform_over_corners_and_flips():
    draws = CropAndFlip(2).draw(50_000, generator=torch.Generator().manual_seed(0))
    cells = draws[:, 0] * 10 + draws[:, 1] * 2 + draws[:, 2]
    counts = cells.bincount(minlength=50).double()
    assert counts.shape == (50,)
    chi_squared = ((counts - 1000) ** 2 / 1000).sum()
    assert chi_squared < 49 + 4 * (2 * 49) ** 0.5


@pytest.mark.parametrize("last", [True, False])
def test_normalisation_is_the_formula_in_float64(last):
    images = random_images(5, 3, 6, 4)
    if last:
        images = images.contiguous(memory_format=torch.channels_last)
    mean, std = (0.49, 0.48, 0.44), (0.24, 0.25, 0.26)
    result = Normalisation(mean, std)(images)
    m, s = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (mean, std))
    expected = (images.double() / 255 - m) / s
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=1e-6)


def test_normalisation_in_units_of_another_largest_pixel():
    pixels = torch.tensor([[[[0, 16]]]], dtype=torch.uint8)
    assert Normalisation((0.5,), (0.5,), largest=16.0)(pixels).flatten().tolist() == [-1, 1]
