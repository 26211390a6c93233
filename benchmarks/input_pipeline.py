"""The in-memory input pipeline beside a torchvision DataLoader with two workers.

    python benchmarks/input_pipeline.py

Both pad CIFAR-10's 32x32 images by 4, crop, flip and normalize them into batches of 128. Ours uses
one thread and whole tensors; the DataLoader uses `torchvision.datasets.CIFAR10` and transforms,
image by image, in two processes.
"""

import itertools
from collections.abc import Callable, Iterator

import torch
import torchvision.datasets
from measuring import RandomImages, alternated, prepare, write
from torch.utils.data import DataLoader
from torchvision import transforms

BATCH = 128
BATCHES_A_TURN = 40


class InMemoryCIFAR10(torchvision.datasets.CIFAR10):
    """torchvision's dataset over given images; its own images are in memory, too."""

    def __init__(self, images: RandomImages, transform: Callable[..., object]) -> None:
        train = images.load(None).train  # type: ignore[arg-type]
        self.data = train.pixels.permute(0, 2, 3, 1).numpy()  # type: ignore[attr-defined]
        self.targets = train.labels.tolist()
        self.transform = transform
        self.target_transform = None


def endless(make: Callable[[], Iterator[object]]) -> Callable[[], None]:
    """Return a function that takes `BATCHES_A_TURN` batches, over repeated passes."""
    batches = itertools.chain.from_iterable(make() for _ in itertools.count())

    def run() -> None:
        for _ in range(BATCHES_A_TURN):
            next(batches)

    return run


def main() -> None:
    prepare()
    spec = RandomImages(count=128 * 400)
    train = spec.load(None).train  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)

    def ours() -> Iterator[object]:
        order = torch.randperm(len(train), generator=generator)
        return spec.batches(train, batch_size=BATCH, order=order, generator=generator)

    transform = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(spec.mean, spec.std),
        ]
    )
    loader = DataLoader(
        InMemoryCIFAR10(spec, transform),
        batch_size=BATCH,
        shuffle=True,
        num_workers=2,
        persistent_workers=True,
    )
    seconds = alternated(
        lambda: {
            "in memory": endless(ours),
            "DataLoader, 2 workers": endless(lambda: iter(loader)),
        },
        repeats=15,
        calls=1,
    )
    rates = {name: BATCHES_A_TURN * BATCH / value for name, value in seconds.items()}
    ratio = rates["in memory"] / rates["DataLoader, 2 workers"]
    for name, rate in rates.items():
        print(f"{name:<24}{rate:>10,.0f} images/s")
    print(f"ratio {ratio:.1f}")
    write("input_pipeline", {"images_per_second": rates, "ratio": ratio})


if __name__ == "__main__":
    main()
