"""Finished networks as small files: packed codes of quantized weights, their levels and the rest.

`save` writes a file, and `load` gives the network back as a plain `torch.nn.Module`, without
running any code of the file. docs/export.md specifies the format.
"""

from quantlab.export.network import load, read, save

__all__ = ["load", "read", "save"]
