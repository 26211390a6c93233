"""Classification of signals that a torch Dataset makes: ``sweeps run examples/signals.py``."""

from dataclasses import dataclass

import torch

from quantlab import OptimizerSpec, Recipe
from quantlab.datasets.torch_dataset import TorchDataset
from quantlab.models.convnet import SignalConvNet
from quantlab.papers.proxconnect import PC
from quantlab.schedules import Constant
from sweeps.spec import Block, SweepSpec


class Waves(torch.utils.data.Dataset):
    """Sine waves in noise, of one, two or three periods, with a new phase in every epoch."""

    def __init__(self, count):
        self.classes = torch.randint(3, (count,))

    def __len__(self):
        return len(self.classes)

    def __getitem__(self, index):
        phases = torch.linspace(0, 6.28, 32) * (self.classes[index] + 1) + 6.28 * torch.rand(1)
        return (phases.sin() + 0.5 * torch.randn(32))[None], self.classes[index]


@dataclass(frozen=True, kw_only=True)
class Signals(TorchDataset):
    """1,000 signals for training and validation, and 300 for testing."""

    def train_dataset(self, data_dir):
        return Waves(1000)

    def test_dataset(self, data_dir):
        return Waves(300)


DATA = Signals(classes=3, validation_images=200)
SGD = OptimizerSpec(learning_rate=Constant(0.05), options={"momentum": 0.9})
SWEEP = SweepSpec(
    name="signals",
    base=Recipe(model=SignalConvNet(8), dataset=DATA, optimizer=SGD, epochs=6, batch_size=50),
    blocks=(Block("FP"), Block("PC", overrides={"quantization": PC.quantization((-1, 0, 1), 0.1)})),
    seeds=(0, 1, 2),
)
