"""What trials print while they are trained, whatever they do to the standard streams."""

import os
from pathlib import Path

import pytest

from sweeps.storage import Storage
from sweeps.storage.folder import TrialFolder
from sweeps.storage.output import MOST_BYTES
from sweeps.worker.output import output_kept


@pytest.fixture
def folders(tmp_path: Path) -> list[TrialFolder]:
    found = [Storage(tmp_path).trial(name) for name in ("a", "b")]
    for folder in found:
        folder.make()
    return found


def test_a_pack_that_prints_more_than_the_memory_holds(folders: list[TrialFolder]) -> None:
    with output_kept(folders) as keep:
        os.truncate(folders[0].output_of(0), 2**42)  # a file with a hole takes no space
        os.write(1, b"\nlast words\n")
        keep()
    for folder in folders:
        output = folder.output_of(0)
        assert output.stat().st_size <= MOST_BYTES
        text = output.read_bytes()
        assert text.startswith(b"--- ")
        assert text.endswith(b"\nlast words\n")


def test_a_trial_that_closes_a_stream(
    folders: list[TrialFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is trained to its end, and the streams of the process are there again afterwards."""
    places = [os.fstat(stream).st_ino for stream in (1, 2)]
    with open(os.devnull, "w") as stdout, open(os.devnull, "w") as stderr:
        monkeypatch.setattr("sys.stdout", stdout)
        monkeypatch.setattr("sys.stderr", stderr)
        with output_kept(folders):
            os.write(2, b"here\n")
            stdout.close()
            os.close(1)
    assert [os.fstat(stream).st_ino for stream in (1, 2)] == places
    for folder in folders:
        assert folder.output_of(0).read_text().endswith("here\n")
