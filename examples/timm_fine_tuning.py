"""A network of timm, fine-tuned and quantized on images of the data folder.

Download its pretrained weights once, for images of one channel, and train:

    python -c "import timm, torch
    net = timm.create_model('test_resnet.r160_in1k', pretrained=True, in_chans=1)
    torch.save(net.state_dict(), 'data/test_resnet.pt')"
    sweeps run examples/timm_fine_tuning.py
"""

from dataclasses import replace

from torch.optim import AdamW

from quantlab import OptimizerSpec, Recipe
from quantlab.datasets.digits import Digits
from quantlab.initial_weights import WeightsFile
from quantlab.models.external.timm_model import TimmModel
from quantlab.papers.proxconnect import PC
from quantlab.quantization_sets import TERNARY
from quantlab.scales import FanIn
from quantlab.schedules import Cosine
from sweeps.spec import Block, SweepSpec

NET = TimmModel("test_resnet")
PRETRAINED = WeightsFile("test_resnet.pt", skip=("fc.*",))  # its last layer has 1,000 classes
ADAMW = OptimizerSpec(algorithm=AdamW, learning_rate=Cosine(0.003, epochs=8))
QUANTIZATION = replace(PC.quantization(TERNARY, 0.14, exclude=("conv1.0", "fc")), scale=FanIn())
BASE = {"model": NET, "dataset": Digits(), "initial_weights": PRETRAINED, "optimizer": ADAMW}

SWEEP = SweepSpec(
    name="timm_fine_tuning",
    base=Recipe(**BASE, epochs=8, batch_size=50),
    blocks=(Block("FP"), Block("PC", overrides={"quantization": QUANTIZATION})),
    seeds=(0, 1, 2),
)
