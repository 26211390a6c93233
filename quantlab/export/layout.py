"""Which tensors of a network are stored, and which of them as codes."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from quantlab.errors import ConfigurationError
from quantlab.export.coded_tensor import CodedTensor, coded
from quantlab.recipe import Quantization


@dataclass(frozen=True)
class QuantizedEntry:
    """How the weights of a tensor were quantized."""

    levels: tuple[float, ...]
    """The quantization set."""
    num_rows: int = 1
    """Number of rows of adjacent weights that have levels of their own."""
    is_scaled: bool = False
    """Whether the levels of a row are placed by a scale."""


@dataclass(frozen=True)
class Layout:
    """The tensors of a network that a file has. It is taken before weights are frozen."""

    names: tuple[str, ...]
    """Entries of the state dict. A tensor that layers share is listed once, under its first
    name."""
    quantized: Mapping[str, QuantizedEntry]
    """Those of them that are quantized."""

    @classmethod
    def of(cls, model: nn.Module, quantization: Quantization | None) -> "Layout":
        """Return the layout of a network as it was built.

        Raises:
            ConfigurationError: see `quantlab.models.weights.group_of_weights`.
        """
        first = first_names(model)
        quantized = {}
        if quantization is not None:
            for name, group in quantization.group_of_weights(model).items():
                of = group or quantization
                shape, scale = model.get_parameter(name).shape, of.scale
                quantized[first[name]] = QuantizedEntry(
                    of.quantizer.levels,
                    num_rows=1 if scale is None else shape.numel() // scale.row_length(shape, name),
                    is_scaled=scale is not None,
                )
        return cls(tuple(dict.fromkeys(first.values())), quantized)

    def split(
        self, weights: Mapping[str, Tensor]
    ) -> tuple[dict[str, CodedTensor], dict[str, Tensor]]:
        """Return the tensors that are stored as codes, and those that are stored as they are.

        Args:
            weights: state dict of the finished network.

        Raises:
            ConfigurationError: if an entry is not a tensor.
        """
        as_codes, plain = {}, {}
        for name in self.names:
            value, entry = weights[name], self.quantized.get(name)
            if not isinstance(value, Tensor):
                raise ConfigurationError(
                    f"{name}: is a {type(value).__name__}, which cannot be exported; must be a "
                    "tensor"
                )
            found = None
            if entry is not None:
                found = coded(
                    value,
                    entry.levels,
                    num_rows=entry.num_rows,
                    is_scaled=entry.is_scaled,
                )
            if found is None:
                plain[name] = value
            else:
                as_codes[name] = found
        return as_codes, plain


def first_names(model: nn.Module) -> dict[str, str]:
    """Return the first name of each entry's tensor in the state dict of a network.

    Names of a tensor that layers share have the same first name.
    """
    first: dict[int, str] = {}
    return {
        name: first.setdefault(id(value), name)
        for name, value in model.state_dict(keep_vars=True).items()
    }
