"""A machine with other packages or other code is told from the driver's."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sweeps.nodes.installed import CODE, Installed, installed
from tests.test_layers import ROOT, imports


def test_a_machine_is_like_itself() -> None:
    here = installed()
    assert here.difference(here) == ""
    assert here.packages["torch"] == torch.__version__.partition("+")[0]
    assert here.folder.endswith("/sweeps")


def test_all_code_that_a_machine_imports_to_train_is_compared() -> None:
    waiting = [*(ROOT / "sweeps" / "worker").glob("*.py"), ROOT / "sweeps/nodes/inspector.py"]
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        for module in imports(path):
            if module.startswith("sweeps."):
                place = ROOT.joinpath(*module.split("."))
                folders = [one for one in place.parents if one.is_relative_to(ROOT / "sweeps")][:-1]
                files = [
                    place.with_suffix(".py"),
                    *(one / "__init__.py" for one in [place, *folders]),
                ]
                waiting += [file for file in files if file.exists()]
    assert len(found) > 20
    places = {path.relative_to(ROOT).as_posix() for path in found}
    assert not [place for place in places if not place.startswith(tuple(f"{one}/" for one in CODE))]
    assert "quantlab" in CODE
    assert all(list((ROOT / part).glob("*.py")) for part in CODE)


DRIVER = Installed("head", {"torch": "2.15.0", "numpy": "2.4.6"}, "/a/sweeps", "12ab")


@pytest.mark.parametrize(
    ("there", "difference"),
    [
        (replace(DRIVER, host="two", folder="/b/sweeps"), ""),
        (
            replace(DRIVER, host="two", packages={"torch": "2.15.0", "numpy": "2.4.1"}),
            "machine two has numpy 2.4.1, but the driver on head has 2.4.6; install the same "
            "version on all machines",
        ),
        (
            replace(DRIVER, host="two", packages={"numpy": "2.4.6"}),
            "machine two has torch (none), but the driver on head has 2.15.0; install the same "
            "version on all machines",
        ),
        (
            replace(DRIVER, host="two", folder="/b/sweeps", code="34cd"),
            "machine two has other code of quantlab (in /b/sweeps) than the driver on head (in "
            "/a/sweeps); install the same code on all machines",
        ),
        (
            Installed("two"),
            "machine two: quantlab is not installed in the Python of its Ray; install there what "
            "the driver has",
        ),
    ],
    ids=["same", "other version", "no torch", "other code", "nothing"],
)
def test_the_difference_is_told_with_both_machines(there: Installed, difference: str) -> None:
    assert there.difference(DRIVER) == difference
