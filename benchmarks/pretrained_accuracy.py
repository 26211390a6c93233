"""Test accuracy of public CIFAR ResNet checkpoints on a folder of CIFAR-10 images.

    python benchmarks/pretrained_accuracy.py --data data --folder cifar10-jpeg \
        20=resnet20-12fca82f.th 56=resnet56-4bfd9763.th

It verifies the architecture: a checkpoint has one accuracy on a set of images.
"""

import argparse
import json
import platform
from pathlib import Path

import torch

from quantlab.datasets.image_folder import ImageFolder
from quantlab.models.resnet import ResNet
from quantlab.models.state_dicts import load_weights
from quantlab.training.evaluation import accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--folder", default="cifar10-jpeg")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    parser.add_argument("checkpoints", nargs="+", metavar="DEPTH=FILE")
    options = parser.parse_args()

    dataset = ImageFolder(folder=options.folder, validation_images=1)  # ImageNet normalization
    splits = dataset.load(options.data)
    figures = {}
    for checkpoint in options.checkpoints:
        depth, file = checkpoint.split("=", 1)
        spec = ResNet(depth=int(depth))
        model = spec.build(num_classes=splits.num_classes, num_channels=3)
        load_weights(model, Path(file))
        figures[f"{spec.name} {Path(file).name}"] = accuracy(model, splits.test, dataset)
    for name, value in figures.items():
        print(f"{name}: {100 * value:.2f} %")
    if options.out:
        about = {"machine": platform.machine(), "torch": torch.__version__}
        content = {"dataset": options.folder, "images": len(splits.test), **about}
        options.out.write_text(json.dumps({**content, "test_accuracy": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
