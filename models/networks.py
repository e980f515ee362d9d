"""The four small networks that `models/train.py` trains, as PyTorch modules.

Every network takes a float32 tensor [batch, 1, 28, 28] scaled to 0..1 and returns float32 logits
[batch, 10].
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def conv_norm(
    channels_in: int, channels_out: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """A bias-free "same" convolution followed by a batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(
            channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(channels_out),
    )


def conv_norm_relu(
    channels_in: int, channels_out: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """`conv_norm` followed by a ReLU."""
    return nn.Sequential(
        conv_norm(channels_in, channels_out, kernel, stride=stride, groups=groups), nn.ReLU()
    )


def lenet_300_100() -> nn.Module:
    """LeNet-300-100: three fully connected layers, 266,610 parameters."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 300),
        nn.ReLU(),
        nn.Linear(300, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def lenet_5() -> nn.Module:
    """LeNet-5 in the form that Caffe made usual: 431,080 parameters, one ReLU only.

    The compression literature (Deep Compression and its followers) reports on this form.
    """
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(800, 500),
        nn.ReLU(),
        nn.Linear(500, 10),
    )


class ResidualBlock(nn.Module):  # type: ignore[misc]  # torch is untyped where it is not installed
    """Two 3x3 convolutions around a shortcut, which is a 1x1 convolution where shapes differ."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        """Build the block; `stride` applies to its first convolution and its shortcut."""
        super().__init__()
        self.first = conv_norm_relu(channels_in, channels_out, 3, stride=stride)
        self.second = conv_norm(channels_out, channels_out, 3)
        same_shape = stride == 1 and channels_in == channels_out
        self.shortcut = (
            nn.Identity() if same_shape else conv_norm(channels_in, channels_out, 1, stride=stride)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [batch, channels_in, h, w] to [batch, channels_out, h/stride, w/stride]."""
        return functional.relu(self.second(self.first(x)) + self.shortcut(x))


def resnet_20() -> nn.Module:
    """ResNet-20: 16, 32 and 64 channels, three blocks a stage.

    The stem has stride 2: a 28x28 digit needs no full-resolution stage, and inference over the
    1,000 test images stays a matter of a second on one CPU core.
    """
    layers: list[nn.Module] = [conv_norm_relu(1, 16, 3, stride=2)]
    channels = 16
    for stage, width in enumerate((16, 32, 64)):
        for block in range(3):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(ResidualBlock(channels, width, stride))
            channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]
    return nn.Sequential(*layers)


class SqueezeExcite(nn.Module):  # type: ignore[misc]  # as ResidualBlock
    """Scales every channel by a gate computed from the channels' means."""

    def __init__(self, channels: int, hidden: int) -> None:
        """Build the gate's two 1x1 convolutions."""
        super().__init__()
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [batch, channels, h, w] to the same shape."""
        means = functional.adaptive_avg_pool2d(x, 1)
        gate = torch.sigmoid(self.excite(functional.relu(self.squeeze(means))))
        return x * gate


class MixNet(nn.Module):  # type: ignore[misc]  # as ResidualBlock
    """One of everything that makes channel surgery hard.

    Depthwise separable convolutions, two branches joined by a concatenation, squeeze-and-excite,
    a grouped convolution inside a residual sum, and a flatten of a 4x4 map into a linear layer.
    """

    def __init__(self) -> None:
        """Build the layers."""
        super().__init__()
        self.stem = conv_norm_relu(1, 32, 3, stride=2)
        self.separable_1 = nn.Sequential(
            conv_norm_relu(32, 32, 3, stride=2, groups=32), conv_norm_relu(32, 64, 1)
        )
        self.branch_1x1 = conv_norm_relu(64, 32, 1)
        self.branch_3x3 = conv_norm_relu(64, 48, 3)
        self.gate = SqueezeExcite(80, 20)
        self.separable_2 = nn.Sequential(
            conv_norm_relu(80, 80, 3, stride=2, groups=80), conv_norm_relu(80, 64, 1)
        )
        self.grouped = conv_norm_relu(64, 64, 3, groups=4)
        self.reduce = conv_norm_relu(64, 32, 1)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(32 * 4 * 4, 128), nn.ReLU(), nn.Linear(128, 10)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images [batch, 1, 28, 28] to logits [batch, 10]."""
        x = self.separable_1(self.stem(x))
        x = self.gate(torch.cat([self.branch_1x1(x), self.branch_3x3(x)], 1))
        x = self.separable_2(x)
        x = self.grouped(x) + x
        return self.head(self.reduce(x))
