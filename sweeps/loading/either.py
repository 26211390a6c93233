"""A sweep or a study, and the file of a user that defines one of them or both."""

import ast
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from quantlab.identity.code_origin import SOURCE
from sweeps.loading.files import defined, expanded, load_file, load_study, load_sweep, unknown
from sweeps.loading.names import named_studies, named_sweeps
from sweeps.spec import SweepSpec

if TYPE_CHECKING:
    from sweeps.study import StudySpec


@dataclass(frozen=True)
class UsersFile:
    """A file that was loaded, from which its sweep or its study can be taken."""

    path: str
    module: ModuleType

    def either(self, of_both: str = "study") -> "SweepSpec | StudySpec":
        """Return the sweep or the study.

        Args:
            of_both: which of them is meant if there are both: ``study``, ``sweep``, or the name of
                either; the study if neither has this name.

        Raises:
            ConfigurationError: there is neither, or it is invalid.
        """
        sweep = vars(self.module).get("SWEEP")
        is_sweep = isinstance(sweep, SweepSpec) and of_both in ("sweep", sweep.name)
        if "STUDY" in vars(self.module) and not is_sweep:
            from sweeps.study import StudySpec

            return defined(self.module, "study", self.path, "STUDY", StudySpec)
        return expanded(defined(self.module, "sweep", self.path, "SWEEP", SweepSpec))

    def name_of_other(self, spec: "SweepSpec | StudySpec") -> str:
        """Return the name of the other one if the file defines a sweep and a study.

        A file may also import the sweep that its study is about, which does not count.

        Args:
            spec: the one that is meant.
        """
        found = {name: vars(self.module).get(name) for name in ("SWEEP", "STUDY")}
        assigned = {
            node.id
            for node in ast.walk(ast.parse(vars(self.module)[SOURCE]))
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        others = (one for name, one in found.items() if one is not spec and name in assigned)
        return next((str(getattr(one, "name", "")) for one in others), "")


def load_users_file(path: str) -> UsersFile:
    """Load a file that ends in ``.py``, once for whatever of it is meant.

    Raises:
        ConfigurationError: the file does not exist, or raises an error.
    """
    return UsersFile(path, load_file(Path(path), "sweep"))


def load_either(name_or_path: str, of_both: str = "study") -> "SweepSpec | StudySpec":
    """Load a sweep or a study.

    Args:
        name_or_path: see `load_sweep` and `load_study`.
        of_both: see `UsersFile.either`.

    Raises:
        ConfigurationError: see `load_sweep` and `load_study`.
    """
    if name_or_path in named_studies():
        return load_study(name_or_path)
    if name_or_path.endswith(".py"):
        return load_users_file(name_or_path).either(of_both)
    if name_or_path not in named_sweeps():
        both = [*named_sweeps(), *named_studies()]
        raise unknown("sweep", name_or_path, "sweeps and studies", both)
    return load_sweep(name_or_path)
