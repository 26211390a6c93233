"""What README and docs say is tried: each of their files, programs, commands and links.

A block is run unless a comment in front of it, which readers of the page do not see, says why it
takes long: ``<!-- long: a cluster -->``. So is a command, unless its own comment speaks of minutes
or hours. A block after ``<!-- needs: PACKAGE -->`` is run where the package is installed. The
blocks of a page are run in their order, in a folder with the files of docs/your_own.md and a few
trained trials. ``0123456789abcdef`` stands for one of them.
"""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, redirect_stdout, suppress
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from quantlab import ConfigurationError, Recipe, fingerprint
from quantlab.datasets.digits import Digits
from quantlab.export import save
from quantlab.quantization_sets import TERNARY
from quantlab.scales import Scale
from quantlab.scales.contract import require_scale_contract
from quantlab.tasks.dimensions import Dimensions
from sweeps.cell import Cell
from sweeps.cli.command import command_parser
from sweeps.cli.exit_codes import EXIT_INCOMPLETE
from sweeps.loading import load_study, load_sweep
from sweeps.planning.preflight import check_without_data, preflight
from sweeps.storage import Storage
from sweeps.worker.trial import train_trials
from tests.conftest import Command, made_once
from tests.markdown import PAGES, ROOT, Block, anchors, blocks, inline_commands, links

YOUR_OWN = ROOT / "docs" / "your_own.md"
LONG = {
    "README.md": 5,
    "archive.md": 7,
    "cluster.md": 17,
    "deciding.md": 3,
    "kubernetes.md": 5,
    "language_models.md": 2,
    "long_sweeps.md": 9,
    "mlflow.md": 8,
    "packs.md": 3,
    "placement.md": 3,
    "quantized_nets.md": 2,
    "reproduction.md": 1,
    "results.md": 1,
    "search.md": 12,
    "slurm.md": 1,
    "training_core.md": 1,
    "your_own.md": 1,
}
"""Page -> how many of its commands and programs take long, and are not run here."""
PLACEHOLDER = "0123456789abcdef"
TRIED = ("BC binary seed=0", "PC binary rho0=0.06 seed=0")
"""Trials of the sweep digits that are trained here."""


def train(cells: Sequence[Cell], folder: Path) -> None:
    """Train cells as one pack, unless they have been trained already."""
    storage = Storage(folder / "runs")
    trials = [(cell.recipe, storage.trial(cell.fingerprint)) for cell in cells]
    for _ in train_trials(trials, data_dir=folder / "data"):
        pass


def firsts(cells: Sequence[Cell]) -> list[Cell]:
    """The first cell of each block."""
    return list({cell.block: cell for cell in reversed(cells)}.values())


def save_files(page: Path, folder: Path) -> list[Block]:
    """Save the Python of a page under the names that the page says."""
    found = [block for block in blocks(page) if block.language == "python"]
    for block in found:
        (folder / block.file).write_text(block.text, encoding="utf-8")
    return found


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of docs/your_own.md, their data, and a few trials in runs/."""
    with made_once(tmp_path_factory, "docs") as (folder, is_new):
        if is_new:
            with chdir(folder):
                for block in save_files(YOUR_OWN, folder):
                    if "savez" in block.text or ".save(" in block.text:  # what makes the data
                        runpy.run_path(block.file)
                train(load_sweep("own_network.py").cells[:1], folder)
            train([cell for cell in load_sweep("digits").cells if cell.name in TRIED], folder)
        return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it, in which Python finds the files."""
    before = set(sys.modules)
    shutil.copytree(made, tmp_path / "own")
    monkeypatch.syspath_prepend(str(tmp_path / "own"))
    monkeypatch.setattr(sys, "argv", ["program"])
    with chdir(tmp_path / "own"):
        yield tmp_path / "own"
    for name in sys.modules.keys() - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and Path(file).is_relative_to(tmp_path):
            del sys.modules[name]


def best_fingerprint(folder: Path) -> str:
    """The trial that `sweeps export digits --best` chooses."""
    (path,) = (folder / "exported").glob("*.safetensors")
    return path.stem


def test_every_block_says_what_it_is() -> None:
    """So that no command or program is overlooked."""
    for page in PAGES:
        for block in blocks(page):
            commands = re.findall("^(?:sweeps|make|python|pip) ", block.text, re.MULTILINE)
            assert not commands or block.language == "sh", f"{block}: has commands"
            imports = re.findall("^(?:import|from) ", block.text, re.MULTILINE)
            assert not imports or block.language == "python", f"{block}: has imports"


def test_the_readme_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    index = text[text.index("## Documentation") :]
    listed = set(re.findall(r"\]\(([\w/.]+\.md)\)", index))
    assert listed == {str(page.relative_to(ROOT)) for page in PAGES} - {"README.md"}
    assert listed < set(links(ROOT / "README.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_an_event_leads_to_does_not_hang_on_the_row_above(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for table in re.findall(r"^\| event \|.*\n(?:\|.*\n)+", text, re.MULTILINE):
        assert not re.findall(r"^.*\| The same(?! as ).*$", table, re.MULTILINE)


def test_few_blocks_and_commands_are_not_run() -> None:
    """Whoever marks another one as long changes the number here, too."""
    found: dict[str, int] = {}
    for page in PAGES:
        for block in blocks(page):
            if block.language == "sh":
                count = sum(command.is_long for command in block.commands)
            else:
                count = int(block.is_long)
            if count:
                found[page.name] = found.get(page.name, 0) + count
    assert found == LONG
    needed = [(page.name, block.needs) for page in PAGES for block in blocks(page) if block.needs]
    assert needed == [("export.md", "torchao")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_are_there(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def parse(arguments: Sequence[str], *, is_whole: bool) -> None:
    """Read a command line; that of a text need not be whole, and may lack the name of the sweep."""
    try:
        with suppress(SystemExit), redirect_stdout(StringIO()):  # of --help
            command_parser().parse_args(arguments)
    except ConfigurationError as error:
        if is_whole or "arguments are required" not in str(error):
            pytest.fail(f"sweeps {' '.join(arguments)}: {error}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_have_the_options_that_the_page_gives_them(page: Path) -> None:
    """Also those in the text, and those that take long."""
    shown = [shlex.split(command.text) for block in blocks(page) for command in block.commands]
    for words in [*shown, *inline_commands(page)]:
        if words[0] == "sweeps":
            parse(words[1:], is_whole=words in shown)
        elif words[0] == "make":
            arguments = [word for word in words[1:] if "=" not in word]
            subprocess.run(
                ["make", "--dry-run", *arguments], cwd=ROOT, check=True, capture_output=True
            )
        elif words[0] == "python" and not words[1].startswith("-"):
            assert (ROOT / words[1]).is_file(), words


def test_the_files_of_your_own_are_whole_sweeps(folder: Path) -> None:
    """Each passes the checks before training, and one trial of each of its blocks is trained."""
    names = {block.file for block in blocks(YOUR_OWN) if "SWEEP = " in block.text}
    assert names == {f"own_{name}.py" for name in OWN}
    for name, least in OWN.items():
        cells = load_sweep(f"own_{name}.py").cells
        check_without_data(cells, folder / "data")
        preflight(list(cells), Storage(folder / "runs"), folder / "data")
        chosen = firsts(cells)
        accuracies = []
        for cell in chosen:
            train([cell], folder)
            result = Storage(folder / "runs").trial(cell.fingerprint).result.read()
            assert result is not None
            accuracies.append(result.test["accuracy"])
        assert max(accuracies) > least, (name, accuracies)


OWN = {
    "network": 0.6,
    "arrays": 0.8,
    "dataset": 0.8,
    "images": 0.4,
    "optimizer": 0.4,
    "schedule": 0.8,
    "quantizer": 0.8,
    "update_rule": 0.8,
}
"""File of docs/your_own.md -> what a test accuracy exceeds, where chance is 0.1, or 0.4 at most."""


def nothing(folder: Path) -> dict[str, Any]:
    return {}


def for_data(folder: Path) -> dict[str, Any]:
    inputs = np.random.default_rng(0).normal(size=(1100, 4))
    np.savez(folder / "data" / "houses.npz", x=inputs, price=inputs.sum(1))
    return {}


def for_export(folder: Path) -> dict[str, Any]:
    digits = Digits()
    pixels = digits.load(folder / "data").test.pixels[:2]  # type: ignore[attr-defined]
    return {"pixels": pixels, "images": digits.normalize(pixels)}


PREPARED: dict[str, Callable[[Path], dict[str, Any]]] = {
    "README.md": for_export,
    "data.md": for_data,
    "export.md": for_export,
}
"""Page -> what makes the files and names that its blocks take as given."""


def export_untrained(recipe: Recipe, path: Path) -> None:
    """Write a network that has not been trained."""
    dimensions = recipe.dataset.dimensions
    assert isinstance(dimensions, Dimensions)
    with torch.random.fork_rng():
        weights = recipe.model.build_for(dimensions).state_dict()
    save(path, recipe, weights, dimensions=dimensions)


def run_python(block: Block, scope: dict[str, Any], folder: Path) -> None:
    """Run a program, and check what it defines."""
    text = block.text
    if PLACEHOLDER in text:
        text = text.replace(PLACEHOLDER, best_fingerprint(folder))
    if "sys.argv[1]" in text:  # it takes the path of an exported network
        if isinstance(recipe := scope.get("recipe"), Recipe):
            export_untrained(recipe, folder / "exported.safetensors")
            sys.argv[1:] = ["exported.safetensors"]
        else:
            sys.argv[1:] = [f"exported/{best_fingerprint(folder)}.safetensors"]
    before = dict(scope)
    (folder / block.file).write_text(text, encoding="utf-8")
    with redirect_stdout(StringIO()):
        exec(compile(text, str(folder / block.file), "exec"), scope)
    for name, value in scope.items():
        if value is before.get(name):
            continue
        if isinstance(value, type) and issubclass(value, Scale) and value.__module__ == __name__:
            require_scale_contract(value(), TERNARY)
        if isinstance(value, Recipe):
            assert fingerprint(value)
    if re.search("^SWEEP = ", text, re.MULTILINE):
        cells = load_sweep(block.file).cells
        check_without_data(cells)
        if block.page.name == "README.md":
            for cell in firsts(cells):
                train([cell], folder)
    if re.search("^STUDY = ", text, re.MULTILINE):
        load_study(block.file).require_valid()


LASTS = ("run", "search", "ui")
"""Commands that train or serve, so that a test waits for them."""
RUN_ONCE = ("sweeps report digits",)
"""Commands that several pages show, of which nothing on these pages depends."""
has_run: set[str] = set()


def run_commands(block: Block, folder: Path, command: Command) -> str:
    """Run the commands of a block that do not take long; returns what they printed."""
    output = ""
    for each in block.commands:
        if each.is_long:
            continue
        words = shlex.split(each.text)
        assert words[0] == "sweeps", f"{block}: {each.text} is no command of this project"
        assert words[1] not in LASTS, f"{block}: {each.text}: must say how many minutes it takes"
        if each.text in RUN_ONCE and each.text in has_run:
            continue
        has_run.add(each.text)
        done = command(folder, *words[1:])
        incomplete = done.returncode == EXIT_INCOMPLETE and not done.stderr
        incomplete = incomplete and words[1] in ("status", "watch")
        assert incomplete or done.returncode == 0, f"{block}: {each.text}: {done.stderr}"
        output += done.stdout
    return output


def is_made(block: Block) -> bool:
    """Whether the fixture has run what makes data, or another test trains the sweep."""
    return block.page == YOUR_OWN and "TrainingRun" not in block.text


RUN = [page for page in PAGES if any(b.language in ("python", "sh") for b in blocks(page))]


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(page: Path, folder: Path, quick_command: Command) -> None:
    scope: dict[str, Any] = {"__name__": __name__}
    scope |= PREPARED.get(page.name, nothing)(folder)
    output = ""
    for block in blocks(page):
        if block.language == "sh":
            output = run_commands(block, folder, quick_command)
        elif block.language == "python" and not block.is_long and not is_made(block):
            if block.needs is None or find_spec(block.needs) is not None:
                run_python(block, scope, folder)
        elif block.language == "text" and output and page == YOUR_OWN:
            assert block.text in output
    assert os.getcwd() == str(folder)
