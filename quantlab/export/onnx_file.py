"""Exported networks as ONNX files, in which weights are packed codes, too.

The packages onnx and onnxscript are needed: ``pip install -e ".[export]"``.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from quantlab.errors import ConfigurationError, in_full
from quantlab.export.coded_tensor import CodedTensor
from quantlab.export.network_file import NetworkFile
from quantlab.export.packing import codes_per_byte

INPUT, OUTPUT = "images", "logits"
"""Names of the network's input and output in ONNX files."""


def onnx_bytes(
    file: NetworkFile,
    network: nn.Module,
    image_shape: tuple[int, ...],
    dtype: torch.dtype = torch.float32,
) -> bytes:
    """Return a network as the content of an ONNX file.

    Coded tensors are initializers with their packed codes, levels and scales, followed by the
    operations that unpack them: the weights of the ONNX network are equal bit for bit. A runtime
    computes them once. Its outputs differ by the rounding of its convolutions.

    Args:
        file: content of the exported network.
        network: the network, on the CPU. Its parameters are not used where `file` has codes.
        image_shape: (channels, height, width) of its images, or the shape of other inputs. The
            batch may have any size.
        dtype: type of the inputs.

    Raises:
        ConfigurationError: if a package is missing, or if torch cannot convert the network.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch.onnx needs it
    except ImportError as error:
        raise ConfigurationError(
            f"ONNX files need the package {error.name}; install it with "
            'pip install -e ".[export]" in the folder of quantlab'
        ) from error
    network.eval()
    names = list(file.coded)
    given = [file.coded[name].decoded() for name in names]
    images = torch.zeros(2, *image_shape, dtype=dtype)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # for developers of torch
            program = torch.onnx.export(
                _WithWeights(network, names).eval(),
                (images, given),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")}, [None for _ in names]),
                input_names=[INPUT, *names],
                output_names=[OUTPUT],
                verbose=False,
            )
    except Exception as error:  # of many kinds
        raise ConfigurationError(
            f"{type(network).__name__} cannot be converted to ONNX: {in_full(error)}"
        ) from error
    assert program is not None
    model: Any = program.model_proto
    _forget_traces(model)
    graph = model.graph
    for value in [value for value in graph.input if value.name != INPUT]:
        graph.input.remove(value)
    shared: dict[bytes, str] = {}
    nodes = [node for name in names for node in _decoding(graph, name, file.coded[name], shared)]
    nodes += list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.helper.set_model_props(model, {"recipe": file.recipe})
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


class _WithWeights(nn.Module):
    """A network whose coded weights are inputs, so that they are not merged with other numbers."""

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.names = names

    def forward(self, images: Tensor, weights: Sequence[Tensor]) -> Tensor:
        given = dict(zip(self.names, weights, strict=True))
        logits: Tensor = functional_call(self.network, given, (images,))
        return logits


def _forget_traces(model: Any) -> None:
    """Remove the descriptions of the Python code that each node comes from."""
    graph = model.graph
    del graph.value_info[:]  # shapes between the nodes, which every runtime infers
    for part in (model, graph, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""


def _decoding(graph: Any, name: str, of: CodedTensor, shared: dict[bytes, str]) -> list[Any]:
    """Return the nodes that compute a weight tensor, and add their constants to the graph.

    Args:
        graph: the graph, which is changed.
        name: name of the tensor.
        of: its codes.
        shared: names of constants of all tensors by their content, to which new ones are added.
    """
    from onnx import TensorProto, helper, numpy_helper

    count, base = codes_per_byte(of.num_levels), max(2, of.num_levels)
    nodes: list[Any] = []

    def constant(value: Tensor, called: str = "") -> str:
        made = numpy_helper.from_array(value.numpy(), called)
        key = made.SerializeToString(deterministic=True)
        if key not in shared:
            made.name = called or f"constant.{len(shared)}"
            shared[key] = made.name
            graph.initializer.append(made)
        return shared[key]

    def integers(*values: int, dtype: torch.dtype = torch.int64) -> str:
        return constant(torch.tensor(values, dtype=dtype))

    def node(kind: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        result = out or f"{name}.{len(nodes)}"
        nodes.append(helper.make_node(kind, list(inputs), [result], **attributes))
        return result

    packed = node("Cast", constant(of.packed[:, None], f"{name}.codes"), to=TensorProto.INT32)
    places = integers(*(base**place for place in range(count)), dtype=torch.int32)
    digits = node("Mod", node("Div", packed, places), integers(base, dtype=torch.int32))
    flat = node("Reshape", digits, integers(-1))
    first = node("Slice", flat, integers(0), integers(of.num_weights))
    codes = node("Reshape", first, integers(of.num_rows, -1))
    if of.scales is None:
        rows = node("GatherElements", constant(of.levels), codes, axis=1)
    else:
        rows = node("Mul", node("Gather", constant(of.levels), codes), constant(of.scales[:, None]))
    node("Reshape", rows, integers(*of.shape), out=name)
    return nodes
