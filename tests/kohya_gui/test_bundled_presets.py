"""Bundled presets: their data. Each says what it is for, fits the card that it names, and the trainers take and run it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from kohya_gui.configs import PRESETS, START, VALUES, preset_given, start_draft
from kohya_gui.presets import GROUPS, Preset, applied, find_presets, left_alone, listed, preset_named
from kohya_gui.settings import Settings
from sd_scripts.library.training.main import main
from sd_scripts.params.check import Problem, check
from sd_scripts.params.commands import COMMANDS, Command, command
from sd_scripts.params.config import Config, make_config
from sd_scripts.params.config_file import write_config
from sd_scripts.survey.header import Header, facts_of
from sd_scripts.survey.memory import estimate_memory
from sd_scripts.survey.targets import adapter_size
from tests.tiny_models import SD15, SD21, SDXL_BASE, single_file_shapes
from tests.tiny_runs import RECIPES, draw_pictures, events, fresh_process, micro_model, report_to, sdxl_model

TRAINERS = [row for row in COMMANDS if row.kind == "train"]
BUNDLED = [(row, preset) for row in TRAINERS for preset in find_presets(row) if not preset.is_own and preset.path.stem != START]
CHOSEN = [pair for pair in BUNDLED if pair[1].group == ""]
KOHYAS = [pair for pair in BUNDLED if pair[1].group == "kohya"]
MODELS = {
    "sd": ((SD15, 512), (SD21, 768)),
    "sdxl": ((SDXL_BASE, 1024),),
}
"""Models of full size by family, with the side of the pictures that each is trained with."""
FREE = 0.94
"""Share of a card that a training may take: the desktop needs a little too."""
OF_THE_USER = {"pretrained_model_name_or_path": "m.safetensors", "train_data_dir": "d", "output_dir": "o"}
MEANT = ["debiased_estimation_loss"]
"""Warned of, and meant so by a preset's author: two weights at once."""
MAIN_VALUES = {
    "sdxl-1-image-lora-v1-0": ("lokr", "Prodigy", 1, 100000, 1, 1),
    "sdxl-loha-ai-characters-v1-0": ("loha", "AdamW8bit", 1e-3, 32, 32, 8),
    "sdxl-lokr-v1-0": ("lokr", "Prodigy", 1, 64, 64, 8),
    "sdxl-lora-ai-now-adamw-v1-0": ("", "AdamW", 1e-4, 32, 32, 4),
    "sdxl-lora-ai-now-prodigy-v1-0": ("", "Prodigy", 1, 32, 16, 8),
    "sdxl-lora-ai-characters-standard-v1-0": ("", "AdamW8bit", 2e-5, 32, 32, 8),
    "sdxl-lora-ai-characters-standard-v1-1": ("", "AdamW", 3e-5, 32, 32, 3),
    "sdxl-lora-adafactor-v1-0": ("", "Adafactor", None, 128, 128, 5),
    "sdxl-lora-aitrepreneur-clothing-v1-0": ("", "Adafactor", 9e-4, 128, 1, 1),
    "sdxl-lora-by-malcolmrey-training-v1-0": ("", "AdamW8bit", 1e-4, 32, 13, 8),
    "sdxl-lora-face-dogu-cat-v1-0": ("", "AdamW8bit", 1e-4, 92, 46, 1),
    "sdxl-lora-finetuning-phase-1-v1-1": ("", "AdamW", 1e-4, 128, 128, 8),
    "sdxl-lora-finetuning-phase-2-v1-1": ("", "AdamW", 1e-4, 128, 128, 1),
    "sdxl-lora-kudou-reira-dadaptadam-v1-0": ("", "DAdaptAdam", 1, 256, 256, 6),
    "sdxl-lora-kudou-reira-dadaptadam-v1-1": ("", "DAdaptAdam", 1, 64, 64, 6),
    "sdxl-lora-kudou-reira-prodigy-v4-0": ("", "Prodigy", 1, 256, 256, 6),
    "sdxl-edgloraxl-ai-now": ("", "Prodigy", 1, 32, 32, 4),
    "sdxl-edgloraxl": ("", "Prodigy", 1, 32, 32, 4),
    "ia3-prodigy-sd15": ("ia3", "Prodigy", 1, 1024, 1024, 1),
    "ia3-sd15": ("ia3", "Prodigy", 1, 64, 64, 1),
    "locon-dadaptation-sdxl": ("", "Adafactor", 4e-7, 64, 64, 1),
    "loha-sd15": ("loha", "AdamW", 1e-4, 32, 16, 1),
    "lokr-sd15": ("lokr", "Prodigy", 1, 64, 64, 1),
    "sd15-edg-loconoptisettings": ("locon", "AdamW8bit", 1e-4, 64, 64, 3),
    "sd15-edg-lohaoptisettings": ("loha", "AdamW8bit", 1e-4, 32, 32, 3),
    "sd15-edg-loraoptisettings": ("", "AdamW8bit", 1e-4, 64, 64, 3),
    "sd15-glora-v1-0": ("lokr", "AdamW", 1e-4, 100000, 1, 1),
    "sd15-lokr-v1-0": ("lokr", "AdamW", 1e-4, 100000, 1, 1),
    "sd15-lokr-v1-1": ("lokr", "AdamW", 1e-4, 100000, 1, 1),
    "sd15-lokr-v2-0": ("lokr", "Prodigy", 1, 100000, 1, 2),
    "sdxl-ai-now-pagedadamw8bit-v1-0": ("", "PagedAdamW8bit", 5e-5, None, None, 2),
    "sdxl-essenz-series-by-ai-characters-training-v1-0": ("", "AdamW8bit", 1e-6, None, None, 1),
    "adafactor": ("", "Adafactor", 1e-6, None, None, 4),
    "lion": ("", "Lion", 1.66666666e-5, None, None, 4),
}
"""Those of the kohya GUI by name: kind of LyCORIS, optimizer, rate (none: the optimizer ignores it), rank, alpha, pictures a step."""


def ids(value: object) -> str:
    return value.name if isinstance(value, Preset) else value.script if isinstance(value, Command) else str(value)


def request(trainer: Command, preset: Preset, given: Mapping[str, object] = OF_THE_USER) -> Config:
    """The request that the form makes of a preset, with what a user adds."""
    draft = applied(start_draft(trainer, Settings()), preset)
    word = {"token_string": "sks", "init_word": "cat"} if trainer.method == "embedding" else {}
    return make_config(trainer, {**draft.given, **word, **given})


def problems(trainer: Command, preset: Preset) -> list[Problem]:
    """What is wrong with it, packages aside, which preflight asks for."""
    return [problem for problem in check(request(trainer, preset)) if "needs the package" not in problem.message]


@pytest.mark.parametrize(("trainer", "preset"), CHOSEN, ids=ids)
def test_one_of_ours_needs_no_package_and_has_no_problems(trainer: Command, preset: Preset) -> None:
    assert [str(problem) for problem in check(request(trainer, preset))] == []


@pytest.mark.parametrize(("trainer", "preset"), KOHYAS, ids=ids)
def test_one_of_the_kohya_gui_has_only_problems_that_are_meant(trainer: Command, preset: Preset) -> None:
    meant = MEANT if preset.name == "kohya-sdxl-1-image-lora-v1-0" else []
    assert [problem.field for problem in problems(trainer, preset)] == meant


@pytest.mark.parametrize(("trainer", "preset"), KOHYAS, ids=ids)
def test_one_of_the_kohya_gui_has_its_main_values_also_beyond_a_forms_range(trainer: Command, preset: Preset) -> None:
    kind, optimizer, rate, *sizes = MAIN_VALUES[preset.name.removeprefix("kohya-")]
    given = preset_given(preset.path, trainer)
    assert (given.get("algo", ""), given["optimizer_type"], given.get("learning_rate")) == (kind, optimizer, rate)
    made = request(trainer, preset)
    names = ("network_dim", "network_alpha", "train_batch_size")
    assert [made.value(name) if name in trainer.by_name else None for name in names] == sizes


def test_all_of_the_kohya_gui_for_the_families_here_are_there() -> None:
    assert {preset.name.removeprefix("kohya-") for _, preset in KOHYAS} == MAIN_VALUES.keys()


@pytest.mark.parametrize(("trainer", "preset"), BUNDLED, ids=ids)
def test_a_preset_says_what_it_is_for_and_leaves_alone_what_is_trained(trainer: Command, preset: Preset) -> None:
    assert preset.about.endswith(".") and len(preset.about) < 340
    assert preset.families == (trainer.family,)
    assert preset.group or preset.title.endswith(f", {preset.card_gb:g} GB")
    data = json.loads(preset.path.read_text("utf-8"))[VALUES]
    given = preset_given(preset.path, trainer)
    assert given.keys() == data.keys() and not given.keys() & left_alone(trainer)


@pytest.mark.parametrize(("trainer", "preset"), CHOSEN, ids=ids)
def test_one_of_ours_fits_the_card_that_it_names(trainer: Command, preset: Preset) -> None:
    made = request(trainer, preset)
    for layout, side in MODELS[trainer.family]:
        header = Header({name: ("F16", shape) for name, shape in single_file_shapes(layout).items()}, {}, 0)
        pixels = side * side * made.value("train_batch_size")
        estimate = estimate_memory(made, header, facts_of(header), pixels=pixels, adapter=adapter_size(made, header))
        assert estimate is not None and estimate.total <= preset.card_gb * 1e9 * FREE, f"{estimate} at {side}"


@pytest.mark.parametrize("trainer", TRAINERS, ids=ids)
def test_every_method_has_presets_for_a_small_and_a_large_card_in_order(trainer: Command) -> None:
    presets = find_presets(trainer, PRESETS)
    assert [preset.name for preset in presets][:1] == [START]
    groups = [GROUPS.index(preset.group) for preset in presets]
    assert groups == sorted(groups)
    cards = [preset.card_gb for row, preset in CHOSEN if row is trainer and preset.card_gb is not None]
    assert min(cards) <= 12 and max(cards) >= 12
    by_goal = [(preset.title.partition(",")[0], preset.card_gb) for row, preset in CHOSEN if row is trainer]
    assert by_goal == sorted(by_goal), "8 GB stands before 12 GB"


def test_the_list_tells_where_a_preset_comes_from() -> None:
    rows = listed(command("train_network"))
    assert rows[0] == ["start", "Start values", ""]
    assert ["kohya-sd15-lokr-v2-0", "sd15 - LoKr v2.0", "kohya"] in rows


TRAINED = [
    ("train_network", "sd-style-06gb"),
    ("train_network", "kohya-sd15-lokr-v2-0"),
    ("train_network", "kohya-sd15-lokr-v1-1"),
    ("train_network", "kohya-sd15-edg-loconoptisettings"),
    ("train_network", "kohya-ia3-prodigy-sd15"),
    ("sdxl_train_network", "sdxl-person-08gb"),
    ("sdxl_train_network", "kohya-sdxl-lora-kudou-reira-dadaptadam-v1-1"),
    ("train_db", "sd-subject-08gb"),
    ("fine_tune", "kohya-lion"),
    ("fine_tune", "kohya-adafactor"),
    ("sdxl_train", "sdxl-many-12gb"),
    ("train_textual_inversion", "sd-person-06gb"),
]
"""Every optimizer of the presets but the paged one, and every way to save memory, once."""


@pytest.mark.parametrize(("script", "name"), TRAINED)
def test_a_preset_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, name: str) -> None:
    run_dir, trainer = report_to(tmp_path / "run", monkeypatch), command(script)
    model = sdxl_model(tmp_path) if trainer.family == "sdxl" else micro_model(tmp_path)
    small = {
        "pretrained_model_name_or_path": str(model),
        "train_data_dir": str(draw_pictures(tmp_path / "pictures" / "2_cat").parent),
        "output_dir": str(tmp_path / "out"),
        "resolution": "64",
        "min_bucket_reso": 64,
        "max_train_epochs": None,
        "max_train_steps": 2,
    }
    made = request(trainer, preset_named(name, trainer), small)
    write_config(tmp_path / "config.toml", made)
    fresh_process()
    family, method = RECIPES[script]
    assert main(script, family=family, method=method, argv=["--config_file", str(tmp_path / "config.toml")]) == 0
    assert [step["step"] for step in events(run_dir, "step")] == [1, 2]
