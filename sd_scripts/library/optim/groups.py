"""Named groups of parameters with a rate of their own: what a method hands to the optimizer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(slots=True)
class ParamGroup:
    """Parameters that share a learning rate. `name` is kohya's description ("unet", "textencoder", "unet plus" ...), used in logs."""

    name: str
    params: list[nn.Parameter]
    lr: float

    def as_dict(self) -> dict[str, object]:
        """The form torch's optimizers take."""
        return {"params": self.params, "lr": self.lr, "name": self.name}
