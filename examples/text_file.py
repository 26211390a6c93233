"""A byte-level GPT on a text of one's own, data/book.txt: ``sweeps run examples/text_file.py``."""

from dataclasses import replace

from torch.optim import AdamW

from quantlab import OptimizerSpec, Recipe
from quantlab.datasets.text.byte_text import ByteText
from quantlab.models.transformers.gpt import GPT
from quantlab.papers.proxconnect import PC
from quantlab.quantization_sets import TERNARY
from quantlab.scales import FanIn
from quantlab.schedules import Cosine
from quantlab.tasks.language_modelling import LanguageModelling
from sweeps.spec import Block, SweepSpec

NET = GPT(layers=2, heads=2, width=64, context=64, initial_std=0.1)
BOOK = ByteText(path="book.txt", length=64, validation_images=200, test_images=200)
ADAMW = OptimizerSpec(algorithm=AdamW, learning_rate=Cosine(0.01, epochs=8, warmup_epochs=1))
QUANTIZATION = replace(PC.quantization(TERNARY, rho0=0.14, exclude=("head",)), scale=FanIn())
LENGTH = {"epochs": 8, "steps_per_epoch": 100, "batch_size": 32}

SWEEP = SweepSpec(
    name="book",
    base=Recipe(model=NET, dataset=BOOK, task=LanguageModelling(), optimizer=ADAMW, **LENGTH),
    blocks=(Block("FP"), Block("PC", overrides={"quantization": QUANTIZATION})),
    seeds=(0, 1, 2),
)
