"""Regression with a network of one's own, on arrays in a file of the data folder.

Make the file once, and train:

    python -c "import numpy, sklearn.datasets as data
    x, y = data.load_diabetes(return_X_y=True)
    numpy.savez('data/diabetes.npz', x=x, y=y / 100)"
    sweeps run examples/regression_on_arrays.py
"""

from dataclasses import dataclass

from torch import nn, optim

from quantlab import OptimizerSpec, Recipe
from quantlab.datasets.arrays import Arrays, Normalization
from quantlab.models import ModelSpec
from quantlab.papers.proxconnect import PC
from quantlab.quantization_sets import TERNARY
from quantlab.schedules import Constant
from quantlab.tasks.regression import Regression
from sweeps.spec import Axis, Block, SweepSpec


@dataclass(frozen=True)
class Net(ModelSpec):
    """Two layers, of which the last stays in full precision."""

    def build_for(self, dimensions):
        inputs, outputs = dimensions.input[0], dimensions.num_classes
        return nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, outputs))


X, Y = "diabetes.npz:x", "diabetes.npz:y"
SPLIT = {"validation_images": 80, "test_images": 80}
DATA = Arrays(inputs=X, targets=Y, normalization=Normalization(), **SPLIT)
ADAM = OptimizerSpec(algorithm=optim.Adam, learning_rate=Constant(0.003))
QUANTIZATION = PC.quantization(TERNARY, rho0=0.03, exclude=("2",))
RHO0 = Axis("rho0", "quantization.sharpness.rho0", (0.01, 0.03, 0.1))
SWEEP = SweepSpec(
    name="diabetes",
    base=Recipe(
        model=Net(), dataset=DATA, task=Regression(), optimizer=ADAM, epochs=30, batch_size=32
    ),
    blocks=(Block("FP"), Block("PC", overrides={"quantization": QUANTIZATION}, axes=(RHO0,))),
    seeds=(0, 1, 2),
)
