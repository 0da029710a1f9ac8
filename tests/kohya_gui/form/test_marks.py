"""What the page's script shows at the fields."""

from __future__ import annotations

from typing import Any

from kohya_gui.configs import Draft, draft_of
from kohya_gui.form.marks import SectionFacts, make_marks, not_applicable
from kohya_gui.text import Words
from sd_scripts.params.commands import command
from sd_scripts.params.config import make_config
from sd_scripts.params.network import Network

LORA = command("train_network")
SECTION = SectionFacts(
    "sec-LoRA", ("network_dim", "network_alpha", "conv_dim", "dim_from_weights"), lambda config: f"rank {config[Network].network_dim}"
)


def marks_of(draft: Draft) -> dict[str, Any]:
    config, problems = draft.config()
    return make_marks(draft, config, problems, sections=[SECTION], words=Words())


def test_an_error_stands_at_its_field_and_on_its_section() -> None:
    marks = marks_of(Draft(given={"network_dim": 0}))
    assert marks["problems"]["network_dim"][0] == "error"
    assert marks["sections"]["sec-LoRA"]["mark"] == "error"
    assert marks["errors"] >= 1


def test_a_changed_field_says_what_a_reset_brings_back() -> None:
    draft = draft_of(make_config(LORA, {"network_dim": 16, "network_module": "networks.lora"})).with_value("network_dim", "8")
    marks = marks_of(draft)
    assert marks["changed"] == {"network_dim": "16"}
    assert marks["sections"]["sec-LoRA"] == {"summary": "rank 8", "mark": marks["sections"]["sec-LoRA"]["mark"], "changed": 1}


def test_options_that_do_not_apply_are_off_with_the_reason() -> None:
    off = not_applicable(LORA, make_config(LORA, {}), Words())
    assert "Adapter" in off["conv_dim"]
    assert "num_processes" in off["zero_stage"]
    assert "always" in off["persistent_data_loader_workers"]


def test_an_option_comes_back_when_its_condition_holds() -> None:
    assert "conv_dim" not in not_applicable(LORA, make_config(LORA, {"network_module": "networks.lora"}), Words())


def test_a_changed_option_is_never_switched_off() -> None:
    draft = Draft(given={"conv_dim": 4})
    assert "conv_dim" in marks_of(draft)["changed"]
    assert "conv_dim" not in marks_of(draft)["off"]


def test_marks_differ_whenever_a_value_does_so_that_the_plan_follows() -> None:
    drafts = [Draft(given={"train_data_dir": path, "network_dim": 4}) for path in ("/a/cats", "/b/cats")]
    assert marks_of(drafts[0])["sections"] == marks_of(drafts[1])["sections"]
    assert marks_of(drafts[0]) != marks_of(drafts[1])


def test_problems_of_no_drawn_field_are_general() -> None:
    marks = marks_of(Draft())
    assert any("model" in message.lower() for _, message, _ in marks["general"])
