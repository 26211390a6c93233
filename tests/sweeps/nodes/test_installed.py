"""A machine with other packages or other code is told from the driver's."""

from dataclasses import replace

import pytest
import torch

from sweeps.nodes.installed import Installed, installed


def test_a_machine_is_like_itself() -> None:
    here = installed()
    assert here.difference(here) == ""
    assert here.packages["torch"] == torch.__version__.partition("+")[0]
    assert here.folder.endswith("/sweeps")


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
