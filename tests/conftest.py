"""Settings shared by all tests: reproducible cases and threads that do not fight."""

import pytest
import torch
from hypothesis import settings

settings.register_profile("mixreg", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("mixreg")

torch.set_num_threads(1)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(20260606)
