"""Files of sweeps as people write them: encodings, modules beside them, and whatever they raise."""

import math
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ray import cloudpickle

from quantlab import ConfigurationError
from sweeps.loading import load_either, load_study, load_sweep
from sweeps.loading.either import load_users_file
from sweeps.running import users_modules
from sweeps.worker.sent_modules import send_modules_by_name
from tests.sweeps.sweep_files import STUDY, TINY, changed

EXAMPLES = Path(__file__).parents[2] / "examples"
MAP = changed(
    TINY.partition("SWEEP = ")[0], "return torch.tanh(", "return GAIN * torch.tanh("
).replace("@dataclass", "GAIN = 1\n\n\n@dataclass", 1)
USES_MAP = TINY.replace(TINY[TINY.index("@dataclass") : TINY.index("SWEEP = ")], "")


def fingerprints(file: Path) -> list[str]:
    return [cell.fingerprint for cell in load_sweep(str(file)).cells]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (TINY.encode("utf-8-sig"), "a byte order mark"),
        (TINY.replace("\n", "\r\n").encode("utf-8-sig"), "a byte order mark and CRLF"),
        (b"# -*- coding: latin-1 -*-\n# Gr\xf6\xdfe\n" + TINY.encode(), "a coding line"),
    ],
)
def test_files_are_read_as_python_reads_them(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(TINY)
    (tmp_path / "other.py").write_bytes(content)
    assert fingerprints(tmp_path / "other.py") == fingerprints(tmp_path / "plain.py")


IN_A_CLASS = "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: list = []\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import sys\nsys.exit(3)", "line 2: the code calls sys.exit"),
        ("raise SystemExit", "line 1: the code calls sys.exit"),
        (
            "raise RuntimeError('first\\nsecond\\n  third')",
            "line 1: RuntimeError: first second third",
        ),
        ("raise KeyError", "line 1: KeyError"),
        ("assert 1 == 2", "line 1: AssertionError"),
        (IN_A_CLASS, "line 2: ValueError: mutable default"),
        ("x = (", "line 1: SyntaxError: "),
        ("x = '\ud800'".encode("utf-8", "surrogatepass").decode("latin-1"), "must define SWEEP"),
        (
            "def __getattr__(name):\n    return {}[name]",
            "own.py: __getattr__ raises KeyError: '_a_name_that_is_not_there' (",
        ),
        ("import missing_module_of_mine", "line 1: ModuleNotFoundError: No module named"),
    ],
)
def test_whatever_a_file_raises_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_sweep(str(file))
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", [b"x = 'a\0b'", b"# coding: nonsense\n"])
def test_what_is_no_text_is_one_line(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load_sweep(str(file))
    assert str(caught.value).startswith(str(file))
    assert len(str(caught.value).splitlines()) == 1


def folder_with(root: Path, map_of_it: str) -> Path:
    root.mkdir()
    (root / "maps_beside.py").write_text(map_of_it)
    (root / "own.py").write_text("from maps_beside import Tanh\n" + USES_MAP)
    return root / "own.py"


def test_a_module_beside_the_file_counts_and_is_found(tmp_path: Path) -> None:
    """And each file finds its own, in one process too."""
    before = fingerprints(folder_with(tmp_path / "a", MAP))
    again = fingerprints(folder_with(tmp_path / "b", MAP + "\nUNUSED = 1\n"))
    other = fingerprints(folder_with(tmp_path / "c", changed(MAP, "GAIN = 1", "GAIN = 2")))
    assert again == before
    assert other[:2] == before[:2]  # full precision does not use the class
    assert not set(other[2:]) & set(before[2:])


def test_a_class_is_the_same_beside_the_file_and_in_it(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(MAP + "SWEEP = " + USES_MAP.partition("SWEEP = ")[2])
    assert fingerprints(folder_with(tmp_path / "a", MAP)) == fingerprints(tmp_path / "own.py")


ELSEWHERE = """
import pickle, sys, torch
from quantlab import fingerprint
for path in sys.argv[1:]:
    recipe = pickle.load(open(path, "rb"))
    print(fingerprint(recipe), recipe.quantization.quantizer.prox(torch.tensor(0.5), 1.0).item())
"""


def packages_with(root: Path, map_of_it: str) -> Path:
    """The map is in a folder without ``__init__.py``, and its constant in a package."""
    for folder in ("maps_in_a_folder", "gains_in_a_package"):
        (root / folder).mkdir(parents=True)
    (root / "gains_in_a_package" / "__init__.py").touch()
    (root / "gains_in_a_package" / "gains.py").write_text("GAIN = 2\n")
    imported = changed(map_of_it, "GAIN = 1", "from gains_in_a_package.gains import GAIN")
    (root / "maps_in_a_folder" / "own_maps.py").write_text(imported)
    (root / "own.py").write_text("from maps_in_a_folder.own_maps import Tanh\n" + USES_MAP)
    return root / "own.py"


def test_what_a_class_uses_reaches_machines_that_have_no_such_module(tmp_path: Path) -> None:
    """Another process gets the classes of two files."""
    files = (
        folder_with(tmp_path / "beside", changed(MAP, "GAIN = 1", "GAIN = 2")),
        packages_with(tmp_path / "in_packages", MAP),
    )
    names, sent = [], []
    for file in files:
        cell = load_sweep(str(file)).cells[-1]
        for module in users_modules.reached():
            cloudpickle.register_pickle_by_value(module)
        (file.parent / "sent").write_bytes(cloudpickle.dumps(cell.recipe))
        names.append(cell.fingerprint)
        sent.append(str(file.parent / "sent"))
    program = [sys.executable, "-c", ELSEWHERE, *sent]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    for name, line in zip(names, done.stdout.splitlines(), strict=True):
        found, value = line.split()
        assert found == name
        assert float(value) == pytest.approx(2 * math.tanh(2 * 0.5))


def test_names_of_modules_of_torch_may_be_those_of_attributes() -> None:
    """The example's ``self.classes`` is not `torch.classes`, which cannot be sent as it is."""
    recipe = load_sweep(str(EXAMPLES / "signals.py")).cells[0].recipe
    for module in users_modules.reached():
        cloudpickle.register_pickle_by_value(module)
    send_modules_by_name()
    sent = cloudpickle.loads(cloudpickle.dumps(recipe))
    assert sent.dataset.train_dataset(Path()).classes.shape == (1000,)
    assert pickle.loads(pickle.dumps(torch.classes)) is torch.classes


def test_what_changes_after_a_fingerprint_was_asked_for_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    early = "\nfrom quantlab import fingerprint\nFIRST = fingerprint(SWEEP.base)\n"
    quantized = "\nFIRST = SWEEP.cells[-1].fingerprint\n"
    file.write_text(MAP + "SWEEP = " + TINY.partition("SWEEP = ")[2] + early + quantized)
    load_sweep(str(file))
    file.write_text(file.read_text() + "GAIN = 3\n")
    with pytest.raises(ConfigurationError, match="class Tanh: the code that it uses changed after"):
        load_sweep(str(file))


def test_a_sweep_and_a_study_of_one_file_have_two_names(tmp_path: Path) -> None:
    file = tmp_path / "both.py"
    file.write_text(changed(STUDY, 'name="tiny-study"', 'name="tiny"'))
    for load in (load_sweep, load_study, load_either):
        with pytest.raises(
            ConfigurationError, match="SWEEP and STUDY have the same name 'tiny'; give one of them"
        ):
            load(str(file))


def test_a_renamed_sweep_is_found_by_its_message() -> None:
    with pytest.raises(ConfigurationError, match="is 'mirror_descent_hyperparameters' now"):
        load_sweep("mirror_descent_search")


def test_a_sweep_that_a_study_imports_is_not_one_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "both.py").write_text(STUDY)
    imported = STUDY.replace(TINY, "from both import SWEEP\n")
    (tmp_path / "study.py").write_text(imported)
    both = load_users_file(str(tmp_path / "both.py"))
    study, sweep = both.either(), both.either("tiny")
    assert (study.name, both.name_of_other(study)) == ("tiny-study", "tiny")
    assert (sweep.name, both.name_of_other(sweep)) == ("tiny", "tiny-study")
    alone = load_users_file(str(tmp_path / "study.py"))
    assert (alone.either().name, alone.name_of_other(alone.either())) == ("tiny-study", "")
    assert load_either(str(tmp_path / "study.py"), of_both="sweep").name == "tiny"


def test_a_file_may_change_the_folder_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The options of the command, such as --storage, are relative to the folder of the user."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    Path("plain.py").write_text(TINY)
    moves = f"import os\nos.chdir({str(tmp_path / 'data')!r})\nopen('there', 'w').close()\n"
    Path("moves.py").write_text(moves + TINY)
    assert fingerprints(Path("moves.py")) == fingerprints(Path("plain.py"))
    assert Path.cwd() == tmp_path
    assert Path("data", "there").exists()
