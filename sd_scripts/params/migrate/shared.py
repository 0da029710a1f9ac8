"""What both kinds of file need: secrets, switches that another one replaces, network arguments as words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sd_scripts.errors import ConfigError
from sd_scripts.params.migrate.ledger import Converter, Ledger, Row
from sd_scripts.params.migrate.secrets import names_a_secret
from sd_scripts.params.network import LORA_MODULE, MODULES
from sd_scripts.params.values import key_value, typed

NOT_SET = ("", None)
STUDIO_PROMPTS = "prompts"
"""Key in the studio table for prompts as text, which a start writes to a file."""
_PROMPTS = ("sample_prompts", "sample_prompts_path", "positive_prompts", "validation_prompt", "validation_prompts")
SAMPLING = ("sample_every_n_steps", "sample_every_n_epochs")


def is_on(value: object) -> bool:
    """Whether a switch is on, also where a file holds it as text or number."""
    return str(value).strip().lower() in ("true", "1", "1.0", "yes")


def is_secret(ledger: Ledger, key: str) -> bool:
    """Whether a key holds a secret: one of ours, or one that says so."""
    parameter = ledger.command.by_name.get(key)
    return bool(parameter and parameter.hints.secret) or names_a_secret(key)


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
    if number(document, key) <= 0:
        ledger.skip(key, value)
    elif not has_prompts(ledger, document):
        ledger.keep(key, value, note="There is no prompt.")
    else:
        ledger.take(key, value)


def has_prompts(ledger: Ledger, document: Mapping[str, Any]) -> bool:
    """Whether the file says what to draw samples of."""
    return bool(str(ledger.studio.get(STUDIO_PROMPTS) or "").strip()) or any(str(document.get(key) or "").strip() for key in _PROMPTS)


def number(document: Mapping[str, Any], key: str) -> float:
    """A number that may stand as text; 0 where it is absent, blank or no number."""
    try:
        return float(document.get(key) or 0)
    except (TypeError, ValueError):
        return 0.0


def not_needed(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """A switch that changes no result, and whose effect is not built."""
    if is_on(value):
        ledger.keep(key, value, note="It changes no result, and has no effect in current versions.")
    else:
        ledger.skip(key, value)


def log_with(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """TensorBoard is what an empty choice means; it needs a folder."""
    if key == "use_wandb":
        if is_on(value):
            ledger.take(key, value, name="log_with", made="wandb")
        else:
            ledger.skip(key, value)
    elif value in (*NOT_SET, False) or (value == "tensorboard" and not document.get("logging_dir")):
        ledger.skip(key, value)
    else:
        ledger.take(key, value)


def of_wandb(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """What only Weights & Biases has a use for."""
    if value in (*NOT_SET, False, "False"):
        ledger.skip(key, value)
    elif document.get("log_with") in ("wandb", "all") or is_on(document.get("use_wandb")):
        ledger.take(key, value)
    else:
        ledger.keep(key, value, note="It has no effect without log_with wandb.")


def of_upload(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """Details of an upload to Hugging Face, which have a meaning with a repository."""
    if value in (*NOT_SET, False, "False"):
        ledger.skip(key, value)
    elif document.get("huggingface_repo_id"):
        ledger.take(key, value)
    else:
        ledger.keep(key, value, note="It has no effect without huggingface_repo_id.")


def compiler(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """The launcher's choice of a compiler, which compiles by being made, or the trainer's, which torch_compile switches on."""
    if value in (*NOT_SET, False, "no"):
        ledger.skip(key, value)
        return
    ledger.take(key, value)
    if "torch_compile" not in document and key in ledger.given:
        ledger.given["torch_compile"] = True


def of_compiler(ledger: Ledger, key: str, value: Any, document: Mapping[str, Any]) -> None:
    """Details of a compilation."""
    if value in (*NOT_SET, False, "default"):
        ledger.skip(key, value)
    elif document.get("dynamo_backend") in (*NOT_SET, False, "no") and not is_on(document.get("torch_compile")):
        ledger.keep(key, value, note="It has no effect without dynamo_backend.")
    else:
        ledger.take(key, value)


UPLOAD = (
    "huggingface_repo_type",
    "huggingface_path_in_repo",
    "huggingface_repo_visibility",
    "save_state_to_huggingface",
    "async_upload",
)
SHARED: dict[str, Converter] = {
    "xformers": attention,
    "sdpa": sdpa,
    **dict.fromkeys(SAMPLING, sampling),
    "mem_eff_attn": attention,
    "highvram": not_needed,
    "lowram": not_needed,
    "lowvram": not_needed,
    "log_with": log_with,
    "use_wandb": log_with,
    "wandb_run_name": of_wandb,
    "log_tracker_config": of_wandb,
    "dynamo_backend": compiler,
    **dict.fromkeys(("dynamo_mode", "dynamo_use_fullgraph", "dynamo_use_dynamic"), of_compiler),
    **dict.fromkeys(UPLOAD, of_upload),
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
