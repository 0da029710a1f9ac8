"""Training a whole model: the U-Net, and the text encoders where they are asked for (DreamBooth, full fine-tuning)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sd_scripts.errors import ConfigError, DataError
from sd_scripts.library.families.base import Family
from sd_scripts.library.methods.base import FULL_MODEL, FileKind
from sd_scripts.library.optim.groups import ParamGroup
from sd_scripts.library.weights_file import SavedFile, save_weights
from sd_scripts.params.config import Config
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.optimizer import Optimizer
from sd_scripts.params.problem import Problem
from sd_scripts.params.rates import block_rates, text_rates
from sd_scripts.survey.outputs import folder_weights_ending
from sd_scripts.survey.plan import Plan


class Finetune:
    """The method behind the trainers of whole models. Weights that are trained are held in float32; the rest stays as it was loaded."""

    file_kind: ClassVar[FileKind] = FULL_MODEL

    def __init__(self, config: Config, family: Family) -> None:
        self.config, self.family = config, family
        self.notes: tuple[Problem, ...] = ()
        self._text_rates = text_rates(config, len(family.text_encoders))
        self._groups: list[ParamGroup] = []

    @classmethod
    def trained_parts(cls, config: Config) -> frozenset[str]:
        """The U-Net always, since its rate alone may be 0, and each text encoder with a rate."""
        rates = text_rates(config, FAMILIES[config.command.family].text_encoders)
        names = [name for name, rate in zip(("text_encoder", "text_encoder_2"), rates, strict=False) if rate]
        return frozenset({"unet", *names})

    def prepare(self) -> None:
        """Choose what learns. Raises ConfigError where block_lr is no list of rates."""
        self._groups = [*self._unet_groups(), *self._text_groups()]
        for group in self._groups:
            for parameter in group.params:
                parameter.requires_grad_(True)

    def param_groups(self) -> list[ParamGroup]:
        """The U-Net, or its blocks where they have rates, then each text encoder. Rate 0 leaves a group out.

        Raises:
            ConfigError: no group has a rate.
        """
        if not self._groups:
            raise ConfigError("learning_rate", "Every learning rate is 0: nothing would be trained.", fix="Give learning_rate a value above 0.")
        return self._groups

    def trainable(self) -> list[nn.Parameter]:
        """Every parameter of `param_groups`, in that order."""
        return [parameter for group in self.param_groups() for parameter in group.params]

    def before_step(self, step: int, plan: Plan) -> None:
        """Stop training the text encoders from step `plan.text_encoder_stop_step` on (counted from 0): they get no gradient any more."""
        stop = plan.text_encoder_stop_step
        if stop is None or step < stop:
            return
        for group in self._groups:
            if group.name.startswith("text_encoder"):
                for parameter in group.params:
                    parameter.requires_grad_(False)
                    parameter.grad = None

    def before_predict(self, timesteps: Tensor, *, strength: float = 1.0) -> None:
        """Nothing depends on the timestep."""

    def after_step(self) -> Mapping[str, float]:
        """Nothing is to be done."""
        return {}

    def train(self) -> None:
        """The models have no dropout: their mode changes nothing."""

    def eval(self) -> None:
        """The models have no dropout: their mode changes nothing."""

    def tensors(self, save_dtype: torch.dtype | None) -> dict[str, Tensor]:
        """The whole model under the keys of original files, on the CPU; None keeps the dtype of training."""
        return self.family.checkpoint_tensors(save_dtype)

    def write(self, path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, counts: tuple[int, int]) -> SavedFile:
        """One file in original names, or for a path without an ending a folder in the diffusers layout. A pickle holds the counts too."""
        if path.suffix not in (".safetensors", ".ckpt"):
            dtype = next(iter(tensors.values())).dtype
            return self.family.write_folder(path, dtype, ending=folder_weights_ending(self.config))
        step, epoch = counts
        return save_weights(path, tensors, metadata, around={"epoch": epoch, "global_step": step})

    def state_dict(self) -> dict[str, Any]:
        """The trained parts as trained, under "<part>.<name>"."""
        return {f"{name}.{key}": value.detach() for name, module in self._modules().items() for key, value in module.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave. Raises DataError if it is another training's."""
        for name, module in self._modules().items():
            own = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
            try:
                module.load_state_dict(own)
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[-1].strip()[:200]
                fix = "Resume with the model and the text encoder options it was saved with."
                raise DataError(f"The state does not fit this training ({reason}).", fix=fix) from error

    def metadata(self) -> dict[str, str]:
        """There is no adapter to speak of."""
        return {}

    def _modules(self) -> dict[str, nn.Module]:
        """What is trained, by its part's name."""
        encoders = zip(("text_encoder", "text_encoder_2"), self.family.text_encoders, self._text_rates, strict=False)
        return {"unet": self.family.unet, **{name: module for name, module, rate in encoders if rate}}

    def _unet_groups(self) -> list[ParamGroup]:
        named = list(self.family.unet.named_parameters())
        try:
            rates = block_rates(self.config, FAMILIES[self.config.command.family].blocks.count)
        except ValueError as error:
            raise ConfigError("block_lr", str(error), fix="Give numbers separated by commas.") from error
        if rates is None:
            rate = self.config[Optimizer].learning_rate
            return [ParamGroup("unet", [parameter for _, parameter in named], rate)] if rate else []
        blocks: dict[int, list[nn.Parameter]] = {}
        for name, parameter in named:
            blocks.setdefault(self.family.unet_block(name), []).append(parameter)
        return [ParamGroup(f"unet_block{block}", blocks[block], rates[block]) for block in sorted(blocks) if rates[block]]

    def _text_groups(self) -> list[ParamGroup]:
        groups = []
        idle = {id(parameter) for parameter in self.family.idle_parameters()}
        encoders = zip(("text_encoder", "text_encoder_2"), self.family.text_encoders, self._text_rates, strict=False)
        for name, module, rate in encoders:
            if rate:
                groups.append(ParamGroup(name, [parameter for parameter in module.parameters() if id(parameter) not in idle], rate))
        return groups
