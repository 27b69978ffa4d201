import pytest
import torch
import torchvision
from torch import nn

from mixreg.models.networks import ZeroPaddedShortcut, resnet20, resnet34, resnet50


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_numbers_of_parameters():
    assert parameters(resnet20((3, 32, 32), 10)) == 269_722
    assert parameters(resnet50((3, 224, 224), 1000)) == 25_557_032
    # torchvision's, with a stem of 3·3·3·64 instead of 7·7·3·64 weights
    theirs = torchvision.models.resnet34(num_classes=10)
    assert parameters(resnet34((3, 32, 32), 10)) == parameters(theirs) - 64 * 3 * (49 - 9)


def randomised(model: nn.Module) -> nn.Module:
    """Weights and running statistics that nothing in the network leaves unused."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model.eval().double()


@pytest.mark.parametrize(("make", "side"), [(resnet50, 32), (resnet34, 16)])
def test_they_are_torchvisions_resnet34_with_a_small_stem(make, side):
    theirs = getattr(torchvision.models, make.__name__)(num_classes=9)
    if make is resnet34:
        theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        theirs.maxpool = nn.Identity()
    theirs = randomised(theirs)
    ours = make((3, side, side), 9).double().eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, side, side, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-9, atol=1e-9)


def test_resnet20_has_19_convolutions_and_one_linear_layer():
    model = resnet20((3, 32, 32), 10)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 19
    assert all(m.bias is None and m.kernel_size == (3, 3) for m in convolutions)
    assert sum(isinstance(m, nn.Linear) for m in model.modules()) == 1
    sizes = []
    for layer in (model.layer1, model.layer2, model.layer3):
        layer.register_forward_hook(lambda _m, _x, out: sizes.append(tuple(out.shape)))
    model(torch.randn(2, 3, 32, 32))
    assert sizes == [(2, 16, 32, 32), (2, 32, 16, 16), (2, 64, 8, 8)]


def test_option_a_subsamples_and_pads_with_zeros():
    x = torch.randn(2, 3, 5, 4)
    out = ZeroPaddedShortcut(2, 4)(x)
    assert out.shape == (2, 7, 3, 2)
    assert out[:, :3].equal(x[:, :, ::2, ::2])
    assert not out[:, 3:].any()


def test_a_block_without_residual_is_its_shortcut():
    block = resnet20((3, 8, 8), 10).layer2[0].eval()
    nn.init.zeros_(block.bn2.weight)
    x = torch.randn(2, 16, 8, 8)
    assert block(x).equal(ZeroPaddedShortcut(2, 16)(x).relu())


@pytest.mark.parametrize("make", [resnet20, resnet50])
def test_convolutions_start_from_he_initialisation_and_no_branch_from_zero(make):
    torch.manual_seed(0)
    model = make((3, 64, 64), 10)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            ratio = module.weight.var() * fan_out / 2
            assert abs(ratio - 1) < 5 * (2 / module.weight.numel()) ** 0.5
        if isinstance(module, nn.BatchNorm2d):
            assert bool((module.weight == 1).all())


@pytest.mark.parametrize(("make", "side"), [(resnet20, 8), (resnet34, 28), (resnet50, 32)])
def test_smaller_and_grey_images(make, side):
    model = make((1, side, side), 3)
    assert model(torch.randn(2, 1, side, side)).shape == (2, 3)
