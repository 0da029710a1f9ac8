"""Training an adapter (LoRA and relatives) beside a frozen model."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sd_scripts.errors import ConfigError, DataError
from sd_scripts.library.embedding_file import as_bundle, split_bundle
from sd_scripts.library.families.base import AdapterTarget, Family
from sd_scripts.library.methods.base import ADAPTER, FileKind
from sd_scripts.library.methods.words import LearntVectors
from sd_scripts.library.optim.groups import ParamGroup
from sd_scripts.library.weights_file import SavedFile, read_weights, save_weights
from sd_scripts.networks.base import Adapter as Modules
from sd_scripts.networks.base import LoadReport, Rates
from sd_scripts.networks.build import build, build_from, merge_file
from sd_scripts.networks.convert import to_kohya, written_beside
from sd_scripts.networks.lora import LoRAModule, kept_ranks
from sd_scripts.params.blocks import lr_weights
from sd_scripts.params.config import Config, network_words
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.layers import by_name
from sd_scripts.params.memory import Precision
from sd_scripts.params.network import LYCORIS_MODULE, AdapterArgs, LoRAArgs, Network
from sd_scripts.params.optimizer import Optimizer
from sd_scripts.params.problem import Problem, warning
from sd_scripts.params.rules.word import learnt_word
from sd_scripts.params.values import key_value
from sd_scripts.params.word import LearntWord, PivotalTuning
from sd_scripts.survey.plan import Plan

NAMES_SHOWN = 5
WORD = "word:"
"""Start of the keys in a state that are a word's."""


class Adapter:
    """The method behind `*_train_network.py`: the model stays as it is; an adapter on its layers is trained, and saved alone."""

    file_kind: ClassVar[FileKind] = ADAPTER
    adapter: Modules

    def __init__(self, config: Config, family: Family) -> None:
        self.config, self.family = config, family
        self.network, self.arguments, self.kinds = config[Network], config[LoRAArgs], config[AdapterArgs]
        self._blocks = FAMILIES[config.command.family].blocks
        self.notes: tuple[Problem, ...] = ()
        self._groups: list[ParamGroup] = []
        self.word: LearntVectors | None = None

    @classmethod
    def trained_parts(cls, config: Config) -> frozenset[str]:  # whatever is asked for
        """None: the model stays as it is."""
        return frozenset()

    def prepare(self) -> None:
        """Merge `base_weights`, make the adapter, load `network_weights` into it, and attach it to the family's model on the model's device.

        Raises:
            ConfigError: the options give no adapter, or a file's ranks are not the configured ones.
            DataError: a weight file cannot be read, or belongs to another model.
        """
        usual = self.family.targets()
        every = (*usual, *self.family.outer_targets())
        self._merge_base_weights(every)
        wanted = [target for target in (every if self.network.network_module == LYCORIS_MODULE else usual) if self._trains(target.part)]
        tensors, bundled = split_bundle(self._network_weights(every), learnt_word(self.config))
        if self.network.dim_from_weights:
            self.adapter = build_from(self.config, wanted, tensors)
        else:
            self.adapter = build(self.config, wanted, layout=self._blocks)
        self._masked = [module for module in self.adapter.modules_by_name.values() if isinstance(module, LoRAModule) and not module.target.is_text]
        if tensors:
            self._load(tensors)
        self.adapter.to(device=next(self.family.unet.parameters()).device, dtype=_dtype(self.config[Precision]))
        self.adapter.apply()
        self._prepare_word(bundled)
        self._groups = [*self.adapter.param_groups(self._rates()), *self._word_groups()]
        self.adapter.requires_grad_(False)
        for group in self._groups:
            _train(group, True)

    def param_groups(self) -> list[ParamGroup]:
        """Text encoder first, then the U-Net or its blocks, each split in two by a LoRA+ ratio. Rate 0 leaves a group out.

        Raises:
            ConfigError: no group has a rate.
        """
        if not self._groups:
            raise ConfigError(
                "learning_rate", "Every learning rate is 0: nothing would be trained.", fix="Give learning_rate, unet_lr or text_encoder_lr."
            )
        return self._groups

    def trainable(self) -> list[nn.Parameter]:
        """Every parameter of `param_groups`, in that order."""
        return [parameter for group in self.param_groups() for parameter in group.params]

    def before_step(self, step: int, plan: Plan) -> None:
        """Stop training the text encoder's part from step `plan.text_encoder_stop_step` on (counted from 0).

        Its parameters then get no gradient at all, so optimizers and weight decay leave them as they are.
        """
        stop = plan.text_encoder_stop_step
        if stop is None:
            return
        for group in self._groups:
            if group.name.startswith("textencoder"):
                _train(group, step < stop)

    def before_predict(self, timesteps: Tensor, *, strength: float = 1.0) -> None:
        """The adapter's strength for this micro-batch; T-LoRA: which ranks take part for each of its pictures."""
        self._set_strength(strength)
        least = self.kinds.tlora_min_rank
        if least is None:
            return
        masks: dict[int, Tensor] = {}
        for module in self._masked:
            if module.rank not in masks:
                masks[module.rank] = kept_ranks(timesteps, module.rank, least=least, exponent=self.kinds.tlora_alpha)
            module.kept = masks[module.rank]

    def after_step(self) -> Mapping[str, float]:
        """Apply `scale_weight_norms` and return what it did, for the log."""
        if not self.network.scale_weight_norms:
            return {}
        scaled, mean, largest = self.adapter.scale_norms(self.network.scale_weight_norms)
        return {"max_norm/keys_scaled": float(scaled), "max_norm/max_key_norm": largest, "norm/avg_key_norm": mean}

    def train(self) -> None:
        """Switch the adapter's dropouts on."""
        self.adapter.train()

    def eval(self) -> None:
        """Switch the adapter's dropouts off, and its strength to that of its file."""
        self._set_strength(1.0)
        self.adapter.eval()

    def _set_strength(self, strength: float) -> None:
        if self.adapter.multiplier != strength:
            self.adapter.multiplier = strength

    @contextmanager
    def disabled(self) -> Generator[None]:
        """The model without the adapter; `base_weights` stay in it."""
        multiplier, self.adapter.multiplier = self.adapter.multiplier, 0.0
        try:
            yield
        finally:
            self.adapter.multiplier = multiplier

    def tensors(self, save_dtype: torch.dtype | None) -> dict[str, Tensor]:
        """`<name>.lora_down.weight` and the like, `<name>.alpha`, on the CPU, all in `save_dtype` (None: as trained). Copies."""
        return {key: tensor.detach().to("cpu", save_dtype, copy=True).contiguous() for key, tensor in self._file_tensors().items()}

    def write(self, path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, counts: tuple[int, int]) -> SavedFile:
        """One file. The counts stand in its metadata."""
        return save_weights(path, tensors, metadata)

    def state_dict(self) -> dict[str, Any]:
        """The adapter's tensors as trained."""
        word = {f"{WORD}{key}": tensor for key, tensor in self.word_tensors(None).items()} if self.word else {}
        return {**{key: tensor.detach().to("cpu", copy=True) for key, tensor in self.adapter.state().items()}, **word}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave. Raises DataError if its keys or shapes are another adapter's."""
        try:
            self.adapter.load_state({key: tensor for key, tensor in state.items() if not key.startswith(WORD)})
        except ValueError as error:
            reason = str(error)[:200]
            raise DataError(f"The state does not fit this adapter ({reason}).", fix="Resume with the network options it was saved with.") from error
        if self.word is not None:
            self.word.load({key.removeprefix(WORD): tensor for key, tensor in state.items() if key.startswith(WORD)})

    def word_tensors(self, save_dtype: torch.dtype | None) -> dict[str, Tensor]:
        """The vectors of the word that is learnt along with the adapter, by the keys of embedding files; empty without one."""
        return self.word.tensors(save_dtype) if self.word else {}

    def metadata(self) -> dict[str, str]:
        """`ss_network_module`, `ss_network_dim`, `ss_network_alpha`, `ss_network_dropout`, and `ss_network_args` if any was given."""
        network = self.network
        alpha = (
            str(network.network_alpha) if "network_alpha" in self.config.given else f"{network.network_alpha:g}"
        )  # kohya's default is a whole number
        ranks = {module.rank for module in self.adapter.modules_by_name.values()}
        dim: int | str | None = network.network_dim
        if network.dim_from_weights:
            dim = ranks.pop() if len(ranks) == 1 else "Dynamic"
        said = {
            "ss_network_module": str(network.network_module),
            "ss_network_dim": str(dim),
            "ss_network_alpha": alpha,
            "ss_network_dropout": str(network.network_dropout),
        }
        words = dict(key_value("network_args", word) for word in network_words(self.config))
        if words:
            said["ss_network_args"] = json.dumps({**words, "dropout": network.network_dropout})
        return said

    def _trains(self, part: str) -> bool:
        if part == "unet":
            return not self.network.network_train_text_encoder_only
        return not self.network.network_train_unet_only and self.network.stop_text_encoder_training != -1

    def _merge_base_weights(self, targets: Sequence[AdapterTarget]) -> None:
        given = self.network.base_weights_multiplier or ()
        for index, name in enumerate(self.network.base_weights or ()):
            tensors = self._read(name, targets)
            try:
                unknown = merge_file(targets, tensors, given[index] if index < len(given) else 1.0)
            except ValueError as error:
                fix = "base_weights takes adapters of the same model type."
                raise DataError(f"It cannot be merged into this model: {error}.", fix=fix, path=name) from error
            self._note("base_weights", f"{Path(name).name} names modules that this model does not have", unknown, "They were left out.")

    def _prepare_word(self, bundled: Mapping[str, Tensor]) -> None:
        """Put the word into the text encoders, with the vectors of a bundle that training goes on from."""
        word = self.config[LearntWord]
        if not word.token_string:
            return
        self.word = LearntVectors(self.family, word.token_string, count=word.num_vectors_per_token, init_word=word.init_word, weights=None)
        if bundled:
            self.word.load(bundled)

    def _word_groups(self) -> list[ParamGroup]:
        if self.word is None:
            return []
        rates = self._rates()
        rate = self.config[PivotalTuning].embedding_lr or rates.text_encoders[0] or rates.unet
        return [ParamGroup("embedding", self.word.parameters(), rate)]

    def _file_tensors(self) -> dict[str, Tensor]:
        tensors = self.adapter.file_tensors()
        if self.word is None or not self.config[PivotalTuning].bundle_embedding:
            return tensors
        return tensors | as_bundle(self.config[LearntWord].token_string or "", self.word.tensors(None))

    def _read(self, name: str, targets: Sequence[AdapterTarget]) -> dict[str, Tensor]:
        """A file of any program under kohya's names."""
        path, parts = Path(name), dict(zip(("text_encoder", "text_encoder_2"), self.family.text_encoders, strict=False))
        tensors, metadata = read_weights(path)
        return to_kohya(tensors, targets, {"unet": self.family.unet, **parts}, told=written_beside(path, metadata))

    def _network_weights(self, targets: Sequence[AdapterTarget]) -> dict[str, Tensor]:
        if self.network.network_weights:
            return self._read(self.network.network_weights, targets)
        if self.network.dim_from_weights:
            raise ConfigError("dim_from_weights", "There is no file to take ranks from.", fix="Give network_weights, or switch dim_from_weights off.")
        return {}

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        path = str(self.network.network_weights)
        try:
            report = self.adapter.load(tensors)
        except ValueError as error:
            fix = "Set network_dim and conv_dim to the file's ranks, or switch dim_from_weights on."
            raise ConfigError("network_weights", f"{path}: {error}.", fix=fix) from error
        if len(report.missing) == len(self.adapter.modules_by_name):
            raise DataError("No name in it belongs to this adapter.", fix="network_weights takes a LoRA file of the same model type.", path=path)
        self._note_fit(Path(path).name, report)

    def _note_fit(self, name: str, report: LoadReport) -> None:
        self._note("network_weights", f"{name} lacks modules that are trained here", report.missing, "They start without effect.")
        self._note("network_weights", f"{name} has modules that are not trained here", report.unexpected, "They were left out.")
        self._note("network_weights", f"{name} was trained with another alpha", report.rescaled, "Its effect was kept by scaling the up factors.")

    def _note(self, field: str, text: str, names: Iterable[str], what_follows: str) -> None:
        named = tuple(names)
        if named:
            shown = ", ".join(named[:NAMES_SHOWN]) + (", ..." if len(named) > NAMES_SHOWN else "")
            self.notes = (*self.notes, warning(field, f"{text} ({len(named)}): {shown}.", what_follows))

    def _rates(self) -> Rates:
        network, arguments, base = self.network, self.arguments, self.config[Optimizer].learning_rate
        return Rates(
            unet=base if network.unet_lr is None else network.unet_lr,
            text_encoders=network.text_encoder_lr or (base,),
            unet_plus=arguments.loraplus_unet_lr_ratio or arguments.loraplus_lr_ratio,
            text_encoder_plus=arguments.loraplus_text_encoder_lr_ratio or arguments.loraplus_lr_ratio,
            block_weights=lr_weights(arguments, self._blocks),
            by_name=by_name("network_reg_lrs", self.kinds.network_reg_lrs),
        )


def _train(group: ParamGroup, trains: bool) -> None:
    for parameter in group.params:
        parameter.requires_grad_(trains)
        if not trains:
            parameter.grad = None


def _dtype(precision: Precision) -> torch.dtype:
    """Full precision, unless the whole training runs in half."""
    if precision.full_bf16:
        return torch.bfloat16
    return torch.float16 if precision.full_fp16 else torch.float32
