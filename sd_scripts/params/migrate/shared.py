"""What both kinds of file need: secrets, switches that another one replaces, network arguments as words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sd_scripts.errors import ConfigError
from sd_scripts.params.migrate.ledger import Converter, Ledger, Row
from sd_scripts.params.network import LORA_MODULE, MODULES
from sd_scripts.params.values import key_value, typed

NOT_SET = ("", None)
STUDIO_PROMPTS = "prompts"
"""Key in the studio table for prompts as text, which a start writes to a file."""


def is_on(value: object) -> bool:
    """Whether a switch is on, also where a file holds it as text or number."""
    return str(value).strip().lower() in ("true", "1", "1.0", "yes")


def is_secret(ledger: Ledger, key: str) -> bool:
    """Whether a key holds a secret: one of ours, or one that says so."""
    parameter = ledger.command.by_name.get(key)
    return bool(parameter and parameter.hints.secret) or key.lower().endswith(("api_key", "_token_secret", "password", "hf_token"))


def attention(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """xformers: a switch in trainers and old forms, a choice of three in newer ones. mem_eff_attn: an old switch. PyTorch's takes their place."""
    wanted = str(value).strip().lower()
    if wanted == "none" or not (is_on(value) or wanted in ("xformers", "sdpa")):
        ledger.skip(key, value)
    else:
        note = "" if wanted == "sdpa" else "PyTorch's own attention (sdpa) takes its place: as fast, as little memory, the same result."
        ledger.take(key, value, name="sdpa", made=True, note=note)


def sdpa(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """Off says nothing: another switch may have asked for it."""
    if is_on(value):
        ledger.take(key, value)
    else:
        ledger.skip(key, value)


def sampling(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """How often samples are drawn, of which 0 is never; without a prompt there is nothing to draw."""
    prompts = document.get("sample_prompts") or document.get("sample_prompts_path") or ledger.studio.get(STUDIO_PROMPTS) or ""
    if number(document, key) <= 0:
        ledger.skip(key, value)
    elif not str(prompts).strip():
        ledger.keep(key, value, note="There is no prompt.")
    else:
        ledger.take(key, value)


def number(document: Mapping[str, Any], key: str) -> float:
    """A number that may stand as text; 0 where it is absent, blank or no number."""
    try:
        return float(document.get(key) or 0)
    except (TypeError, ValueError):
        return 0.0


def not_needed(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """A switch that changes no result, and whose effect is not built."""
    if is_on(value):
        reason = ledger.command.by_name[key].hints.unavailable if key in ledger.command.by_name else None
        ledger.keep(key, value, note=f"It changes no result; {reason or 'it has no effect in current versions.'}")
    else:
        ledger.skip(key, value)


def incidental(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """An option of a service or a means that is not built; the result of the training does not depend on it."""
    parameter = ledger.command.by_name.get(key)
    if value in (*NOT_SET, False, 0, "False", "no", "default") or (parameter is not None and value == parameter.default):
        ledger.skip(key, value)
    else:
        ledger.keep(key, value, note=(parameter.hints.unavailable or "") if parameter is not None else "")


def log_with(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """TensorBoard is the only service."""
    if value in ("wandb", "all") or (key == "use_wandb" and is_on(value)):
        ledger.keep(key, value, note="Curves go to TensorBoard files only.")
    elif key == "use_wandb" or value in (*NOT_SET, False) or not document.get("logging_dir"):
        ledger.skip(key, value)
    else:
        ledger.take(key, value)


INCIDENTAL = (
    "tokenizer_cache_dir",
    "wandb_run_name",
    "console_log_level",
    "console_log_file",
    "console_log_simple",
    "log_tracker_config",
    "huggingface_repo_id",
    "huggingface_repo_type",
    "huggingface_path_in_repo",
    "huggingface_repo_visibility",
    "save_state_to_huggingface",
    "async_upload",
    "torch_compile",
    "dynamo_backend",
    "dynamo_mode",
    "dynamo_use_fullgraph",
    "dynamo_use_dynamic",
    "ddp_gradient_as_bucket_view",
    "ddp_static_graph",
)
SHARED: dict[str, Converter] = {
    "xformers": attention,
    "sdpa": sdpa,
    "sample_every_n_steps": sampling,
    "sample_every_n_epochs": sampling,
    "mem_eff_attn": attention,
    "highvram": not_needed,
    "lowram": not_needed,
    "lowvram": not_needed,
    "cpu_offload_checkpointing": not_needed,
    "cache_info": not_needed,
    "log_with": log_with,
    "use_wandb": log_with,
    **dict.fromkeys(INCIDENTAL, incidental),
}


def network_words(ledger: Ledger, words: Any, module: str | None) -> None:
    """Take `network_args` words: known ones typed, all of a module that is not known here as they are, others kept."""
    if isinstance(words, str):
        words = words.split()
    if not isinstance(words, (list, tuple)):
        ledger.keep("network_args", words, note="It is no list of key=value.")
        return
    if module not in (None, *MODULES):
        ledger.take("network_args", words)
        return
    left = [word for word in words if not _take_word(ledger, str(word))]
    if left:
        ledger.keep("network_args", left, note=f"{module or LORA_MODULE} takes no such arguments.")
    else:
        ledger.rows.append(Row("network_args", list(words), "taken" if words else "default"))


def _take_word(ledger: Ledger, word: str) -> bool:
    known = {
        parameter.name: parameter for section in ledger.command.descriptions if section.sink == "list:network_args" for parameter in section.params
    }
    try:
        name, text = key_value("network_args", word)
        made = typed(known[name], text)
    except (ConfigError, KeyError):
        return False
    if made is not None:
        ledger.given[name] = made
    return True
