"""Sizes of exported networks, with binary, ternary and quaternary weights.

    python benchmarks/export_sizes.py

The size depends on the network, the recipe and the set. The weights are random numbers that are
projected onto the set; the recipes are those of BinaryConnect for CIFAR-10.
"""

import torch

from quantlab import Recipe
from quantlab.export.network import network_file
from quantlab.models.resnet import ResNet, ResNet18
from quantlab.papers.proxconnect import BC, SETS, cifar10_end_to_end
from quantlab.quantization_sets import nearest_level

NETWORKS = (ResNet(depth=20), ResNet(depth=56), ResNet18())
CLASSES = 10


def sizes(recipe: Recipe) -> tuple[int, int, int, int]:
    """Bytes of the file, of its codes, of its other tensors, and of all in float32."""
    model = recipe.model.build(num_classes=CLASSES, num_channels=3)
    assert recipe.quantization is not None
    for name in recipe.quantization.group_of_weights(model):
        weight = model.get_parameter(name)
        weight.data = nearest_level(weight.data, recipe.quantization.quantizer.levels)
    weights = model.state_dict()
    file = network_file(recipe, weights, num_classes=CLASSES)
    return (
        len(file.to_bytes()),
        sum(tensor.packed.nbytes for tensor in file.coded.values()),
        sum(value.nbytes for value in file.plain.values()),
        sum(value.nbytes for value in weights.values()),
    )


def main() -> None:
    torch.manual_seed(0)
    print("| network | set | file | codes | other tensors | float32 | ÷ float32 |")
    print("|---|---|---|---|---|---|---|")
    for model in NETWORKS:
        for name, levels in SETS.items():
            file, coded, plain, full = sizes(cifar10_end_to_end(BC, levels, model=model))
            numbers = " | ".join(f"{size:,}" for size in (file, coded, plain, full))
            print(f"| {model.name} | {name} | {numbers} | {full / file:.1f} |")


if __name__ == "__main__":
    main()
