"""Identities of users' classes: the same on every Python; whatever they can reach counts."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import quantlab
from quantlab import ConfigurationError
from sweeps.loading import load_sweep
from tests.sweeps.sweep_files import TINY
from tests.users_files import FILES

GOLDEN = "fdd2ad86e1ca"
"""The digest of `tests.users_files`; whoever changes it orphans the trials of users' classes."""

PYTHONS = ("3.11", "3.12", "3.13")
PROGRAM = f"""
import sys, types
sys.modules["quantlab"] = package = types.ModuleType("quantlab")  # which would need torch
package.__path__ = [{str(Path(quantlab.__file__).parent)!r}]
sys.path.append(sys.argv[1])
import kinds
from quantlab.identity.source_identity import Reach, UntraceableError
try:
    print(Reach(kinds.Kind).digest)
except UntraceableError as error:
    print(error)
"""


def pythons() -> Iterator[tuple[str, str]]:
    """Versions, and interpreters of them on this machine."""
    home = Path.home() / ".pyenv" / "versions"
    for version in PYTHONS:
        found = [*home.glob(f"{version}.*/bin/python"), shutil.which(f"python{version}")]
        if sys.version.startswith(version):
            found.insert(0, sys.executable)
        yield version, next((str(path) for path in found if path is not None), "")


def digest(folder: Path, *changes: tuple[str, str, str], python: str = sys.executable) -> str:
    """Of the class `Kind`, after texts in the files have been replaced."""
    folder.mkdir(exist_ok=True)
    files = dict(FILES)
    for file, old, new in changes:
        assert old in files[file]
        files[file] = files[file].replace(old, new)
    for file, text in files.items():
        (folder / f"{file}.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [python, "-c", PROGRAM, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(("version", "python"), list(pythons()))
def test_the_same_on_every_python(version: str, python: str, tmp_path: Path) -> None:
    if not python:
        pytest.skip(f"there is no Python {version} on this machine")
    print(f"Python {version}: {python}")
    assert digest(tmp_path, python=python) == GOLDEN


CHANGES = {
    "a constant of two": ("kinds", "A, B = 8, 1", "A, B = 8, 2"),
    "an addition": ("kinds", "A += 1", "A += 2"),
    "an entry": ("kinds", 'TABLE["w"] = 4', 'TABLE["w"] = 5'),
    "a branch": ("kinds", "    BRANCH = 5", "    BRANCH = 6"),
    "a try": ("kinds", "    TRIED = 6", "    TRIED = 7"),
    "a loop": ("kinds", "for LOOPED in (1, 7)", "for LOOPED in (1, 8)"),
    "a with": ("kinds", "    WITHIN = 8", "    WITHIN = 9"),
    "a walrus": ("kinds", "(WALRUS := 9)", "(WALRUS := 8)"),
    "a file's name": ("kinds", '"data.csv"', '"other.csv"'),
    "a set": ("kinds", '{"b", "a", tau}', '{"b", "c", tau}'),
    "an import": ("kinds", "from math import tau", "from math import pi as tau"),
    "what is wrapped": ("kinds", "functools.partial(max, A)", "functools.partial(min, A)"),
    "a member's value": ("kinds", 'ONE = "one"', 'ONE = "eins"'),
    "what a function returns": ("kinds", "return x + step", "return x - step"),
    "what a function has been given": ("kinds", "SHIFT = factory(3)", "SHIFT = factory(4)"),
    "a lambda": ("kinds", "2 * x + WALRUS", "3 * x + WALRUS"),
    "a default": ("kinds", "mode: Mode = Mode.ONE", "mode: Mode = Mode.TWO"),
    "the form of a number": ("kinds", "{self.width!r:>{B}}", "{self.width!r:<{B}}"),
    "a class within": ("kinds", "        depth = 3", "        depth = 4"),
    "how an object of a library is changed": ("kinds", "LOG.setLevel(30)", "LOG.setLevel(20)"),
    "a count": ("kinds", "Counter(a=3)", "Counter(a=4)"),
    "a part of a tuple with names": ("kinds", "Pair(1, ", "Pair(2, "),
    "an object of a library in a tuple": ("kinds", 'Decimal("1.5")', 'Decimal("1.6")'),
    "an object of a library in a list": ("kinds", 'Decimal("2.5")', 'Decimal("2.6")'),
    "what is registered": ("kinds", "    return 1\n", "    return 2\n"),
    "a dispatched function": ("kinds", '"a number"', '"one number"'),
    "the default of it": ("kinds", '"anything"', '"whatever"'),
    "a decorator": ("kinds", "function(*arguments) + 1", "function(*arguments) + 2"),
    "what is decorated": ("kinds", "return x * 5", "return x * 6"),
    "a class's class": ("kinds", "super().__call__(*arguments)", "super().__call__()"),
    "a special method": ("kinds", "        return name\n", "        return None\n"),
    "a property": ("kinds", "        return 11", "        return 12"),
    "an object's attribute": ("kinds", "OUTER.level = 12", "OUTER.level = 13"),
    "a module changed from outside": ("kinds", "beside.PATCHED = 10", "beside.PATCHED = 11"),
    "a class changed from outside": (
        "kinds",
        "class Unused:",
        "Kind.more_depth = 2\nclass Unused:",
    ),
    "a method changed from outside": (
        "kinds",
        "class Unused:",
        "Kind.build = double\nclass Unused:",
    ),
    "a module's constant": ("beside", "SCALE = 2", "SCALE = 3"),
    "a module's member": ("beside", '"two"', '"zwei"'),
    "a base class": ("beside", "range(self.depth)", "range(1 + self.depth)"),
    "what a base class uses": ("beside", "    return x\n", "    return -x\n"),
    "what is imported late": ("late", "LATE = 4", "LATE = 5"),
}
NO_CHANGES = {
    "a docstring": ("kinds", '"""What a recipe holds."""', '"""Anything else."""\n    # Really.'),
    "the docstring of a field": ("kinds", '"""Its width."""', ""),
    "a module's docstring": ("beside", '"""A module beside it."""', ""),
    "layout": ("kinds", "return x + step + more", "return ( x+step\n          + more )"),
    "a class that it does not use": ("kinds", "width = 1\n", "width = 2\n"),
    "a constant in another form": ("kinds", "A, B = 8, 1", "A = 4 + 4\nB = 1"),
    "what else is in a module": ("beside", "SCALE = 2", "SCALE = 2\nOTHER = 3"),
}
REFUSED = {
    "the module of": (
        "kinds",
        "class Unused:",
        "exec('def call(self): pass', extra := {})\nKind.__call__ = extra['call']\nclass Unused:",
    ),
    "exec": ("kinds", "        match rest:", "        exec('x = 1')\n        match rest:"),
    "import_module": (
        "kinds",
        "from late import LATE",
        "import importlib as i; i.import_module(n)",
    ),
    "created by exec": (
        "kinds",
        "double = lambda x: 2 * x + WALRUS",
        "exec('def double(x): pass')",
    ),
    "the import in line": ("late", "LATE = 4", "raise OSError"),
}
WHOLE_FILE = ("kinds", "        match rest:", "        globals()['Unused']\n        match rest:")


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_a_class_can_reach_counts(name: str, tmp_path: Path) -> None:
    changed = digest(tmp_path, CHANGES[name])
    assert len(changed) == 12
    assert changed != GOLDEN


@pytest.mark.parametrize("name", NO_CHANGES)
def test_what_says_nothing_does_not_count(name: str, tmp_path: Path) -> None:
    assert digest(tmp_path, NO_CHANGES[name]) == GOLDEN


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_followed_is_refused(name: str, tmp_path: Path) -> None:
    message = digest(tmp_path, REFUSED[name])
    assert message.startswith("class Kind: ")
    assert name in message
    assert "its identity cannot be determined, because " in message


def test_where_names_are_computed_the_whole_file_counts(tmp_path: Path) -> None:
    before = digest(tmp_path / "a", WHOLE_FILE)
    assert digest(tmp_path / "b", WHOLE_FILE, NO_CHANGES["layout"]) == before
    assert digest(tmp_path / "c", WHOLE_FILE, NO_CHANGES["a class that it does not use"]) != before


def test_the_way_to_a_file_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where one stands, nor the folder's name, where code has paths of its own folder."""
    own = "import os\nHERE = os.path.join(os.path.dirname(__file__), 'gate')\n"
    text = TINY.replace("return torch.tanh(", "return len(HERE) and torch.tanh(")
    found = set()
    for name in ("one", "another"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tiny.py").write_text(own + text)
        for here, way in (
            (tmp_path, f"{name}/tiny.py"),
            (tmp_path / name, "tiny.py"),
            (tmp_path, str(tmp_path / name / "tiny.py")),
            (tmp_path, f"./{name}/../{name}/tiny.py"),
        ):
            monkeypatch.chdir(here)
            found.add(tuple(cell.fingerprint for cell in load_sweep(way).cells))
    assert len(found) == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("K = defaultdict(lambda: 1.0)", "K = defaultdict(lambda: 5.0)"),
        ("def F(): return 1\nK = defaultdict(F)", "def F(): return 2\nK = defaultdict(F)"),
        ("torch.manual_seed(1)\nK = nn.Linear(1, 1)", "torch.manual_seed(2)\nK = nn.Linear(1, 1)"),
        ("K = [nn.ReLU(inplace=True)]", "K = [nn.ReLU()]"),
        ("K = nn.Linear(1, 1)\nnn.init.ones_(K.weight)\nnn.init.zeros_(K.bias)\nL = [K]",
         "K = nn.Linear(1, 1)\nnn.init.ones_(K.weight)\nnn.init.zeros_(K.bias)\nL = [K]\n"
         "for each in L: nn.init.constant_(each.weight, 2)"),
    ],
)  # fmt: skip
def test_values_within_a_librarys_objects_count(before: str, after: str, tmp_path: Path) -> None:
    first = fingerprints(before, tmp_path)
    assert first == fingerprints(before, tmp_path)
    assert first != fingerprints(after, tmp_path)


def fingerprints(constant: str, folder: Path) -> tuple[str, ...]:
    """Of trials whose quantizer uses a constant."""
    lines = "from collections import defaultdict\nfrom torch import nn\nimport torch\n"
    use = TINY.replace("return torch.tanh(", "_ = K\n        return torch.tanh(")
    (folder / "tiny.py").write_text(f"{lines}{constant}\n{use}")
    return tuple(cell.fingerprint for cell in load_sweep(str(folder / "tiny.py")).cells)


def test_what_torch_has_compiled_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"class Tanh: .*it uses a ScriptFunction of torch"
    ):
        fingerprints("@torch.jit.script\ndef K(x): return x * 2", tmp_path)
