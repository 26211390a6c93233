"""Change settings of the trials of a sweep, which makes them other trials."""

import ast
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from quantlab import ConfigurationError, Recipe, configuration_id, fingerprint, override
from quantlab.errors import described
from quantlab.initial_weights import TrialWeights
from quantlab.models import ModelSpec
from quantlab.models.external.any_module import imported
from quantlab.plain_values import plain
from sweeps.spec import Block, Cell


@dataclass(frozen=True)
class Setting:
    """A field of recipes, and its new value."""

    text: str
    """The setting as it was given, such as ``epochs=5``."""
    path: str
    """Dotted path of the field."""
    value: object
    difference: str
    """The setting in one form, whatever spaces and notation were given."""


_ABSENT = object()
"""What a value has in the place of a field that it does not have."""
_NAME = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"


def parse_setting(text: str) -> Setting:
    """Parse a setting.

    Args:
        text: the path of a field, ``=`` and a value. The value is a number, None, True, False, or a
            list, tuple or mapping of these and of texts in quotes, as in Python; or a module and a
            name in it, such as ``torch.optim:Adam``. Anything else is text.

    Raises:
        ConfigurationError: the text has another form, sets the seed, or names something that is
            not there.
    """
    path, _, value = (part.strip() for part in text.partition("="))
    if not value or not re.fullmatch(r"\w+(\.[\w-]+)*", path):
        raise ConfigurationError(
            f"--set {text}: must be the path of a field of the recipe and its value, such as "
            "epochs=5 or optimizer.options.momentum=0.9"
        )
    if path == "seed":
        raise ConfigurationError(f"--set {text}: must not set the seed; use --seeds {value}")
    if re.fullmatch(f"{_NAME}:{_NAME}", value):
        return Setting(text, path, imported(value, f"--set {path}"), f"{path}={value}")
    found: object = value
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        found = plain(ast.literal_eval(value))
    return Setting(text, path, found, f"{path}={found}")


def with_settings(
    trials: Sequence[Cell],
    others: Iterable[Cell],
    settings: Sequence[Setting],
    *,
    blocks: Iterable[Block],
    name: str,
) -> dict[str, Cell]:
    """Return trials with other settings.

    If one starts from, or learns from, another trial of the sweep, then its changed version does so
    from the changed version of that trial.

    Args:
        trials: the trials to change.
        others: trials whose networks they need. Of these, those that do not have the field of a
            setting keep theirs.
        settings: what is changed in each recipe, one after the other.
        blocks: the blocks of the trials.
        name: name of the sweep that the changed trials are.

    Returns:
        The changed trials, those of `others` included, by the fingerprint of the original.

    Raises:
        ConfigurationError: a trial does not have the field, does not allow the value, or has an
            axis that determines the field; or two trials become the same.
    """
    change = _Change(
        originals={cell.fingerprint: cell for cell in (*others, *trials)},
        chosen={cell.fingerprint for cell in trials},
        settings=settings,
        blocks={block.label: block for block in blocks},
        name=name,
    )
    return {cell: change.changed(cell) for cell in change.originals}


def blocks_of(
    blocks: Iterable[Block], originals: Iterable[Cell], changed: Mapping[str, Cell]
) -> tuple[Block, ...]:
    """Return blocks of which further seeds start from, and learn from, changed trials.

    Args:
        blocks: the blocks.
        originals: trials before the settings.
        changed: result of `with_settings`, with all of them.
    """
    recipes = {cell.fingerprint: cell.recipe for cell in changed.values()}
    examples: dict[str, Cell] = {}
    for cell in originals:
        examples.setdefault(cell.block, cell)

    def network(before: str | None, now: str | None, of_block: Recipe | None) -> Recipe | None:
        if of_block is None or now is None:  # a setting has replaced it
            return None
        return recipes.get(now, of_block if now == before else None)

    found = []
    for block in blocks:
        if (before := examples.get(block.label)) is not None:
            now = changed[before.fingerprint]
            start = network(before.starts_from, now.starts_from, block.starts_from)
            teacher = network(before.taught_by, now.taught_by, block.taught_by)
            block = replace(block, starts_from=start, taught_by=teacher)
        found.append(block)
    return tuple(found)


class _Change:
    """The changed trials, each of which is made after those that it needs."""

    def __init__(
        self,
        originals: Mapping[str, Cell],
        chosen: Collection[str],
        settings: Sequence[Setting],
        blocks: Mapping[str, Block],
        name: str,
    ) -> None:
        self.originals = originals
        self._chosen, self._settings, self._blocks, self._name = chosen, settings, blocks, name
        self._done: dict[str, Cell] = {}
        self._made_from: dict[str, Cell] = {}
        """Fingerprint of a changed trial -> the original."""

    def changed(self, original: str) -> Cell:
        """Return the changed version of a trial.

        Args:
            original: fingerprint of the trial.
        """
        if original not in self._done:
            self._done[original] = self._make(self.originals[original])
        return self._done[original]

    def _make(self, cell: Cell) -> Cell:
        block, recipe = self._blocks[cell.block], cell.recipe
        for setting in self._settings:
            try:
                recipe = _with_setting(recipe, setting, cell, block)
            except ConfigurationError:
                if cell.fingerprint in self._chosen:
                    raise
        parents = {one: self.changed(one) for one in cell.parents if one in self.originals}
        start, teacher = (parents.get(one or "") for one in (cell.starts_from, cell.taught_by))
        model = None if teacher is None else teacher.recipe.model
        configuration = _with_networks(
            recipe,
            cell.recipe,
            start=_in_configuration(start, block.starts_from),
            teacher=_in_configuration(teacher, block.taught_by),
            model=model,
        )
        recipe = _with_networks(
            recipe,
            cell.recipe,
            start=_in_configuration(start, None),
            teacher=_in_configuration(teacher, None),
            model=model,
        )
        made = replace(
            cell,
            sweep=self._name,
            recipe=recipe,
            fingerprint=fingerprint(recipe),
            configuration_id=configuration_id(configuration),
        )
        other = self._made_from.setdefault(made.fingerprint, cell)
        if other is not cell:
            texts = " ".join(f"--set {setting.text}" for setting in self._settings)
            raise ConfigurationError(
                f"{texts}: {other.name!r} and {cell.name!r} would be the same trial; choose one of "
                "them with --only"
            )
        return made


def _with_setting(recipe: Recipe, setting: Setting, cell: Cell, block: Block) -> Recipe:
    where = f"--set {setting.text}"
    for axis in block.axes:
        if f"{axis.path}.".startswith(f"{setting.path}."):
            raise ConfigurationError(
                f"{where}: the axis {axis.name!r} of block {block.label!r} sets {axis.path}; "
                f"choose its values with --only, such as {axis.name}={cell.coordinates[axis.name]}"
            )
        field = setting.path.removeprefix(f"{axis.path}.")
        if field != setting.path and _differ(axis.labelled.values(), field.split(".")):
            raise ConfigurationError(
                f"{where}: the values of the axis {axis.name!r} of block {block.label!r} set "
                f"{axis.path} with different {field}; choose them with --only, such as "
                f"{axis.name}={cell.coordinates[axis.name]}"
            )
    try:
        changed = override(recipe, setting.path, setting.value)
        fingerprint(changed)
    except Exception as error:  # the user's classes may raise anything
        what = error if isinstance(error, ConfigurationError) else described(error)
        raise ConfigurationError(
            f"{where}: {cell.name!r}: {what}; correct the value, or choose trials that allow it "
            "with --only"
        ) from error
    return changed


def _differ(values: Iterable[object], names: Sequence[str]) -> bool:
    """Whether a field differs among those of some values that have it.

    Args:
        values: the values of an axis.
        names: the path of the field within them.
    """
    found = []
    for value in values:
        for name in names:
            if isinstance(value, Mapping):
                value = value.get(name, _ABSENT)
            elif isinstance(value, tuple):
                is_place = name.isdecimal() and int(name) < len(value)
                value = value[int(name)] if is_place else _ABSENT
            else:
                value = getattr(value, name, _ABSENT)
        if value is not _ABSENT:
            found.append(value)
    return any(value != found[0] for value in found)


def _in_configuration(parent: Cell | None, of_block: Recipe | None) -> str | None:
    """Return what stands for a network in the identity of a configuration; None to keep it.

    Args:
        parent: the changed trial that the network is of; None if it was not changed.
        of_block: recipe of these trials if each has the seed of the trial that needs it; None if
            the network is that of a certain trial.
    """
    if of_block is None:
        return None if parent is None else parent.fingerprint
    return configuration_id(of_block) if parent is None else parent.configuration_id


def _with_networks(
    recipe: Recipe,
    original: Recipe,
    *,
    start: str | None,
    teacher: str | None,
    model: ModelSpec | None,
) -> Recipe:
    """Return a recipe with the networks of other trials, unless a setting has replaced them.

    Args:
        recipe: the recipe.
        original: the recipe before the settings.
        start: the trial to start from; None to leave the initial weights.
        teacher: the trial that is the teacher; None to leave the teacher.
        model: the network of the teacher; None to leave it.
    """
    if start is not None and recipe.initial_weights == original.initial_weights:
        recipe = override(recipe, "initial_weights", TrialWeights(start))
    own, before = recipe.distillation, original.distillation
    if teacher is None or own is None or before is None or own.teacher != before.teacher:
        return recipe
    if model is not None and own.model is not None and own.model == before.model:
        own = replace(own, model=model)
    return override(recipe, "distillation", replace(own, teacher=TrialWeights(teacher)))
