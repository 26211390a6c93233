"""What a file defines, as far as it tells without being run."""

from pathlib import Path

import pytest

from sweeps.inventory.files_of_sweeps import other_name_in_file
from sweeps.inventory.known_sweeps import STUDY, SWEEP, KnownSweep
from tests.sweeps.sweep_files import STUDY as BOTH
from tests.sweeps.sweep_files import TINY, changed


@pytest.mark.parametrize(
    ("content", "kind", "name", "other"),
    [
        (TINY, SWEEP, "tiny", ""),
        (TINY, SWEEP, "tiny-epochs-2", "tiny"),
        (changed(TINY, 'name="tiny"', 'name="second"'), SWEEP, "tiny", "second"),
        (BOTH, STUDY, "tiny-study", ""),
        (BOTH, STUDY, "tiny", "tiny-study"),
        (changed(TINY, "SWEEP = ", "SWEEP: SweepSpec = "), SWEEP, "other", "tiny"),
        (changed(TINY, 'name="tiny"', 'name=f"tiny-{WIDTH}"'), SWEEP, "tiny-4", ""),
        (TINY + '\nSWEEP = replace(SWEEP, name="tiny-" + WIDTH)\n', SWEEP, "tiny-4", ""),
        (changed(TINY, "SWEEP = SweepSpec", "SWEEP = spec.SweepSpec"), SWEEP, "other", "tiny"),
        ('SWEEP = make(name="small")\n', SWEEP, "my-small", ""),
        ('SWEEP = make(SweepSpec(name="small"))\n', SWEEP, "my-small", ""),
        ("from tiny import SWEEP\n", SWEEP, "tiny", ""),
        (TINY + "\nfrom others import *\n", SWEEP, "other", ""),
        ("SWEEP = (", SWEEP, "tiny", ""),
        ("", SWEEP, "tiny", ""),
    ],
)
def test_a_file_that_defines_another_one_is_known_without_running_it(
    content: str, kind: str, name: str, other: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    known = KnownSweep(name=name, kind=kind, source=str(file))
    assert other_name_in_file(known) == ""
    file.write_text(content)
    assert other_name_in_file(known) == other


def test_a_sweep_of_the_release_has_no_file() -> None:
    assert other_name_in_file(KnownSweep(name="digits", kind=SWEEP)) == ""
