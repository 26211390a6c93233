"""ProxOptimizer: a torch optimizer that trains quantized weights in anybody's training loop."""

import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from quantlab.errors import ConfigurationError
from quantlab.optim.bop import Bop
from quantlab.optim.buffers import grouped
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.optim.moved import shaped_moved
from quantlab.optim.of_recipe import require_maps, step_scale_of
from quantlab.optim.standalone.base_groups import BaseGroups, options_of
from quantlab.optim.standalone.chosen_weights import (
    ChosenWeight,
    chosen_by_groups,
    chosen_in_model,
    divided,
    require_all_there,
    require_arguments,
    require_no_entries,
    require_still_there,
    unwrapped,
)
from quantlab.optim.standalone.parameter_state import (
    base_entries,
    base_states,
    load_own_tensors,
    of_parameters,
    own_tensors,
)
from quantlab.optim.standalone.torch_parameters import named, read
from quantlab.optim.standalone.watched_weights import WatchedWeights
from quantlab.optim.torch_groups import SCALED
from quantlab.quantization_sets import nearest_level
from quantlab.recipe import Quantization
from quantlab.remembering import are_equal
from quantlab.schedules import StepFunction
from quantlab.settings.step_functions import averaging_of, pull_of, sharpness_of

_COUNTERS = ("num_steps", "averaged_weight")
"""Entries of the groups in a state dict, which count the steps."""


class ProxOptimizer(LatentOptimizer):
    """A torch optimizer of latent weights, for a training loop of one's own.

    It takes the place of the torch optimizer that it is given::

        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        optimizer = ProxOptimizer(
            model.parameters(), torch.optim.AdamW, quantization,
            model=model, steps_per_epoch=len(loader), lr=1e-3,
        )

    `param_groups` has the model's own parameters in the groups that the user has given, so that
    schedulers, GradScaler and clipping work as with torch's optimizers. The model has the weights
    at which the rule takes the gradient; `weights_at` sets others for a `with` block, and `harden`
    those of the finished network. docs/optimizer.md lists what it works with.
    """

    _is_built = False

    def __init__(
        self,
        params: ParamsT,
        algorithm: type[Optimizer],
        quantization: Quantization,
        *,
        steps_per_epoch: int,
        model: nn.Module | None = None,
        **options: Any,
    ) -> None:
        """Take over the quantized weights. Move the model, and load its weights, before.

        Args:
            params: parameters, named parameters or groups of them, as torch's optimizers take them.
                A group may have further entries: ``"quantized": True`` for a group of quantized
                weights, and with it ``"quantizer"``, ``"scale"`` and ``"sharpness"``, which replace
                those of the quantization.
            algorithm: torch optimizer that updates the latents and all other parameters.
            quantization: update rule, quantizer and schedules. `reestimate_batchnorm` has no
                effect.
            steps_per_epoch: number of gradient steps in an epoch of the schedules: with
                ``Linear(rho0)``, the sharpness grows by rho0 in so many steps.
            model: network in which the patterns of the quantization choose the weights; None if
                groups say that they are quantized.
            options: further arguments of the algorithm, such as ``lr``.

        Raises:
            ConfigurationError: if nothing is quantized, if a map violates its contract, or if a
                quantized weight is sharded or not dense.
        """
        require_arguments(algorithm, quantization, steps_per_epoch, model)
        groups, own = read(params)
        if model is None:
            chosen = chosen_by_groups(groups, own, quantization)
        else:
            chosen = chosen_in_model(model, quantization)
            require_no_entries(own)
        self.quantization = quantization
        self._steps_per_epoch = steps_per_epoch
        self._functions: list[tuple[Any, StepFunction]] = []
        """Functions of the sharpness with what they depend on."""
        self._algorithm = algorithm
        weights, others = divided(groups, chosen)
        require_all_there(weights, chosen.values())
        self._require_maps(chosen.values(), next(iter(weights.values()))[0].device)
        names = {of.name: of for of in chosen.values()}
        super().__init__(
            weights,
            others,
            make_base=lambda parameters: algorithm(parameters, **options),
            rule=quantization.rule,
            sharpness=sharpness_of(quantization, quantization.quantizer, None, steps_per_epoch),
            own_sharpness={name: self._sharpness_of(names[name]) for name in weights},
            latent_bound=quantization.latent_bound,
            averaging=averaging_of(quantization.averaging, steps_per_epoch),
            pull=pull_of(quantization.pull, steps_per_epoch, steps_per_epoch),
            backward=quantization.backward,
            step_scale=step_scale_of(quantization.step_scale, algorithm, steps_per_epoch),
            own_options=[(group["params"], options_of(group)) for group in groups],
            scales={name: of.scale for name, of in names.items() if of.scale is not None},
        )
        self.param_groups = [self._with_defaults(group) for group in groups]
        self._is_built = True
        self._watched = WatchedWeights(self.groups)
        self._model = None if model is None else weakref.ref(unwrapped(model))
        """The network before the first step, which checks that it still has the weights."""

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def step(self, closure: Callable[[], float | Tensor] | None = None) -> float | Tensor | None:
        """Take a step; see `LatentOptimizer.step`. Parameters without a gradient are left alone.

        Raises:
            ConfigurationError: if a quantized weight was moved, converted, sharded or overwritten,
                or if its gradient is sparse.
        """
        if self._model is not None and (model := self._model()) is not None:
            weights = {self._names[id(p)]: p for group in self.groups for p in group.parameters}
            require_still_there(model, weights)
        self._model = None
        for group in self._watched.require_own(self.num_steps, self.name_of):
            if self.uses_prox:
                group.refresh(self.num_steps)
        self._base_groups.give(self.param_groups, self.base.param_groups)
        loss = self.advance(closure)
        self._watched.remember_drawn()
        self._base_groups.take(self.param_groups, self.base.param_groups)
        return loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, as in torch. Its weights are quantized if it says so.

        Args:
            param_group: a group as `params` of the constructor has them, with ``"quantized": True``
                for quantized weights also if the optimizer was built with `model`.

        Raises:
            ConfigurationError: see the constructor.
            ValueError: if a parameter is in another group.
        """
        if not self._is_built:
            super().add_param_group(param_group)
            return
        groups, own = read([param_group])
        known = {id(parameter) for group in self.param_groups for parameter in group["params"]}
        if any(id(parameter) in known for parameter in groups[0]["params"]):
            raise ValueError("some parameters appear in more than one parameter group")
        place = len(self.param_groups)
        chosen = chosen_by_groups(groups, own, self.quantization, place)
        weights, others = divided(groups, chosen, self._names.values())
        for weight, _ in weights.values():
            self._require_maps(chosen.values(), weight.device)
        self._places |= {id(parameter): place for parameter in groups[0]["params"]}
        self._names |= {id(weight): name for name, (weight, _) in weights.items()}
        by_name = {of.name: of for of in chosen.values()}
        added = grouped(
            weights,
            self.rule.gradient_at,
            self.sharpness,
            {name: self._sharpness_of(by_name[name]) for name in weights},
            {name: of.scale for name, of in by_name.items() if of.scale is not None},
            self._places,
        )
        moved = list(shaped_moved(added, others, self._places))
        self.param_groups.append(self._with_defaults(groups[0]))
        options = [*map(options_of, self.param_groups)]
        for group in self._base_groups.added(moved, self._places, options):
            self.base.add_param_group(group)
        self.groups.extend(added)
        self.moved.extend(moved)
        with torch.no_grad():
            for one in added if self.uses_prox else ():
                one.refresh(self.num_steps)
        self._watched.remember()

    @torch.no_grad()
    def project(self, model: nn.Module) -> None:
        """Quantize the weights of another network of the same structure, such as an average.

        The hard weights are those of `harden`, with the given weights in place of the latents.

        Args:
            model: network whose weights are replaced, with the names of the optimizer's parameters.

        Raises:
            ConfigurationError: if it has no parameter of a name.
        """
        there = dict(unwrapped(model).named_parameters(remove_duplicate=False))
        for group in self.groups:
            found = []
            for parameter in group.parameters:
                name = self.name_of(parameter)
                if name not in there or there[name].shape != parameter.shape:
                    raise ConfigurationError(
                        f"project: the network has no weight {name} of {tuple(parameter.shape)}; "
                        "give a network of the same structure, and the optimizer its model or "
                        "named parameters"
                    )
                found.append(there[name])
            weights = torch.cat([weight.detach().reshape(-1) for weight in found])
            weights = weights.to(group.proximal)
            if group.quantizer.num_latents == 1:
                hard = group.map_at(weights).hard(weights)
            else:
                hard = nearest_level(weights, group.quantizer.levels)
            for weight, values in zip(found, group.views(hard), strict=True):
                weight.copy_(values)

    @property
    def state(self) -> defaultdict[Tensor, Any]:
        """The state of each parameter: that of the base optimizer, and its latent weights."""
        found: defaultdict[Tensor, Any] = defaultdict(dict)
        for of in of_parameters(self):
            if entries := {**base_entries(self, of), **own_tensors(of)}:
                found[of.sources[0]] = entries
        return found

    @state.setter
    def state(self, value: defaultdict[Tensor, Any]) -> None:
        """Ignore what torch's constructor sets."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state in the form of torch's optimizers, with the latents of each weight."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        states: dict[int, dict[str, Any]] = {}
        groups: list[dict[str, Any]] = []
        place: dict[int, int] = {}
        for group in self.param_groups:
            for parameter in group["params"]:
                place[id(parameter)] = len(place)
            packed = {key: value for key, value in group.items() if key != "params"}
            packed["params"] = [place[id(parameter)] for parameter in group["params"]]
            packed |= dict(zip(_COUNTERS, (self.num_steps, self.averaged_weight), strict=True))
            groups.append(packed)
        for of in of_parameters(self):
            own = {key: value.clone() for key, value in own_tensors(of).items()}
            if entries := {**base_entries(self, of), **own}:
                states[place[id(of.sources[0])]] = entries
        found: dict[str, Any] = {"state": states, "param_groups": groups}
        for changing in self._optimizer_state_dict_post_hooks.values():
            found = found if (changed := changing(self, found)) is None else changed
        return found

    @torch.no_grad()
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the state of an optimizer that was built in the same way.

        Raises:
            ConfigurationError: if it was built in another way.
        """
        for changing in self._optimizer_load_state_dict_pre_hooks.values():
            changed = changing(self, dict(state_dict))
            state_dict = state_dict if changed is None else changed
        groups = state_dict["param_groups"]
        sizes = [len(group["params"]) for group in self.param_groups]
        if (found := [len(group["params"]) for group in groups]) != sizes:
            raise ConfigurationError(
                f"state_dict: has groups of {found} parameters, but this optimizer has {sizes}"
            )
        saved = {
            id(parameter): state_dict["state"][key]
            for group, packed in zip(self.param_groups, groups, strict=True)
            for parameter, key in zip(group["params"], packed["params"], strict=True)
            if key in state_dict["state"]
        }
        if any(key not in groups[0] for key in _COUNTERS):
            raise ConfigurationError(
                "state_dict: has no number of steps; must be the state of a ProxOptimizer"
            )
        all_options = list(map(options_of, groups))
        of_base = base_states(self, saved)
        load_own_tensors(self, saved, self.name_of)
        self.num_steps, self.averaged_weight = (groups[0][key] for key in _COUNTERS)
        for group, options in zip(self.param_groups, all_options, strict=True):
            group.update({key: options[key] for key in options if key not in _COUNTERS})
        self._base_groups.give(self.param_groups, self.base.param_groups)
        start, packed_groups = 0, []
        for group in self.base.param_groups:
            end = start + len(group["params"])
            packed_groups.append({**group, "params": list(range(start, end))})
            start = end
        self.base.load_state_dict({"state": of_base, "param_groups": packed_groups})
        self._watched.remember()
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and deepcopy keep. Ids of parameters differ in the copy."""
        kept = dict(self.__dict__)
        kept["_model"] = None
        kept.pop("step", None)  # a learning-rate scheduler puts its own method there
        parameters = [parameter for of in of_parameters(self) for parameter in of.sources]
        for table in ("_names", "_places"):
            of_ids = kept[table]
            kept[table] = [(one, of_ids[id(one)]) for one in parameters if id(one) in of_ids]
        return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, and make its weights views of its buffers again."""
        tables = {key: {id(one): of for one, of in state[key]} for key in ("_names", "_places")}
        super().__setstate__(state | tables)
        latents = {}
        for group in self.groups:
            for parameter, weights, latent in zip(
                group.parameters,
                group.views(group.evaluation),
                group.views(group.latent),
                strict=True,
            ):
                parameter.data = weights
                latents[id(parameter)] = latent
        for of in of_parameters(self):
            if of.group is not None:
                of.target.data = latents[id(of.sources[0])]
        self._watched.remember()

    def parameter_groups(self, targets: list[nn.Parameter]) -> list[Any]:
        """Return the groups of the base optimizer; see `LatentOptimizer.parameter_groups`."""
        self._base_groups = BaseGroups(
            {
                **({} if self.step_scale is None else SCALED),
                **(Bop.latent_options if issubclass(self._algorithm, Bop) else {}),
            }
        )
        return self._base_groups.added(self.moved, self._places, self._options)

    def name_of(self, parameter: Tensor) -> str:
        """Return the name of a parameter, or its place in the groups if it has none."""
        if id(parameter) in self._names:
            return self._names[id(parameter)]
        return next(
            name
            for place, group in enumerate(self.param_groups)
            for name, one in named(group, place)
            if one is parameter
        )

    def _require_maps(self, chosen: Iterable[ChosenWeight], device: torch.device) -> None:
        """Check the maps of weights at the first step, and after an epoch of the schedules."""
        chosen = list(chosen)
        if issubclass(self._algorithm, Bop):
            maps = [(of.quantizer, of.scale) for of in chosen]
            self._algorithm.require_fits(self.quantization, maps)
        steps = (0, self._steps_per_epoch)
        require_maps(
            self.quantization.backward,
            [
                ((of.quantizer, of.scale), tuple(map(self._sharpness_of(of), steps)))
                for of in chosen
            ],
            device,
        )

    def _sharpness_of(self, chosen: ChosenWeight) -> StepFunction:
        """Return the sharpness of a weight, which is the same function for the same schedule."""
        key = (chosen.quantizer.annealed, chosen.sharpness)
        for known, function in self._functions:
            if are_equal(known, key):
                return function
        function = sharpness_of(
            self.quantization, chosen.quantizer, chosen.sharpness, self._steps_per_epoch
        )
        self._functions.append((key, function))
        return function

    def _with_defaults(self, group: Mapping[str, Any]) -> dict[str, Any]:
        return {**group, **{key: of for key, of in self.base.defaults.items() if key not in group}}
