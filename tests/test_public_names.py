"""What users' files may import: these names stay where they are, whatever moves behind them."""

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PUBLIC = {
    "quantlab": "Averaging ConfigurationError Distillation EpochRecord Execution InitialWeights "
    "MemoryExhaustedError MovingAverage NonFiniteLossError OptimizerSpec Outcome ParameterGroup "
    "Point ProxOptimizer Quantization Quantizer Recipe Schedule Stage TrainingRun UpdateRule "
    "WeightGroup canonical_json configuration_id fingerprint flatten load_trial override",
    "quantlab.recipe": "Averaging MovingAverage OptimizerSpec ParameterGroup Quantization Recipe "
    "WeightGroup override",
    "quantlab.update_rules": "POST_TRAINING PROX_CONNECT PROX_QUANT Point REVERSE_PROX_CONNECT "
    "UpdateRule",
    "quantlab.schedules": "Constant Cosine InversePi Linear OneCycle Polynomial PowerDecay Product "
    "ProxQuantEpochs Schedule Sequential SigmoidRamp Staircase StepDecay",
    "quantlab.quantization_sets": "BINARY QUATERNARY TERNARY nearest_level quantization_set "
    "set_name",
    "quantlab.initial_weights": "InitialWeights TorchvisionWeights TrialWeights WeightsFile",
    "quantlab.execution": "Execution",
    "quantlab.export": "load read save save_module",
    "quantlab.export.torchao_tensors": "to_torchao",
    "quantlab.errors": "ConfigurationError LostProcessError MemoryExhaustedError "
    "NonFiniteLossError",
    "quantlab.packs": "PackEvent PackedRun",
    "quantlab.training": "TrainingRun",
    "quantlab.random_numbers": "RandomNumbers",
    "quantlab.papers.proxconnect": "BC METHODS Method PC PQ RESNET18 RESNET18_FULL_PRECISION "
    "RESNET20 RESNET56 RPC SEEDS SETS cifar10 cifar10_end_to_end cifar10_fine_tuning "
    "cifar10_full_precision imagenet imagenet_end_to_end imagenet_fine_tuning",
    "quantlab.papers.mirror_descent": "BC GD_TANH MD_SOFTMAX MD_SOFTMAX_S MD_TANH MD_TANH_S PMF "
    "PMF_AUTHORS PQ dataset network optimizer recipe",
    "quantlab.papers.mirror_descent_settings": "Setting published_setting",
    "quantlab.papers.bop": "CIFAR10_BATCH_SIZE CIFAR10_EPOCHS CIFAR10_OPTIMIZER "
    "CIFAR10_QUANTIZATION THRESHOLD optimizer quantization",
    "quantlab.optim.bop": "Bop",
    "quantlab.proxconnect_paper": "BC METHODS Method PC PQ RESNET18 RESNET18_FULL_PRECISION "
    "RESNET20 RESNET56 RPC SEEDS SETS cifar10 cifar10_end_to_end cifar10_fine_tuning "
    "cifar10_full_precision imagenet imagenet_end_to_end imagenet_fine_tuning",
    "quantlab.backward_maps": (
        "BackwardMap BiReal ClippedIdentity Factor InsideLevels Jacobian LevelMagnitude ReSTE "
        "SignSwishDerivative SoftmaxShortcut StraightThrough"
    ),
    "quantlab.mirror_maps": "MirrorMap",
    "quantlab.mirror_maps.shifted_tanh": "ShiftedTanh",
    "quantlab.mirror_maps.softmax": "Softmax",
    "quantlab.quantizers": "Averaged BinaryRelax Half Knots Nearest PiecewiseLinear Quantizer "
    "RandomChoice SignSwish StochasticRounding Tanh",
    "quantlab.quantizers.base": "Quantizer Sharpness at_least_float32",
    "quantlab.quantizers.binary_relax": "BinaryRelax",
    "quantlab.quantizers.constants": "constant",
    "quantlab.quantizers.growth": "Geometric Growth Power Saturating",
    "quantlab.quantizers.knots": "Half Knots",
    "quantlab.quantizers.mixture": "Averaged RandomChoice",
    "quantlab.quantizers.nearest": "Nearest",
    "quantlab.quantizers.piecewise_linear": "PiecewiseLinear piecewise_linear",
    "quantlab.quantizers.sign_swish": "SignSwish",
    "quantlab.quantizers.stochastic_rounding": "StochasticRounding",
    "quantlab.quantizers.tanh": "Tanh",
    "quantlab.scales": "SMALLEST AbsoluteMean FanIn Largest LearnedStep LeastSquares Placement "
    "Proportional Scale TernaryWeight TrainedTernary",
    "quantlab.papers.taxonomy": "TABLE_1",
    "quantlab.taxonomy": "LevelsFrom Properties Trend properties_of",
    "quantlab.papers.scaled_methods": "BITNET BWN LSBQ LSBQ_PROX_CONNECT LSQ PARETO_Q PARQ "
    "PQ_TERNARY SCALED_METHODS ScaledMethod TTQ TWN",
    "quantlab.models": "ModelSpec",
    "quantlab.models.base": "ModelSpec global_average",
    "quantlab.models.convnet": "ConvNet SignalConvNet",
    "quantlab.models.external.any_module": "AnyModule",
    "quantlab.models.learned_scales": "LearnedScales",
    "quantlab.models.mlp": "MLP",
    "quantlab.models.resnet": "ResNet",
    "quantlab.models.torchvision_model": "TorchvisionModel",
    "quantlab.datasets": "DatasetSpec ImageDatasetSpec ImageSet Images InMemoryDataset Splits",
    "quantlab.datasets.arrays": "Arrays Normalization",
    "quantlab.datasets.augmentation": "CropFlip",
    "quantlab.datasets.base": "DatasetSpec Dimensions ImageSet Splits",
    "quantlab.datasets.cifar": "CIFAR10 CIFAR100",
    "quantlab.datasets.digits": "Digits",
    "quantlab.datasets.image_folder": "ImageFolder",
    "quantlab.datasets.imagenet": "ImageNet",
    "quantlab.datasets.in_memory": "Images InMemoryDataset",
    "quantlab.datasets.signals.mnist1d": "MNIST1D",
    "quantlab.datasets.torch_dataset": "TorchDataset",
    "quantlab.datasets.text.byte_text": "ByteText",
    "quantlab.datasets.text.standard_library": "StandardLibrary",
    "quantlab.datasets.text.windows": "ByteDataset Windows",
    "quantlab.models.transformers.gpt": "GPT",
    "quantlab.models.transformers.vit": "ViT",
    "quantlab.tasks.language_modelling": "LanguageModelling",
    "sweeps.grids.bytes_gpt": "FULL_PRECISION PYTHON SWEEP Ternary adamw",
    "sweeps.spec": "Axis Block Cell Knob PublishedCost SweepSpec",
    "sweeps.study": "BITS Constraint FILE_BYTES Neighbourhood Objective StudySpec "
    "VALIDATION_ACCURACY WINNER WholeSeeds better_half seed_halving tree_of_parzen_estimators "
    "validation_objective worst",
    "sweeps.quantizer_space": "suggest_groups suggest_growth suggest_levels suggest_quantizer "
    "suggest_rule suggest_scale suggest_scales",
    "sweeps.loading": "load_either load_study load_sweep named_studies named_sweeps",
    "sweeps.storage": "Storage TrialFolder TrialState",
    "sweeps.cli": "main",
    "sweeps.grids.digits": "BASE SETS SWEEP annealed",
    "sweeps.grids.cifar10_jpeg_fine_tuning": "SWEEP",
    "sweeps.grids.cifar10_jpeg_smoke": "BASE SETS SWEEP",
    "sweeps.grids.proxconnect": "SWEEP",
    "sweeps.grids.proxconnect_all_images": "CIFAR10 SWEEP",
    "sweeps.grids.proxconnect_all_images_resnet20": "SWEEP",
    "sweeps.grids.proxconnect_cifar10": "SWEEP blocks",
    "sweeps.grids.proxconnect_imagenet": "SWEEP blocks",
    "sweeps.grids.proxconnect_resnet20": "SWEEP",
    "sweeps.grids.proxconnect_resnet20_end_to_end": "SWEEP",
    "sweeps.grids.proxconnect_resnet20_end_to_end_ternary": "SWEEP",
    "sweeps.grids.proxconnect_smoke": "SWEEP",
    "sweeps.studies.cifar10_resnet20_quantizers": "BASE STUDY space",
    "sweeps.studies.digits_bits": "STUDY space",
    "sweeps.studies.digits_quantizers": "CLOCK LINEAR PC STRAIGHT STUDY space",
    "sweeps.studies.digits_untuned": "LINEAR STUDY UNSEEN patient space",
    "analysis.report": "Report write_report",
    "analysis.schema": "Measurements SchemaError",
    "analysis.reading": "read_trials",
    "analysis.published": "oddities published published_configurations side_by_side",
}
"""Module -> names in it."""


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_there(module: str) -> None:
    there = importlib.import_module(module)
    assert not [name for name in PUBLIC[module].split() if not hasattr(there, name)]


def _blocks_of_python() -> list[tuple[str, str]]:
    found = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        found += [(page.name, code) for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
    return found


@pytest.mark.parametrize(("page", "code"), _blocks_of_python())
def test_the_documents_import_public_names(page: str, code: str) -> None:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in (
            "quantlab",
            "sweeps",
            "analysis",
        ):
            names = PUBLIC.get(str(node.module), "").split()
            assert not [alias.name for alias in node.names if alias.name not in names], node.module
