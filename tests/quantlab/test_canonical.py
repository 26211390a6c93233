"""The canonical form: different values have different forms."""

from dataclasses import dataclass, field, make_dataclass
from enum import Enum, StrEnum
from typing import Any

import numpy as np
import pytest
import torch

from quantlab import ConfigurationError
from quantlab.canonical import canonical
from quantlab.schedules import Linear
from quantlab.update_rules import Point


class Colour(Enum):
    RED = "red"


class Word(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Typed:
    type: str = "X"


@dataclass(frozen=True)
class OtherTyped:
    type: str = "X"


@dataclass(frozen=True)
class Quiet:
    loud: int = 0
    silent: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Holder:
    inner: Any = Quiet()
    array: Any = None


DIFFERENT = {
    "field called type": (Typed("a"), OtherTyped("a"), Typed("b"), {"type": "a"}),
    "mapping in the form of a dataclass": (Linear(1), {"type": "Linear", "rho0": 1}),
    "mapping in the form of an enumeration": (
        Colour.RED,
        canonical(Colour.RED),
        Word.RED,
        "red",
        "RED",
    ),
    "keys": (
        {1: "a"},
        {"1": "a"},
        {1.5: "a"},
        {True: "a"},
        {None: "a"},
        {"None": "a"},
        {(1,): "a"},
    ),
    "mapping in the form of one with such keys": ({1: "a"}, canonical({1: "a"})),
    "fields that are not compared": (
        Holder(Quiet(silent=1)),
        Holder(Quiet(silent=2)),
        Holder(),
        Holder((Quiet(silent=1),)),
        Holder((Quiet(),)),
    ),
    "arrays": (Holder(array=np.arange(3)), Holder(array=np.arange(4)), Holder()),
    "truth and number": (True, 1, "1"),
}


@pytest.mark.parametrize("name", DIFFERENT)
@pytest.mark.parametrize("defaults", [True, False])
def test_different_values_have_different_forms(name: str, defaults: bool) -> None:
    forms = [repr(canonical(value, defaults=defaults)) for value in DIFFERENT[name]]
    assert len(set(forms)) == len(forms), forms


def test_forms_of_the_release_are_as_they_were() -> None:
    assert canonical(Point.LATENT) == "latent"
    assert canonical(Linear(1.0)) == {"type": "Linear", "rho0": 1, **canonical(Linear(1.0))}
    assert canonical({"momentum": 0.9, "betas": (0.9, 1.0)}) == {"momentum": 0.9, "betas": [0.9, 1]}
    assert canonical(torch.optim.SGD) == "torch.optim.SGD"


def test_numpy_numbers_and_arrays_are_what_they_hold() -> None:
    assert canonical({"a": np.int64(3), "b": np.float32(0.5)}) == {"a": 3, "b": 0.5}
    assert canonical(np.array([[1.0, 2.5]])) == [[1, 2.5]]


@pytest.mark.parametrize("value", [object(), torch.zeros(2), float("nan"), len, {"a": {1, 2}}])
def test_what_has_no_form_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match="no canonical form"):
        canonical(value)


def test_a_class_added_to_the_package_counts_by_its_source() -> None:
    """And one of the release by its name, wherever else a class has that name."""
    added = make_dataclass(
        "Linear", ["rho0"], frozen=True, namespace={"__module__": "quantlab.mine"}
    )
    with pytest.raises(ConfigurationError, match=r"class Linear: .*module of .* is not loaded"):
        canonical(added(1))
    elsewhere = make_dataclass(
        "Linear", ["rho0"], frozen=True, namespace={"__module__": "quantlab.recipe"}
    )
    assert canonical(elsewhere(1))["type"].startswith("Linear@")
    assert canonical(Linear(1))["type"] == "Linear"
