"""Named groups of parameters with a rate of their own: what a method hands to the optimizer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(slots=True)
class ParamGroup:
    """Parameters that share a learning rate. `name` is kohya's description ("unet", "textencoder", "unet plus" ...), used in logs.

    `piece` numbers the pieces of a group that was cut into several; None for a whole one.
    """

    name: str
    params: list[nn.Parameter]
    lr: float
    piece: int | None = None

    def as_dict(self) -> dict[str, object]:
        """The form torch's optimizers take."""
        named: dict[str, object] = {"params": self.params, "lr": self.lr, "name": self.name}
        return named if self.piece is None else {**named, "piece": self.piece}
