"""NetworkFile: the content of an exported file, and its bytes.

The file is a safetensors file. docs/export.md specifies what is in it.
"""

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from quantlab.errors import ConfigurationError, brief, in_full
from quantlab.export.coded_tensor import CodedTensor
from quantlab.export.packing import packed_bytes
from quantlab.tasks.dimensions import DTYPES, Dimensions

FORMAT = "quantlab network"
"""Entry ``format`` of the metadata, by which these files are recognized."""
VERSION = 1
"""Version of the format. It is raised when files can no longer be read as described before."""

_NO_SUM = "0" * 64
_SUM = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_MOST_LAYOUT_BYTES = 2**26


@dataclass(frozen=True, kw_only=True)
class NetworkFile:
    """A network as codes, levels and other numbers, with the recipe that has made it."""

    recipe: str
    """Canonical JSON of the recipe; see `quantlab.canonical`."""
    num_classes: int
    """Number of classes: the size of the network's output."""
    num_channels: int
    """Number of channels of the network's input: its first size without the batch axis."""
    coded: Mapping[str, CodedTensor]
    """Names with the tensors that are stored as codes."""
    plain: Mapping[str, Tensor]
    """Names with the tensors that are stored as they are: biases, normalization, and all weights in
    full precision."""
    dimensions: Dimensions | None = None
    """Dimensions of the dataset; None if the network is built from the two numbers above."""

    @property
    def full_bytes(self) -> int:
        """The number of bytes of all tensors as they are trained, in float32."""
        coded = sum(4 * of.num_weights for of in self.coded.values())
        return coded + sum(value.nbytes for value in self.plain.values())

    @property
    def code_bits(self) -> float:
        """The bits of a coded weight with its share of levels and scales; 32 if none is coded."""
        if not self.coded:
            return 32.0
        stored = sum(of.num_bytes for of in self.coded.values())
        return 8 * stored / sum(of.num_weights for of in self.coded.values())

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors of the network. A tensor that layers share has one name only."""
        return {name: of.decoded() for name, of in self.coded.items()} | dict(self.plain)

    def to_bytes(self) -> bytes:
        """Return the content of the file.

        Raises:
            ConfigurationError: if a tensor is of a type that the format does not have.
        """
        metadata = {
            "format": FORMAT,
            "version": str(VERSION),
            "num_classes": str(self.num_classes),
            "num_channels": str(self.num_channels),
            "recipe": self.recipe,
            "sha256": _NO_SUM,
        }
        if self.dimensions is not None:
            metadata["dimensions"] = self.dimensions.to_json()
        data = _with_metadata(save(self._tensors()), metadata)
        digest = hashlib.sha256(data).hexdigest().encode()
        start = _place_of_sum(data)
        return data[:start] + digest + data[start + len(digest) :]

    def _tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the file; all tensors of the network of a kind are one of them."""
        levels, scales = _Numbers(), _Numbers()
        layout: dict[str, list[Any]] = {"coded": [], "plain": []}
        for name, of in self.coded.items():
            at = None if of.scales is None else scales.place_of(of.scales)
            entry = [name, of.shape, of.num_rows, of.num_levels, levels.place_of(of.levels), at]
            layout["coded"].append(entry)
        by_dtype: dict[str, list[Tensor]] = {}
        for name, value in self.plain.items():
            dtype = str(value.dtype).removeprefix("torch.")
            if dtype not in DTYPES:
                raise ConfigurationError(
                    f"{name}: has the type {dtype}, which cannot be exported; must be one of "
                    f"{', '.join(DTYPES)}"
                )
            layout["plain"].append([name, tuple(value.shape), dtype])
            by_dtype.setdefault(dtype, []).append(value.detach().cpu().reshape(-1))
        text = json.dumps(layout, separators=(",", ":")).encode()
        tensors = {
            "layout": torch.frombuffer(bytearray(zlib.compress(text, 9)), dtype=torch.uint8),
            "codes": _joined([of.packed for of in self.coded.values()]),
            "levels": levels.joined(),
            "scales": scales.joined(),
            **{f"plain.{dtype}": _joined(values) for dtype, values in by_dtype.items()},
        }
        return {name: value for name, value in tensors.items() if value is not None}

    @classmethod
    def from_bytes(cls, data: bytes, source: str) -> "NetworkFile":
        """Read the content of a file. Nothing of it is run.

        Args:
            data: the bytes of the file.
            source: name of the file in messages.

        Raises:
            ConfigurationError: if the bytes differ from what was written, or are of another
                program or of a later version.
        """
        metadata = _metadata(data, source)
        try:
            layout, tensors = _content(data)
            coded = _read_coded(layout["coded"], tensors)
            plain = _read_plain(layout["plain"], tensors)
            for of in coded.values():
                of.decoded()
            return cls(
                recipe=metadata["recipe"],
                num_classes=int(metadata["num_classes"]),
                num_channels=int(metadata["num_channels"]),
                coded=coded,
                plain=plain,
                dimensions=Dimensions.from_json(metadata["dimensions"])
                if "dimensions" in metadata
                else None,
            )
        except MemoryError:
            raise
        except Exception as error:  # somebody has made a file with a right checksum
            raise ConfigurationError(
                f"{source}: is not an exported network as this release writes it "
                f"({in_full(error)}); export the network again"
            ) from error


class _Numbers:
    """A list of float32 numbers, in which equal parts are stored once."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []
        self._places: dict[bytes, int] = {}
        self._length = 0

    def place_of(self, numbers: Tensor) -> int:
        flat = numbers.reshape(-1).contiguous()
        key = flat.numpy().tobytes()
        if key not in self._places:
            self._places[key] = self._length
            self._parts.append(flat)
            self._length += len(flat)
        return self._places[key]

    def joined(self) -> Tensor | None:
        return _joined(self._parts)


def _joined(parts: list[Tensor]) -> Tensor | None:
    return torch.cat(parts) if parts else None


def _header(data: bytes) -> bytes:
    """Return the JSON at the beginning of a safetensors file; b"" if it is not one."""
    length = int.from_bytes(data[:8], "little")
    return data[8 : 8 + length] if length <= len(data) - 8 else b""


def _with_metadata(data: bytes, metadata: dict[str, str]) -> bytes:
    """Add metadata to a safetensors file. The library would write it in random order."""
    header = _header(data)
    entries = {"__metadata__": metadata, **json.loads(header)}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + len(header) :]


def _place_of_sum(data: bytes) -> int:
    found = _SUM.search(_header(data))
    assert found is not None
    return 8 + found.start(1)


def _metadata(data: bytes, source: str) -> dict[str, str]:
    """Return the metadata of an intact file of this format."""
    header = _header(data)
    found = _SUM.search(header)
    try:
        metadata = json.loads(header)["__metadata__"]
        is_ours = metadata["format"] == FORMAT and found is not None
    except (ValueError, KeyError, TypeError, RecursionError):
        is_ours = False
    if not is_ours:
        raise ConfigurationError(
            f"{source}: must be a network that `sweeps export` or quantlab.export.save has "
            "written; the file is of another program, truncated or damaged"
        )
    assert found is not None
    start, end = 8 + found.start(1), 8 + found.end(1)
    digest = hashlib.sha256(data[:start])
    digest.update(_NO_SUM.encode())
    digest.update(memoryview(data)[end:])
    if digest.hexdigest().encode() != found.group(1):
        raise ConfigurationError(
            f"{source}: is truncated or was changed after it was written; export the network again"
        )
    if metadata.get("version") != str(VERSION):
        raise ConfigurationError(
            f"{source}: has version {brief(metadata.get('version'))} of the format, but this "
            f"release reads version {VERSION}; update quantlab"
        )
    return dict(metadata)


def _content(data: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    tensors = load(data)
    inflating = zlib.decompressobj()
    text = inflating.decompress(tensors["layout"].numpy().tobytes(), _MOST_LAYOUT_BYTES)
    if not inflating.eof:
        raise ValueError("the layout is too long")
    return json.loads(text), tensors


def _read_coded(entries: list[Any], tensors: Mapping[str, Tensor]) -> dict[str, CodedTensor]:
    coded: dict[str, CodedTensor] = {}
    start = 0
    for name, shape, num_rows, num_levels, levels_at, scales_at in entries:
        shape = _shape(shape)
        size = packed_bytes(torch.Size(shape).numel(), num_levels)
        scales = None
        if scales_at is not None:
            scales = _part(tensors["scales"], scales_at, num_rows)
            levels = _part(tensors["levels"], levels_at, num_levels)
        else:
            levels = _part(tensors["levels"], levels_at, num_rows * num_levels)
            levels = levels.view(num_rows, num_levels)
        coded[name] = CodedTensor(
            shape=shape,
            num_rows=num_rows,
            levels=levels,
            scales=scales,
            packed=_part(tensors["codes"], start, size),
        )
        start += size
    return coded


def _read_plain(entries: list[Any], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    plain: dict[str, Tensor] = {}
    starts: dict[str, int] = {}
    for name, shape, dtype in entries:
        shape = _shape(shape)
        size, start = torch.Size(shape).numel(), starts.get(dtype, 0)
        stored = tensors[f"plain.{dtype}"]
        if stored.dtype is not DTYPES[dtype]:
            raise ValueError(f"{name} is not stored as {dtype}")
        plain[name] = _part(stored, start, size).view(shape)
        starts[dtype] = start + size
    return plain


def _shape(shape: Any) -> tuple[int, ...]:
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"the shape {shape}")
    return tuple(shape)


def _part(tensor: Tensor, start: int, size: int) -> Tensor:
    if not 0 <= start <= start + size <= len(tensor):
        raise ValueError("tensors are longer than the file")
    return tensor[start : start + size]
