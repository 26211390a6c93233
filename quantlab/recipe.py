"""Recipe: everything that determines a trial's result, and nothing else."""

from dataclasses import dataclass, field

from quantlab.datasets import DatasetSpec
from quantlab.distillation import Distillation
from quantlab.errors import ConfigurationError, brief
from quantlab.initial_weights import InitialWeights
from quantlab.models import ModelSpec
from quantlab.optimizer_spec import OptimizerSpec, ParameterGroup
from quantlab.plain_values import require_count, require_instance
from quantlab.settings.learning_rate import require_positive_rate
from quantlab.settings.moving_average import MovingAverage
from quantlab.settings.overriding import override
from quantlab.settings.quantization import Averaging, Quantization, WeightGroup, pull_at
from quantlab.settings.suggestions import such_as
from quantlab.tasks import Task
from quantlab.tasks.checked import require_metrics
from quantlab.tasks.classification import Classification

__all__ = [
    "Averaging",
    "Distillation",
    "MovingAverage",
    "OptimizerSpec",
    "ParameterGroup",
    "Quantization",
    "Recipe",
    "WeightGroup",
    "override",
    "pull_at",
]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The complete description of one training run.

    It does not contain the device, the number of workers, paths or the log level. These do not
    determine the result.
    """

    model: ModelSpec
    dataset: DatasetSpec
    optimizer: OptimizerSpec
    quantization: Quantization | None = None
    """How weights are quantized; None to train the network in full precision."""
    epochs: int
    """Number of epochs of the QUANTIZE stage, >= 1. In full precision there is no other stage."""
    batchnorm_epochs: int = 0
    """Number of epochs after hard quantization, in which the parameters that are not quantized are
    trained."""
    batch_size: int = 128
    """Number of images per gradient step, >= 1. The last batch of a pass may be smaller."""
    seed: int = 0
    """Seed of the initial weights, the data order and the augmentation, >= 0."""
    initial_weights: InitialWeights | None = None
    """Weights that training starts from; None for random weights drawn with `seed`."""
    select: str = "last"
    """Which network is evaluated and stored in the end: ``"last"`` for that of the last epoch, or
    ``"best"`` for that of the epoch with the highest accuracy on the validation images, the first
    of several. The accuracy is that of hard weights, so that the network is quantized in the end
    (Mirror Descent View for Neural Network Quantization, B.4). The epochs of both stages count."""
    batchnorm_shards: int = 1
    """Number of equal parts of a batch, each of which batch normalization normalizes by its own
    statistics, from 1 to `batch_size`; 1 for the statistics of the whole batch. It does not depend
    on the number of processes or GPUs that train the network together. With 8, one process computes
    what 8 processes without synchronized statistics do."""
    accumulation: int = 1
    """Number of equal parts of a batch whose gradients are computed one after another and added up,
    from 1 to `batch_size`. Without batch normalization, the result is that of the whole batch, up
    to rounding; with it, that of as many `batchnorm_shards`, which must then be 1."""

    task: Task = field(default_factory=Classification)
    """The loss that is minimized, and the metrics that the network is measured by."""
    steps_per_epoch: int | None = None
    """Number N of gradient steps of an epoch, >= 1; None for one pass over the training images.
    With N, epochs are sections of a stream of passes: every image occurs once in a pass, the order
    of a pass follows from the seed and its number, and epoch e has the images from e N batch_size
    on. All batches are full; one that contains the end of a pass may contain an image twice. What
    is given in epochs, such as schedules, and what is done after every epoch, such as the
    evaluation on validation images, follows."""
    distillation: Distillation | None = None
    """A teacher, whose outputs are a part of the loss; None for the loss of `task` alone."""
    moving_average: MovingAverage | None = None
    """Moving average of the weights, which is evaluated, selected and stored instead of them; None
    for the weights themselves."""

    def __post_init__(self) -> None:
        for name, kind in _PARTS.items():
            value = getattr(self, name)
            if not (isinstance(value, kind) or (value is None and name == "quantization")):
                require_instance(self, name, kind, such_as(name, value))
        require_metrics(self.task)
        if self.initial_weights is not None:
            require_instance(self, "initial_weights", InitialWeights)
        if self.distillation is not None:
            require_instance(self, "distillation", Distillation)
            self.distillation.require_task(self.task)
        require_count(self, "epochs", 1)
        require_count(self, "batchnorm_epochs", 0)
        require_count(self, "batch_size", 1)
        if self.steps_per_epoch is not None:
            require_count(self, "steps_per_epoch", 1)
        require_count(self, "seed", 0)
        for name in ("batchnorm_shards", "accumulation"):
            require_count(self, name, 1)
            if getattr(self, name) > self.batch_size:
                raise ConfigurationError(
                    f"Recipe.{name} = {getattr(self, name)}: must be at most "
                    f"Recipe.batch_size = {self.batch_size}, so that no part of a batch is empty"
                )
        if min(self.accumulation, self.batchnorm_shards) > 1:
            raise ConfigurationError(
                f"Recipe.batchnorm_shards = {self.batchnorm_shards}: must be 1 if "
                f"Recipe.accumulation = {self.accumulation}, whose parts are shards themselves"
            )
        if self.select not in ("last", "best"):
            raise ConfigurationError(
                f"Recipe.select = {brief(self.select)}: must be 'last' or 'best'"
            )
        if self.select == "best" and not self.dataset.has_validation_images:
            raise ConfigurationError(
                "Recipe.select = 'best': must be 'last', because "
                f"{type(self.dataset).__name__}.validation_images is 0; hold out validation images "
                "to choose the epoch"
            )
        require_positive_rate(self.optimizer.learning_rate, self.epochs + self.batchnorm_epochs)
        averaging = self.quantization and self.quantization.averaging
        if averaging and averaging.start_epoch >= self.epochs:
            raise ConfigurationError(
                f"Averaging.start_epoch = {averaging.start_epoch}: must be less than Recipe.epochs "
                f"= {self.epochs}, otherwise no iterate is averaged"
            )
        if self.moving_average is not None:
            require_instance(self, "moving_average", MovingAverage)
            self._require_one_average(self.moving_average)
        if self.quantization is None and self.batchnorm_epochs:
            raise ConfigurationError(
                f"Recipe.batchnorm_epochs = {self.batchnorm_epochs}: must be 0 if "
                "Recipe.quantization is None, because no weights are frozen in full precision"
            )

    def _require_one_average(self, average: MovingAverage) -> None:
        if average.start_epoch >= self.epochs:
            raise ConfigurationError(
                f"MovingAverage.start_epoch = {average.start_epoch}: must be less than "
                f"Recipe.epochs = {self.epochs}, otherwise nothing is averaged"
            )
        if self.quantization is not None and self.quantization.averaging is not None:
            raise ConfigurationError(
                "Recipe.moving_average: must be None with Quantization.averaging, which is another "
                "average of the weights; choose one of them"
            )


_PARTS = {
    "model": ModelSpec,
    "dataset": DatasetSpec,
    "optimizer": OptimizerSpec,
    "quantization": Quantization,
    "task": Task,
}
