"""Two processes that train a network with DistributedDataParallel."""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from quantlab import Quantization
from quantlab.quantization_sets import TERNARY
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.scales.absolute_mean import AbsoluteMean
from quantlab.update_rules import PROX_CONNECT
from tests.quantlab.optim.standalone.loops import Net, batches, prox, train

WITHOUT_HEAD = Quantization(
    rule=PROX_CONNECT,
    quantizer=PiecewiseLinear(TERNARY),
    exclude=("head",),
    scale=AbsoluteMean(per="channel"),
)


def share_of(rank: int, store: str) -> dict[str, Any]:
    """Train with half of each batch, and return the weights that this process then has."""
    dist.init_process_group("gloo", store=dist.FileStore(store, 2), rank=rank, world_size=2)
    try:
        model = Net(seed=rank).double()
        together = DistributedDataParallel(model)
        ours = prox(together, WITHOUT_HEAD)
        train(together, ours, [batch.double()[rank::2] for batch in batches(5)])
        return model.state_dict()
    finally:
        dist.destroy_process_group()


def other_share(store: str, answer: Path) -> None:
    torch.set_num_threads(1)
    torch.save(share_of(1, store), answer)
