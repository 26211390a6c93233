"""Finished networks as small files: packed codes of quantized weights, their levels and the rest.

`save` writes a file, `save_module` that of a network without a recipe, and `load` gives the network
back as a plain `torch.nn.Module`, without running any code of the file. docs/export.md specifies
the format.
"""

from quantlab.export.module_file import save_module
from quantlab.export.network import load, read, save

__all__ = ["load", "read", "save", "save_module"]
