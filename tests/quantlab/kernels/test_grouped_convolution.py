"""The arithmetic of the kernels, computed by Triton's interpreter.

Triton has to know from its import on that it interprets, so that all of it runs in another process.
"""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from quantlab.kernels.grouped_convolution import grouped_convolution, is_fitting

pytest.importorskip("triton")


interpreted = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1", reason="runs in a process of its own"
)


def test_kernels_in_a_process_of_their_own() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--noconftest", __file__]
    command += ["-k", f"not {test_kernels_in_a_process_of_their_own.__name__}"]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-3000:]
    assert "skipped" not in ended.stdout
    assert " passed" in ended.stdout


@interpreted
@pytest.mark.parametrize(
    ("groups", "channels", "out_channels", "size", "stride", "compiled"),
    [
        (2, 16, 16, 8, 1, True),
        (3, 3, 16, 6, 1, False),
        (2, 16, 32, 7, 2, False),
        (1, 32, 64, 6, 2, False),
        (2, 64, 64, 4, 1, False),
    ],
)
def test_it_is_a_grouped_convolution(
    groups: int, channels: int, out_channels: int, size: int, stride: int, compiled: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, groups * channels, size, size, generator=generator)
    images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(groups * out_channels, channels, 3, 3, generator=generator)
    weight.requires_grad_()

    def compute(images: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.relu(grouped_convolution(2 * images, weight, groups, stride))

    own = (torch.compile(compute) if compiled else compute)(images, weight)
    expected = F.relu(F.conv2d(2 * images, weight, stride=stride, padding=1, groups=groups))
    torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-4)
    assert own.is_contiguous(memory_format=torch.channels_last)
    upstream = torch.randn(own.shape, generator=generator)
    found = torch.autograd.grad(own, (images, weight), upstream)
    for one, other in zip(
        found, torch.autograd.grad(expected, (images, weight), upstream), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


@interpreted
def test_weights_may_need_no_gradient() -> None:
    images = torch.randn(1, 16, 3, 3, requires_grad=True)
    weight = torch.randn(16, 16, 3, 3)
    upstream = torch.randn(1, 16, 3, 3)
    (own,) = torch.autograd.grad(grouped_convolution(images, weight, 1, 1), images, upstream)
    (other,) = torch.autograd.grad(F.conv2d(images, weight, padding=1), images, upstream)
    torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)


@interpreted
def test_images_need_no_gradient() -> None:
    weight = torch.randn(16, 3, 3, 3, requires_grad=True)
    images = torch.randn(2, 3, 4, 4)
    grouped_convolution(images, weight, 1, 1).sum().backward()
    expected = torch.ones_like(weight, requires_grad=True)
    F.conv2d(images, expected, padding=1).sum().backward()
    torch.testing.assert_close(weight.grad, expected.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("layer", "fits"),
    [
        (nn.Conv2d(16, 32, 3, 2, padding=1, bias=False), True),
        (nn.Conv2d(3, 16, 3, padding=1, bias=False), False),  # faster by the library
        (nn.Conv2d(16, 16, 3, padding=1, bias=False), False),  # as fast by the library
        (nn.Conv2d(16, 32, 3, 2, padding=1), False),
        (nn.Conv2d(16, 32, 1, 2, bias=False), False),
        (nn.Conv2d(128, 64, 3, 2, padding=1, bias=False), False),
        (nn.Conv2d(16, 24, 3, 2, padding=1, bias=False), False),
        (nn.Conv2d(16, 16, 3, 2, padding=1, groups=2, bias=False), False),
    ],
)
def test_what_fits(layer: nn.Conv2d, fits: bool) -> None:
    assert is_fitting(layer) == fits


def test_shapes_are_known_without_a_computation() -> None:
    """As `torch.compile` asks for them, also for the gradients."""
    with FakeTensorMode():
        images = torch.empty(2, 48, 9, 8, requires_grad=True)
        weight = torch.empty(96, 16, 3, 3, requires_grad=True)
        output = grouped_convolution(images, weight, groups=3, stride=2)
        expected = F.conv2d(images, weight, stride=2, padding=1, groups=3)
        gradients = torch.autograd.grad(output.sum(), [images, weight])
    assert output.shape == expected.shape == (2, 96, 5, 4)
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert [gradient.shape for gradient in gradients] == [images.shape, weight.shape]
