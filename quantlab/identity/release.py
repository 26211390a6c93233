"""Classes and functions of the release, which are identified by their names.

Other classes in the package, which users have added, are identified by their source (see
`source_identity`). If a definition moves to another module, move its name here as well; its
identity then stays the same.
"""

RELEASE = {
    "quantlab.training.batch_statistics": (
        "BatchStatistics has_last_batch_of_one require_one_image_fits statistics_note"
    ),
    "quantlab.optim.bits": "bits_by_weight full_precision_note mean_bits",
    "quantlab.canonical": (
        "canonical canonical_json configuration_id default_of fingerprint flatten"
    ),
    "quantlab.training.checkpoint": (
        "load_checkpoint load_last_good own_copy previous_checkpoint remove_checkpoints "
        "save_atomically save_checkpoint"
    ),
    "quantlab.packs.compatibility": "pack_key require_compatible",
    "quantlab.datasets.files": "read_image require_relative",
    "quantlab.datasets.augmentation": "CropFlip",
    "quantlab.datasets.base": "DatasetSpec Dimensions ImageSet Splits",
    "quantlab.datasets.cifar": "CIFAR10 CIFAR100",
    "quantlab.datasets.digits": "Digits",
    "quantlab.datasets.image_folder": "ImageFolder",
    "quantlab.datasets.imagenet": "ImageFiles ImageNet",
    "quantlab.datasets.in_memory": "Images InMemoryDataset",
    "quantlab.training.epoch": "EpochInProgress",
    "quantlab.errors": (
        "ConfigurationError LostProcessError MemoryExhaustedError NonFiniteLossError "
        "first_line naming_exhausted_memory"
    ),
    "quantlab.training.evaluation": "accuracy",
    "quantlab.execution": "Execution keep_freed_memory parse_execution",
    "quantlab.initial_weights": (
        "InitialWeights TorchvisionWeights TrialWeights WeightsFile no_other_trials"
    ),
    "quantlab.training.loss_tally": "LossTally TalliedLosses",
    "quantlab.models.base": "ModelSpec fit_weights global_average load_weights",
    "quantlab.models.convnet": "ConvNet",
    "quantlab.models.learned_scales": "LearnedScales",
    "quantlab.models.mlp": "MLP",
    "quantlab.models.resnet": "ResNet",
    "quantlab.models.torchvision_model": "TorchvisionModel",
    "quantlab.optim.prox_optimizer": "ProxOptimizer",
    "quantlab.optim.of_recipe": "optimizer_of plain_optimizer",
    "quantlab.probing.pack_sizes": "PackTimes measure_packs seconds_a_step",
    "quantlab.packs.run": "PackEvent PackedRun",
    "quantlab.papers.proxconnect": (
        "Method cifar10 cifar10_end_to_end cifar10_fine_tuning cifar10_full_precision "
        "imagenet imagenet_end_to_end imagenet_fine_tuning"
    ),
    "quantlab.quantization_sets": "nearest_level quantization_set set_name",
    "quantlab.quantizers.base": "Quantizer at_least_float32",
    "quantlab.quantizers.binary_relax": "BinaryRelax",
    "quantlab.quantizers.growth": "Geometric Growth Power Saturating takes_a_clock",
    "quantlab.quantizers.knots": "Half Knots",
    "quantlab.quantizers.mixture": "Averaged RandomChoice",
    "quantlab.quantizers.nearest": "Nearest",
    "quantlab.quantizers.piecewise_linear": "PiecewiseLinear piecewise_linear",
    "quantlab.quantizers.stochastic_rounding": "StochasticRounding",
    "quantlab.quantizers.tanh": "Tanh",
    "quantlab.random_numbers": "RandomNumbers part_seed",
    "quantlab.recipe": "Averaging OptimizerSpec Quantization Recipe WeightGroup override",
    "quantlab.training.records": "EpochRecord Outcome Stage",
    "quantlab.schedules": "Constant InversePi Linear ProxQuantEpochs Schedule StepDecay",
    "quantlab.probing.gpu_sharing": "Pace SharedPaces Sharer Team measure_sharing",
    "quantlab.packs.stack": "Stack",
    "quantlab.packs.averages": "AveragedShare StackedAverage",
    "quantlab.packs.network": "StackedNetwork Stacking",
    "quantlab.packs.member": "StackMember neighbours",
    "quantlab.packs.optimizer": "StackedOptimizer",
    "quantlab.packs.evaluation": "stacked_accuracies",
    "quantlab.packs.stacking": "choose_stacking",
    "quantlab.training.run": "TrainingRun",
    "quantlab.training.state": "TrainingState",
    "quantlab.update_rules": "Point UpdateRule",
    "quantlab.optim.histogram": "WeightHistogram weight_histogram",
    "quantlab.optim.buffers": "Moved QuantizedWeights flat_moved shaped_moved",
    "quantlab.models.weights": (
        "full_precision_weights group_of_weights quantized_weights weight_layers"
    ),
}
"""Modules with their public classes and functions."""
