"""Train a small convolutional network on the handwritten digits of scikit-learn.

    python examples/image_training.py --epochs 30

It prints the accuracy of the network on 297 of the 1,797 images after every epoch, and that of the
running average of its weights at the end, and writes the average to images.pt.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from quantlab import Point, ProxOptimizer
from quantlab.papers.scaled_methods import LSBQ_PROX_CONNECT as METHOD
from quantlab.schedules import Constant


def network(width: int) -> nn.Sequential:
    """Return a network for images (batch, 1, 8, 8), whose last layer is `head`."""
    layers = nn.Sequential()
    for stage, (inside, outside) in enumerate([(1, width), (width, 2 * width)]):
        layers.add_module(f"conv{stage}", nn.Conv2d(inside, outside, 3, padding=1, bias=False))
        layers.add_module(f"norm{stage}", nn.BatchNorm2d(outside))
        layers.add_module(f"relu{stage}", nn.ReLU())
        layers.add_module(f"pool{stage}", nn.MaxPool2d(2))
    layers.add_module("flat", nn.Flatten())
    layers.add_module("head", nn.Linear(8 * width, 10))
    return layers


def shifted(images: Tensor) -> Tensor:
    """Shift each image by up to one pixel."""
    padded = F.pad(images, (1, 1, 1, 1)).unfold(2, 8, 1).unfold(3, 8, 1)
    rows, columns = torch.randint(3, (2, len(images)))
    return padded[torch.arange(len(images)), :, rows, columns]


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the fraction of images whose label is predicted."""
    return (model(images).argmax(dim=1) == labels).float().mean().item()


def main() -> None:
    """Train and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("images.pt"))
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)

    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32, device=device)[:, None] / 8 - 1
    labels = torch.tensor(digits.target, device=device)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).to(device)
    train, validation = order[:1500], order[1500:]
    steps = len(train) // args.batch

    model = network(args.width).to(device)
    groups = [
        {"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 1e-4},
        {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    options = {"lr": 0.1, "momentum": 0.9, "nesterov": True}
    binary = METHOD.quantization(2, learning_rate=Constant(0.1), epochs=1, rho0=1 / args.epochs)
    optimizer = ProxOptimizer(groups, SGD, binary, model=model, steps_per_epoch=steps, **options)
    scheduler = OneCycleLR(optimizer, 0.1, epochs=args.epochs, steps_per_epoch=steps)
    scaler = torch.amp.GradScaler(device, enabled=device == "cuda")
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.95), use_buffers=True)

    for epoch in range(args.epochs):
        model.train()
        shuffled = train[torch.randperm(len(train), device=device)]
        for batch in shuffled[: steps * args.batch].split(args.batch):
            with torch.autocast(device, enabled=device == "cuda"):
                logits = model(shifted(images[batch]))
                loss = F.cross_entropy(logits, labels[batch], label_smoothing=0.1)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            scheduler.step()
            with optimizer.weights_at(Point.LATENT):
                average.update_parameters(model)
        model.eval()
        with torch.no_grad(), optimizer.weights_at(Point.HARD):
            correct = accuracy(model, images[validation], labels[validation])
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}, accuracy {correct:.3f}")
    average.eval()
    optimizer.project(average.module)
    correct = accuracy(average.module, images[validation], labels[validation])
    print(f"average: accuracy {correct:.3f}")
    torch.save(average.module.state_dict(), args.out)


if __name__ == "__main__":
    main()
