"""Several optimizers as one: each has parameters of its own, and schedule, scaler and state file see a single optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer as TorchOptimizer


class Composite(TorchOptimizer):
    """Optimizers of disjoint parameters. Its groups are theirs, in order, and its state has torch's usual form, numbered through."""

    def __init__(self, parts: Sequence[TorchOptimizer]) -> None:
        # Not torch's own: it would take the groups' dicts apart. They stay those of the parts, so that a schedule changes the rates that count.
        self.parts = tuple(parts)
        self.defaults: dict[str, Any] = {}

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # ty: ignore[incompatible-property-override]
        """The groups of all parts."""
        return [group for part in self.parts for group in part.param_groups]

    @property
    def state(self) -> dict[Any, Any]:  # ty: ignore[incompatible-property-override]
        """What each parameter's optimizer remembers of it."""
        return {parameter: state for part in self.parts for parameter, state in part.state.items()}

    def step(self, closure: None = None) -> None:  # ty: ignore[incompatible-method-override]
        """Step every part."""
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget every gradient."""
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """The parts' states in one, parameters numbered through in the order of the groups."""
        state: dict[int, Any] = {}
        groups: list[dict[str, Any]] = []
        for part in self.parts:
            own, first = part.state_dict(), sum(len(group["params"]) for group in groups)
            state.update({first + number: values for number, values in own["state"].items()})
            groups.extend({**group, "params": [first + number for number in group["params"]]} for group in own["param_groups"])
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` gave. Raises ValueError if it is of other groups."""
        groups = list(state_dict["param_groups"])
        if len(groups) != len(self.param_groups):
            raise ValueError(f"it has {len(groups)} groups of parameters, this run has {len(self.param_groups)}")
        for part in self.parts:
            taken, groups = groups[: len(part.param_groups)], groups[len(part.param_groups) :]
            numbers = [number for group in taken for number in group["params"]]
            place = {number: index for index, number in enumerate(numbers)}
            own = {place[number]: state_dict["state"][number] for number in numbers if number in state_dict["state"]}
            part.load_state_dict({"state": own, "param_groups": [{**group, "params": [place[n] for n in group["params"]]} for group in taken]})
