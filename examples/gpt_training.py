"""Train a small GPT on the bytes of a text file.

    python examples/gpt_training.py text.txt --steps 2000

It prints the bits per byte of the last tenth of the text, and writes the network to gpt.pt.
"""

import argparse
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW


class Block(nn.Module):
    """Causal attention and a perceptron, each with a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.join = nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, length, width) to the same shape."""
        parts = self.qkv(self.norm(x)).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.join(mixed.transpose(1, 2).flatten(-2))
        return x + self.mlp(x)


class GPT(nn.Module):
    """Logits of the next byte at each of `context` positions."""

    def __init__(self, layers: int, heads: int, width: int, context: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(256, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 256, bias=False)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (batch, length) bytes to (batch, length, 256) logits."""
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        logits: Tensor = self.head(self.norm(self.blocks(x)))
        return logits


def main() -> None:
    """Train and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("gpt.pt"))
    args = parser.parse_args()
    steps, device = args.steps, "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)

    data = torch.frombuffer(bytearray(args.text.read_bytes()), dtype=torch.uint8).long()
    train, validation = data[: len(data) * 9 // 10], data[len(data) * 9 // 10 :]

    def batch(of: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
        windows = torch.stack([of[start : start + args.context + 1] for start in starts.tolist()])
        return windows[:, :-1].to(device), windows[:, 1:].to(device)

    def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())

    model = GPT(args.layers, args.width // 32, args.width, args.context).to(device)
    groups = [
        {"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    options = {"lr": 2e-3, "betas": (0.9, 0.95)}
    optimizer = AdamW(groups, **options)
    warmup = max(steps // 20, 1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, 0.55 + 0.45 * math.cos(math.pi * step / steps)),
    )

    for step in range(steps + 1):
        if step % max(steps // 10, 1) == 0:
            model.eval()
            with torch.no_grad():
                starts = torch.arange(0, len(validation) - args.context - 1, args.context)
                losses = [loss_of(*batch(validation, part)) for part in starts[:256].split(32)]
            print(f"step {step}: {torch.stack(losses).mean() / math.log(2):.3f} bits per byte")
            model.train()
        if step < steps:
            starts = torch.randint(len(train) - args.context - 1, (args.batch,))
            optimizer.zero_grad(set_to_none=True)
            loss_of(*batch(train, starts)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
    torch.save(model.state_dict(), args.out)


if __name__ == "__main__":
    main()
