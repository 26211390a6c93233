"""Classes and functions of the release, which are identified by their names.

Other classes in the package, which users have added, are identified by their source (see
`source_identity`). If a definition moves to another module, move its name here as well; its
identity then stays the same.
"""

RELEASE = {
    "quantlab.backward_maps.base": "BackwardMap Factor StraightThrough require_one_latent",
    "quantlab.backward_maps.contract": ("require_backward_contract require_positive_sharpness"),
    "quantlab.backward_maps.factors": (
        "BiReal ClippedIdentity InsideLevels LevelMagnitude ReSTE SignSwishDerivative"
    ),
    "quantlab.backward_maps.jacobian": "Jacobian SoftmaxShortcut",
    "quantlab.canonical": (
        "canonical canonical_json canonical_key configuration_id default_of fingerprint "
        "flatten flatten_canonical name_by_source"
    ),
    "quantlab.datasets.arrays": "ArrayExamples Arrays",
    "quantlab.datasets.augmentation": "CropFlip",
    "quantlab.datasets.base": "DatasetSpec ImageSet Splits",
    "quantlab.datasets.cifar": "CIFAR10 CIFAR100",
    "quantlab.datasets.content": "content_of what_is_not_hashed",
    "quantlab.datasets.digits": "Digits",
    "quantlab.datasets.gathered": "GatheredDataset Movable",
    "quantlab.datasets.image_folder": "ImageFolder",
    "quantlab.datasets.imagenet": "ImageFiles ImageNet",
    "quantlab.datasets.images.class_folders": "class_names labelled_files",
    "quantlab.datasets.images.decoding": "read_image",
    "quantlab.datasets.images.spec": "ImageDatasetSpec",
    "quantlab.datasets.in_memory": "Images InMemoryDataset",
    "quantlab.datasets.loading.array_files": (
        "file_of is_large read_array require_array_name rows_at_once"
    ),
    "quantlab.datasets.loading.checks": (
        "as_targets naming_errors out_of_range require_batch require_finite require_in_range "
        "require_number_of"
    ),
    "quantlab.datasets.loading.digits": (
        "are_kept moments normalized require_digits rounding varies"
    ),
    "quantlab.datasets.loading.files": "files_under require_relative versions_of",
    "quantlab.datasets.loading.global_generators": "kept_generators seed_generators",
    "quantlab.datasets.loading.loader": "loaded_batches positions_of_batches",
    "quantlab.datasets.loading.normalization": "Normalization require_mean_and_std",
    "quantlab.datasets.loading.sending": "ready_to_send sent",
    "quantlab.datasets.signals.mnist1d": "MNIST1D",
    "quantlab.datasets.text.byte_text": "ByteText",
    "quantlab.datasets.text.standard_library": "StandardLibrary",
    "quantlab.datasets.text.windows": "ByteDataset Windows mapped",
    "quantlab.datasets.tiny_imagenet": "TinyImageNet",
    "quantlab.datasets.torch_dataset": "TorchDataset TorchExamples",
    "quantlab.distillation.settings": "Distillation",
    "quantlab.distillation.teacher": "Teacher loaded_teacher",
    "quantlab.distillation.teachers": "Teachers",
    "quantlab.distributed.batch_norm": "SharedBatchNorm share_batch_norm",
    "quantlab.distributed.data_parallel": "Replicas",
    "quantlab.distributed.gradient_sum": "GradientSum require_equal",
    "quantlab.distributed.shared_batch": "SharedBatch own_batches require_shares",
    "quantlab.errors": (
        "ConfigurationError CutShortError ElsewhereError LostProcessError "
        "MemoryExhaustedError NonFiniteLossError brief described first_line in_full "
        "naming_exhausted_memory one_line suggestion"
    ),
    "quantlab.execution": "Execution keep_freed_memory parse_execution",
    "quantlab.export.coded_tensor": "CodedTensor coded",
    "quantlab.export.layout": "Layout QuantizedEntry first_names",
    "quantlab.export.model_spec": "built model_spec_of",
    "quantlab.export.module_file": "save_module",
    "quantlab.export.network": "finished_network load network_file network_with read save",
    "quantlab.export.network_file": "NetworkFile",
    "quantlab.export.onnx_file": "onnx_bytes",
    "quantlab.export.packing": "codes_per_byte pack packed_bytes unpack",
    "quantlab.export.recipe_json": "Part read_part",
    "quantlab.export.torchao_tensors": "to_torchao",
    "quantlab.export.trial": "TrainedNetwork load_trial",
    "quantlab.identity.code_origin": (
        "home_of is_added_module is_installed is_users is_users_module public_name release_name"
    ),
    "quantlab.identity.module_source": (
        "covers definitions imported_by is_of_file library_import making statements tree_of"
    ),
    "quantlab.identity.normal_form": "names_of normal_form plain references",
    "quantlab.identity.source_identity": "Reach UntraceableError",
    "quantlab.identity.value_text": "ValueText fields_of inner_of is_code",
    "quantlab.files.partial": "partial_of replacing",
    "quantlab.initial_weights": (
        "InitialWeights RandomLevels TimmWeights TorchvisionWeights TrialWeights WeightsFile "
        "no_other_trials"
    ),
    "quantlab.kernels.grouped_convolution": (
        "GroupedConvolution Tiles grouped_convolution is_fitting"
    ),
    "quantlab.kernels.grouped_convolution_kernels": "convolve weight_gradient",
    "quantlab.mirror_maps.base": "MirrorMap",
    "quantlab.mirror_maps.shifted_tanh": "ShiftedTanh",
    "quantlab.mirror_maps.softmax": "Softmax",
    "quantlab.models.base": "ModelSpec NormalizedModel ScaledLayers global_average",
    "quantlab.models.convnet": "ConvNet SignalConvNet",
    "quantlab.models.external.any_module": "AnyModule imported",
    "quantlab.models.external.timm_model": "TimmModel imported_timm",
    "quantlab.models.he_scales": "HeScales",
    "quantlab.models.learned_scales": "LearnedScales",
    "quantlab.models.mlp": "MLP",
    "quantlab.models.mobilenet_v2": "MobileNetV2",
    "quantlab.models.resnet": "ResNet ResNet18",
    "quantlab.models.state_dicts": "fit_weights load_weights",
    "quantlab.models.torchvision_model": "TorchvisionModel",
    "quantlab.models.transformers.block": "Block Transformer dropping initialize",
    "quantlab.models.transformers.gpt": "GPT",
    "quantlab.models.transformers.vit": "ViT",
    "quantlab.models.vgg": "VGG16 VGG9 VGGBC",
    "quantlab.models.weights": (
        "called_layers full_precision_weights group_of_weights layer_of quantized_weights "
        "type_of_layer weight_layers"
    ),
    "quantlab.optim.bop": "Bop",
    "quantlab.optim.bits": "bits_by_weight bits_of mean_bits",
    "quantlab.optim.buffers": "QuantizedWeights flattened grouped views_of",
    "quantlab.optim.evaluation": "Evaluation Proximal",
    "quantlab.optim.flips": "Flips flips_since levels_of",
    "quantlab.optim.histogram": "WeightHistogram weight_histogram",
    "quantlab.optim.latent_optimizer": "LatentOptimizer",
    "quantlab.optim.moved": "Moved flat_moved shaped_moved",
    "quantlab.optim.of_recipe": (
        "learning_rate_of optimizer_of plain_optimizer require_maps require_optimizer_fits "
        "step_scale_of"
    ),
    "quantlab.optim.placed": "KeptLevels Placed WeightMap",
    "quantlab.optim.standalone.base_groups": "BaseGroups Kind options_of",
    "quantlab.optim.standalone.chosen_weights": (
        "ChosenWeight chosen_by_groups chosen_in_model divided require_all_there "
        "require_arguments require_no_entries require_still_there unwrapped"
    ),
    "quantlab.optim.standalone.parameter_state": (
        "base_entries base_states load_own_tensors of_parameters own_tensors"
    ),
    "quantlab.optim.standalone.prox_optimizer": "ProxOptimizer",
    "quantlab.optim.standalone.torch_parameters": "named read require_quantizable",
    "quantlab.optim.standalone.watched_weights": "WatchedWeights",
    "quantlab.optim.torch_groups": (
        "built_with_groups is_scaled require_once scaled_rates torch_groups"
    ),
    "quantlab.optim.weight_measures": "WeightMeasures histogram_of latent_distance weight_measures",
    "quantlab.optimizer_spec": (
        "OptimizerSpec ParameterGroup factor_of group_of_parameters set_learning_rate uncompiled"
    ),
    "quantlab.packs.averages": "AveragedShare StackedAverage",
    "quantlab.packs.chunk": "Chunk",
    "quantlab.packs.compatibility": "pack_key require_compatible",
    "quantlab.packs.evaluation": "stacked_metric",
    "quantlab.packs.graph": "record_on",
    "quantlab.packs.maps": (
        "MappedRows StackedBackward StackedMap StackedPull after as_column carries_a_column "
        "stacked_backwards stacked_maps stacked_placements stacked_pulls takes_a_column"
    ),
    "quantlab.packs.member": "StackMember neighbours runs",
    "quantlab.packs.network": "StackedNetwork Stacking",
    "quantlab.packs.optimizer": "StackedOptimizer",
    "quantlab.packs.rows.base_state": "stacked_state",
    "quantlab.packs.rows.clipping": "clip_rows",
    "quantlab.packs.rows.moving_average": "StackedMovingAverage",
    "quantlab.packs.run": "PackEvent PackedRun",
    "quantlab.packs.stack": "Stack",
    "quantlab.packs.stacking": "choose_stacking",
    "quantlab.papers.bop": "optimizer quantization",
    "quantlab.papers.mirror_descent": ("Algorithm Annealing dataset network optimizer recipe"),
    "quantlab.papers.mirror_descent_imagenet": "Ablation imagenet",
    "quantlab.papers.mirror_descent_settings": "ImageNetSetting Setting published_setting",
    "quantlab.papers.newer_methods": "FreeNumber NewerMethod",
    "quantlab.papers.proxconnect": (
        "Method cifar10 cifar10_end_to_end cifar10_fine_tuning cifar10_full_precision "
        "imagenet imagenet_end_to_end imagenet_fine_tuning"
    ),
    "quantlab.papers.quantized_nets": "RoundingMethod batch_size dataset optimizer recipe",
    "quantlab.papers.scaled_methods": "Annealed ScaledMethod",
    "quantlab.papers.taxonomy": "TaxonomyRow binary_relax recipe_of",
    "quantlab.plain_values": (
        "finite_number floats is_of make_plain plain require_bool require_count require_instance "
        "require_items require_number require_options"
    ),
    "quantlab.probing.epoch_time": "EpochTime measure_epoch",
    "quantlab.probing.gpu_sharing": "Pace SharedPaces Sharer Team measure_sharing",
    "quantlab.probing.pack_sizes": "PackTimes measure_packs seconds_a_step",
    "quantlab.probing.untrained": "without_trained_weights",
    "quantlab.quantization_sets": "constant is_symmetric nearest_level quantization_set set_name",
    "quantlab.quantizers.base": "Quantizer at_least_float32 finite_sharpness",
    "quantlab.quantizers.binary_relax": "BinaryRelax",
    "quantlab.quantizers.contract": "require_contract require_image trial_latents",
    "quantlab.quantizers.growth": "Geometric Growth Power Saturating saturated takes_a_clock",
    "quantlab.quantizers.knots": "Half Knots",
    "quantlab.quantizers.mixture": "Averaged RandomChoice",
    "quantlab.quantizers.nearest": "Nearest",
    "quantlab.quantizers.piecewise_linear": "PiecewiseLinear piecewise_linear",
    "quantlab.quantizers.sign_swish": "SignSwish sign_swish_derivative",
    "quantlab.quantizers.stochastic_rounding": "StochasticRounding",
    "quantlab.quantizers.tanh": "Tanh",
    "quantlab.quantizers.unbounded.grid": "GridRounding NearestOnGrid StochasticOnGrid",
    "quantlab.random_numbers": "RandomNumbers part_seed",
    "quantlab.recipe": "Recipe",
    "quantlab.remembering": "are_equal remembering",
    "quantlab.scales.absolute_mean": "AbsoluteMean",
    "quantlab.scales.base": "Scale",
    "quantlab.scales.contract": "require_scale_contract",
    "quantlab.scales.fan_in": "FanIn",
    "quantlab.scales.largest": "Largest",
    "quantlab.scales.learned_step": "LearnedStep",
    "quantlab.scales.least_squares": "LeastSquares",
    "quantlab.scales.placement": "Placement Proportional Table TwoSided between steeper",
    "quantlab.scales.ternary_weight": "TernaryWeight",
    "quantlab.scales.thresholded": "Thresholded",
    "quantlab.scales.trained_ternary": "TrainedTernary",
    "quantlab.schedules.base": "Schedule set_nonnegative value_at",
    "quantlab.schedules.constant": "Constant constant_or set_schedule",
    "quantlab.schedules.cosine": "Cosine",
    "quantlab.schedules.inverse_pi": "InversePi",
    "quantlab.schedules.learning_rates.one_cycle": "OneCycle",
    "quantlab.schedules.learning_rates.polynomial": "Polynomial",
    "quantlab.schedules.learning_rates.power_sums": "sum_of_powers",
    "quantlab.schedules.linear": "Linear",
    "quantlab.schedules.power_decay": "PowerDecay",
    "quantlab.schedules.product": "Product",
    "quantlab.schedules.proxquant_epochs": "ProxQuantEpochs",
    "quantlab.schedules.ramp": "Ramp SigmoidRamp",
    "quantlab.schedules.sequential": "Sequential",
    "quantlab.schedules.staircase": "Staircase",
    "quantlab.schedules.step_decay": "StepDecay",
    "quantlab.taxonomy.probe": "Move Probe",
    "quantlab.taxonomy.properties": "LevelsFrom Properties properties_of",
    "quantlab.taxonomy.shifts": "Shifts Trend shifts_of trend_of",
    "quantlab.settings.learning_rate": "require_positive_parts require_positive_rate",
    "quantlab.settings.moving_average": "MovingAverage",
    "quantlab.settings.overriding": "override",
    "quantlab.settings.quantization": "Averaging Quantization WeightGroup pull_at",
    "quantlab.settings.step_functions": (
        "AtStep AveragingWeight NoAnnealing PullAtStep averaging_of pull_of require_end "
        "require_pull sharpness_of"
    ),
    "quantlab.settings.suggestions": "such_as",
    "quantlab.tasks.base": "Fraction LowerIsBetter Metric Task described_outputs",
    "quantlab.tasks.checked": (
        "each_distance each_loss each_value mean_loss of_mean require_metrics require_task"
    ),
    "quantlab.tasks.classification": "Classification TopAccuracy",
    "quantlab.tasks.dimensions": "Dimensions",
    "quantlab.tasks.divergence": "softened_divergence widened",
    "quantlab.tasks.language_modelling": (
        "BitsPerSymbol LanguageModelling Perplexity SymbolAccuracy"
    ),
    "quantlab.tasks.regression": "MeanAbsoluteError MeanSquaredError Regression",
    "quantlab.training.accumulation": "accumulate require_one_process",
    "quantlab.training.batch_statistics": (
        "BatchStatistics has_batch_of_one parts_of_batches require_one_image_fits statistics_note"
    ),
    "quantlab.training.checkpoint": (
        "load_checkpoint load_last_good own_copy previous_checkpoint remove_checkpoints "
        "require_intact_archive save_atomically save_checkpoint set_aside"
    ),
    "quantlab.training.epoch": "EpochInProgress images_of steps_of",
    "quantlab.training.evaluation": "accuracy evaluate",
    "quantlab.training.following": "follow",
    "quantlab.training.loss_tally": "LossTally TalliedLosses",
    "quantlab.training.networks.averaged": "AveragedNetwork",
    "quantlab.training.networks.selection": "BestNetwork",
    "quantlab.training.records": "EpochRecord Outcome Stage measured",
    "quantlab.training.rehearsal": "known_steps rehearse rehearse_schedules require_effective",
    "quantlab.training.run": "TrainingRun",
    "quantlab.training.state": "TrainingState",
    "quantlab.update_rules": "Point UpdateRule",
}
"""Modules with their public classes and functions."""
