"""The sources that the arguments of `sweeps report` name."""

import argparse
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from analysis.reading import is_table
from quantlab import ConfigurationError
from sweeps.cli.chosen import load_chosen_or_study, refuse_selection
from sweeps.cli.naming.name_in_file import split
from sweeps.joining.of_storage import sweeps_in
from sweeps.joining.source import Source, SweepSource, TableSource
from sweeps.loading import named_studies, named_sweeps
from sweeps.selection.part_of_sweep import report_name
from sweeps.storage.folder import Storage
from sweeps.study import StudySpec

_TAG = re.compile(r"\w[\w .-]*")


@dataclass
class NamedSources:
    """What the arguments of a command line name."""

    sources: list[Source] = field(default_factory=list)
    short_names: list[str] = field(default_factory=list)
    """A name of each argument, of which the name of the report is made."""
    places: list[str] = field(default_factory=list)
    """The absolute path of each argument that is one, or the name of the sweep."""
    is_ambiguous: bool = False
    """Whether other arguments may have the same short names: a table or folder elsewhere, or one
    argument that is no plain sweep, whose report would be in the folder of that on a sweep."""
    notes: list[str] = field(default_factory=list)
    """A sentence on each sweep that is left out."""


def is_plain(argument: str) -> bool:
    """Return whether an argument is a sweep, study or table without a tag."""
    tag, name = _tagged(argument)
    return not tag and not _is_folder(name)


def _tagged(argument: str) -> tuple[str, str]:
    """Return the tag of an argument, which may be empty, and what it names.

    Raises:
        ConfigurationError: the tag has other characters than those of a name.
    """
    tag, equals, name = argument.partition("=")
    if not equals or Path(argument).exists():
        return "", argument
    if not _TAG.fullmatch(tag) or not name:
        raise ConfigurationError(
            f"{argument}: must be a sweep, a file or a folder, or one with a tag before it, such "
            "as before=digits; a tag has letters, digits, spaces and . _ -"
        )
    return tag, name


def _is_folder(name: str) -> bool:
    """Return whether an argument is a folder of results; a sweep of this name comes first."""
    return name not in (*named_sweeps(), *named_studies()) and Path(name).is_dir()


def named_sources(options: argparse.Namespace) -> NamedSources:
    """Return the sources that the arguments ``sources`` of a command line name.

    Args:
        options: the parsed command line, with the options of `selection_options`; ``--only`` is
            left to the joined trials.

    Raises:
        ConfigurationError: there is no such source, a study is among them, or an option does not
            apply to one of them.
    """
    found = NamedSources()
    for argument in options.sources:
        tag, name = _tagged(argument)
        name, in_file = split(name)
        named = {"sweep": name, "name_in_file": in_file, "only": []}
        own = argparse.Namespace(**{**vars(options), **named})
        if is_table(name):
            refuse_selection(own, "a table of trials", ("seeds", "set"))
            found.sources.append(TableSource(Path(name), tag))
            short = Path(name).stem
        elif _is_folder(name):
            refuse_selection(own, "a folder of results", ("seeds", "set"))
            sweeps, notes = sweeps_in(Path(name), tag)
            found.sources += sweeps
            found.notes += notes
            short = Path(name).resolve().name
        else:
            spec = load_chosen_or_study(own, of_both="sweep")  # studies are not joined
            if isinstance(spec, StudySpec):
                raise ConfigurationError(
                    f"{argument}: is a study, which is not joined with others; report on it alone"
                )
            found.sources.append(SweepSource(spec, Storage(options.storage), tag=tag))
            short = report_name(spec)
        found.short_names.append(tag or short)
        is_path = is_table(name) or _is_folder(name)
        is_file = is_path or name.endswith(".py")
        found.places.append(os.path.abspath(name) if is_file else name)
        found.is_ambiguous |= is_path and os.path.dirname(os.path.abspath(name)) != os.getcwd()
        found.is_ambiguous |= len(options.sources) == 1 and (is_path or bool(tag))
    return found
