"""The kohya GUI's LoRA types: which network module each means, and which fields become its arguments."""

from __future__ import annotations

from dataclasses import dataclass

from sd_scripts.params.network import LORA_MODULE

LORAPLUS = ("loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio")
DROPOUTS = ("rank_dropout", "module_dropout")
BLOCKS = (
    "down_lr_weight",
    "mid_lr_weight",
    "up_lr_weight",
    "block_lr_zero_threshold",
    "block_dims",
    "block_alphas",
    "conv_block_dims",
    "conv_block_alphas",
    *DROPOUTS,
)
CONV = ("conv_dim", "conv_alpha")
FLUX = ("img_attn_dim", "img_mlp_dim", "img_mod_dim", "single_dim", "txt_attn_dim", "txt_mlp_dim", "txt_mod_dim", "single_mod_dim", "in_dims")
FLUX_SWITCHES = ("train_double_block_indices", "train_single_block_indices", "split_qkv", "train_t5xxl", "ggpo_beta", "ggpo_sigma")


@dataclass(frozen=True, slots=True)
class LoraType:
    """A type's module, the form's fields that become arguments if they are set, and those that always do (LyCORIS)."""

    module: str
    fields: tuple[str, ...] = ()
    algo: str = ""
    always: tuple[str, ...] = ()


def _lycoris(algo: str, *fields: str) -> LoraType:
    return LoraType("lycoris.kohya", LORAPLUS, algo, ("LyCORIS_preset", *CONV, *fields))


_HADAMARD = ("use_tucker", "rank_dropout", "bypass_mode", "dora_wd", "module_dropout", "use_scalar", "rank_dropout_scale", "train_norm")
_ORTHOGONAL = ("module_dropout", "use_tucker", "rank_dropout", "rank_dropout_scale", "train_norm")

LORA_TYPES: dict[str, LoraType] = {
    "Standard": LoraType(LORA_MODULE, (*BLOCKS, *LORAPLUS)),
    "Kohya LoCon": LoraType(LORA_MODULE, (*CONV, *BLOCKS, *LORAPLUS)),
    "LoRA-FA": LoraType("networks.lora_fa", (*BLOCKS, *LORAPLUS)),
    "Kohya DyLoRA": LoraType("networks.dylora", (*CONV, "unit", *BLOCKS, *LORAPLUS)),
    "Kohya LoHa": LoraType("networks.loha", (*CONV, "use_tucker", *DROPOUTS, *LORAPLUS)),
    "Kohya LoKr": LoraType("networks.lokr", (*CONV, "use_tucker", "factor", *DROPOUTS, *LORAPLUS)),
    "Flux1": LoraType("networks.lora_flux", (*FLUX, *FLUX_SWITCHES, *DROPOUTS, *LORAPLUS)),
    "Flux1 OFT": LoraType("networks.oft_flux", ("enable_all_linear", *LORAPLUS)),
    "Anima": LoraType("networks.lora_anima", (*DROPOUTS, *LORAPLUS)),
    "Lumina": LoraType("networks.lora_lumina", (*DROPOUTS, *LORAPLUS)),
    "HunyuanImage-2.1": LoraType("networks.lora_hunyuan_image", (*DROPOUTS, *LORAPLUS)),
    "LyCORIS/LoCon": _lycoris("locon", *_HADAMARD),
    "LyCORIS/LoHa": _lycoris("loha", *_HADAMARD),
    "LyCORIS/LoKr": _lycoris("lokr", *_HADAMARD, "factor", "use_cp", "decompose_both"),
    "LyCORIS/BOFT": _lycoris("boft", *_ORTHOGONAL),
    "LyCORIS/Diag-OFT": _lycoris("diag-oft", *_ORTHOGONAL, "constrain", "rescaled"),
    "LyCORIS/DyLoRA": _lycoris("dylora", "use_tucker", "unit", "rank_dropout", "module_dropout", "train_norm"),
    "LyCORIS/GLoRA": _lycoris("glora", "use_tucker", "rank_dropout", "module_dropout", "rank_dropout_scale", "train_norm"),
    "LyCORIS/iA3": _lycoris("ia3", "train_on_input"),
    "LyCORIS/Native Fine-Tuning": _lycoris("full", "rank_dropout", "module_dropout", "rank_dropout_scale", "train_norm"),
}
OLD_TYPES = {"LoCon": "LyCORIS/LoCon"}
ARGUMENT_NAMES = {"LyCORIS_preset": "preset", "constrain": "constraint"}
"""Arguments that are called otherwise than the form's field."""

ARGUMENT_FIELDS = frozenset(field for row in LORA_TYPES.values() for field in (*row.fields, *row.always)) | {"train_lora_ggpo"}
"""Fields of the form that are arguments of some type."""


def argument_name(field: str, lora_type: LoraType) -> str:
    """What the module calls the form's `field`."""
    if field == "unit" and lora_type.algo:
        return "block_size"
    return ARGUMENT_NAMES.get(field, field)
