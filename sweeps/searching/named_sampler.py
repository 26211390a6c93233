"""NamedSampler: a sampler of Optuna whose errors name it, and not the space that has called it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from quantlab import ConfigurationError
from quantlab.errors import described, first_line
from sweeps.storage.optuna_database import DatabaseLostError
from sweeps.study import PartError


@contextmanager
def errors_from(part: str, study: str) -> Iterator[None]:
    """Turn any error of the code inside into a message that names a part of a study.

    Args:
        part: ``"sampler"`` or ``"pruner"``, with its class if that is known.
        study: name of the study.

    Raises:
        PartError: an error was raised; the message is one line.
        ConfigurationError: it was one of these.
    """
    try:
        yield
    except ConfigurationError:
        raise
    except optuna.exceptions.StorageInternalError as error:
        raise DatabaseLostError(
            f"study {study}: Optuna's storage failed ({first_line(error)}); all results are kept, "
            "so run the same command again to continue"
        ) from error
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise PartError(
            f"study {study}: the {part} failed: {described(error)}; all results are kept, so "
            "correct it and run the same command again to continue"
        ) from error


class NamedSampler(BaseSampler):
    """A sampler of Optuna whose errors name it.

    Optuna calls it when the user's space suggests a value, so that its errors come from there.
    """

    def __init__(self, sampler: BaseSampler, study: str) -> None:
        """Wrap a sampler.

        Args:
            sampler: one of Optuna's samplers.
            study: name of the study, for messages.
        """
        self._sampler = sampler
        self._study = study

    def _named(self) -> Any:
        return errors_from(f"sampler {type(self._sampler).__name__}", self._study)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the parameters that are sampled together."""
        with self._named():
            return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample the parameters that are sampled together."""
        with self._named():
            return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Sample another parameter."""
        with self._named():
            return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Prepare a configuration."""
        with self._named():
            self._sampler.before_trial(study, trial)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Note how a configuration has ended."""
        with self._named():
            self._sampler.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Draw other random numbers than a copy of this sampler."""
        self._sampler.reseed_rng()
