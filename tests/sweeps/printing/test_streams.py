"""Standard streams that are closed, full, or read by nobody."""

import json
import os
import subprocess
import sys
import threading
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from sweeps.cli.json_output import print_json
from sweeps.printing import streams


def test_a_full_stream_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115
    monkeypatch.setattr(sys, "stdout", full)
    with streams.tolerant("stdout") as output:
        print("more", flush=True)
        assert isinstance(output.error, OSError)
        print("and more", flush=True)
    assert sys.stdout is full
    full.close()  # what was left in its buffer is no error either


@pytest.mark.parametrize(
    ("encoding", "table"), [("ascii", "\\u03c10 \\udcff\n"), ("utf-8", "ρ0 \\udcff\n")]
)
def test_what_a_stream_cannot_encode_is_escaped(
    encoding: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In JSON, too, which stays JSON: a file may have a name with bytes that are no text."""
    names = "ρ0", os.fsdecode(b"\xff")
    written = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(written, encoding, write_through=True))
    with streams.tolerant("stdout"):
        print(*names)
        print_json({"names": names})
    text = written.getvalue().decode(encoding)
    assert text.startswith(table)
    assert json.loads(text.removeprefix(table)) == {"names": list(names)}


def test_what_is_printed_again_and_again_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    with streams.each_line_once():
        for number in (1, 2, 1):
            print("in prox", number)
        print("in prox 1\nand more\n(Pdb) ", end="", flush=True)
        assert capsys.readouterr().err == "in prox 1\nin prox 2\nand more\n(Pdb) "
        print("n\nin prox 2")  # an answer in a debugger may be what was printed before
    print("after")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("after\n", "n\nin prox 2\n")


def test_lines_of_threads_stay_whole(capsys: pytest.CaptureFixture[str]) -> None:
    def talk(name: str) -> None:
        for number in range(500):
            print(f"{name} {number}")

    with streams.each_line_once():
        threads = [threading.Thread(target=talk, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = capsys.readouterr().err.splitlines()
    # A print is two writes, a text and its end, so that two threads may share a line.
    assert sorted("".join(lines)) == sorted("".join(f"{n} {i}" for n in "abcd" for i in range(500)))


def test_a_closed_stream_takes_no_files_number(tmp_path: Path) -> None:
    code = (
        "import os\n"
        "from sweeps.printing import streams\n"
        "streams.open_closed()\n"
        "file = open('/dev/zero')\n"
        "print('to nobody', flush=True)\n"
        "assert file.fileno() > 2, file.fileno()\n"
        "target = os.readlink('/proc/self/fd/' + os.environ['NUMBER'])\n"
        "print(target, file=open(os.environ['ANSWER'], 'w'))\n"
    )
    answer = tmp_path / "answer"
    for number, closed in ((0, "<&-"), (1, ">&-"), (2, "2>&-")):
        done = subprocess.run(
            [
                "bash",
                "-c",
                f'"$0" -c "$1" {closed}',
                sys.executable,
                code,
            ],
            env={**os.environ, "ANSWER": str(answer), "NUMBER": str(number)},
            capture_output=number == 0,
            check=False,
        )
        assert done.returncode == 0
        assert answer.read_text().strip() == os.devnull
