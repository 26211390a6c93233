"""The output of a trial, whose file has a bounded length."""

from pathlib import Path

from sweeps.storage.output import MOST_BYTES, append, read_output


def test_a_long_output_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    """However often its middle is removed, of which one line tells."""
    file = tmp_path / "output.txt"
    lines = [f"line {number:05}" for number in range(60_000)]
    for start in range(0, len(lines), 1000):
        append(file, "".join(f"{line}\n" for line in lines[start : start + 1000]).encode())
        assert file.stat().st_size <= MOST_BYTES
    found = read_output(file).splitlines()
    (gap,) = (place for place, line in enumerate(found) if line.startswith("---"))
    assert gap > 1000
    assert found[:gap] == lines[:gap]
    after = found[gap + 1 :]
    assert len(after) > 1000
    assert after == lines[-len(after) :]


def test_a_terminal_gets_text_only(tmp_path: Path) -> None:
    """Of a progress bar, its last state, and no sequence that controls the terminal."""
    file = tmp_path / "output.txt"
    file.write_bytes(b"\x1b[31mred\x1b[0m \xff\r\n10 %\r50 %\r99 %\n\x1b[2J\x00end")
    assert read_output(file).splitlines() == ["red \ufffd", "99 %", "[U+0000]end"]
    assert read_output(tmp_path / "none.txt") == ""
