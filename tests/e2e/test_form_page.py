"""The Train page in a real browser."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Material, Server
from tests.e2e.pages import field, fill, problem_at, reach

pytestmark = pytest.mark.e2e


def test_the_page_says_what_it_found_at_a_path_as_it_is_typed(train_page: Page, material: Material) -> None:
    field(train_page, "train_data_dir").fill(str(material.pictures))
    expect(train_page.locator("#plan")).to_contain_text("5 pictures, 5 captions")
    expect(train_page.locator("#plan")).to_contain_text("5 images × 10 repeats = 50")
    field(train_page, "pretrained_model_name_or_path").fill(str(material.model))
    expect(train_page.locator("#plan")).to_contain_text("Stable Diffusion 1")


def test_a_wrong_value_is_marked_at_its_field_and_stops_the_start(train_page: Page, server: Server) -> None:
    field(train_page, "learning_rate").fill("fast")
    expect(problem_at(train_page, "learning_rate")).to_contain_text("'fast'")
    expect(field(train_page, "learning_rate")).to_have_attribute("aria-invalid", "true")
    train_page.locator("#start").click()
    expect(train_page.locator(".refused")).to_contain_text("fast")
    assert train_page.url.rstrip("/") == server.url


def test_a_changed_field_can_be_reset(train_page: Page) -> None:
    field(train_page, "learning_rate").fill("0.01")
    train_page.locator("#f-learning_rate .reset").click()
    expect(field(train_page, "learning_rate")).to_have_value("0.0001")


def test_the_search_leads_to_an_option_in_a_closed_section(train_page: Page) -> None:
    for text, name in {"min_snr_gamma": "min_snr_gamma", "shuffle": "shuffle_caption", "flip": "flip_aug"}.items():
        train_page.locator("h1").click()
        train_page.keyboard.press("/")
        train_page.keyboard.press("Control+a")
        train_page.keyboard.type(text)
        train_page.keyboard.press("Enter")
        expect(field(train_page, name)).to_be_focused()
        train_page.keyboard.press("Tab")


def test_basic_hides_what_all_shows(train_page: Page) -> None:
    train_page.get_by_role("button", name="Basic", exact=True).click()
    expect(train_page.locator("#f-vae")).to_be_hidden()
    train_page.get_by_role("button", name="All", exact=True).click()
    expect(train_page.locator("#f-vae")).to_be_visible()


def test_an_option_appears_when_it_applies(train_page: Page) -> None:
    train_page.locator("#find").fill("huber_c")
    train_page.locator("#find").press("Enter")
    expect(problem_at(train_page, "huber_c")).to_contain_text("Loss type")
    fill(train_page, {"loss_type": "huber"})
    expect(problem_at(train_page, "huber_c")).to_be_empty()


def test_what_was_typed_survives_reload(train_page: Page) -> None:
    fill(train_page, {"output_name": "mein Kätzchen 猫", "network_args": "conv_dim=4 conv_alpha=2"})
    expect(train_page.locator("#sec-SavingFiles")).to_contain_text("1 changed")
    train_page.reload()
    expect(train_page.locator("#sec-SavingFiles")).to_contain_text("1 changed")
    expect(reach(train_page, "output_name")).to_have_value("mein Kätzchen 猫")


def test_a_config_is_saved_and_opened_again(train_page: Page, server: Server) -> None:
    path = server.folder / "configs" / "kitten.toml"
    fill(train_page, {"network_dim": "24", "text_encoder_lr": "5e-5"})
    train_page.locator("#config-path").locator("textarea, input").first.fill(str(path))
    train_page.locator("#config-save").click()
    expect(train_page.locator("#outcome")).to_contain_text("Saved")
    assert tomllib.loads(path.read_text("utf-8"))["network_dim"] == 24
    train_page.locator("#config-reset").click()
    expect(field(train_page, "network_dim")).to_have_value("16")
    train_page.locator("#config-open").click()
    expect(field(train_page, "network_dim")).to_have_value("24")
    fill(train_page, {"network_dim": "28"})
    train_page.locator("#config-save").click()
    expect(train_page.locator("#outcome")).to_contain_text("Saved")
    assert tomllib.loads(path.read_text("utf-8"))["network_dim"] == 28


def test_a_file_that_was_not_opened_is_not_replaced(train_page: Page, server: Server) -> None:
    path = server.folder / "configs" / "somebody's.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text("network_dim = 3\n", "utf-8")
    train_page.locator("#config-path").locator("textarea, input").first.fill(str(path))
    train_page.locator("#config-save").click()
    expect(train_page.locator("#outcome")).to_contain_text("is not the file that was opened")
    assert path.read_text("utf-8") == "network_dim = 3\n"


def test_a_kohya_gui_file_opens_and_lists_what_it_did_not_take(train_page: Page, tmp_path: Path) -> None:
    path = tmp_path / "kohya.json"
    path.write_text(
        '{"LoRA_type": "Standard", "network_dim": 32, "network_alpha": 8, "optimizer": "AdamW", "max_resolution": "512,512", "my_own_key": 7}',
        "utf-8",
    )
    train_page.locator("#config-upload").set_input_files(path)
    expect(train_page.locator("#outcome")).to_contain_text("my_own_key")
    expect(reach(train_page, "network_dim")).to_have_value("32")


def test_the_browser_dialog_fills_a_path_by_keyboard_alone(train_page: Page, material: Material) -> None:
    train_page.get_by_label("Browse for Picture folder").focus()
    train_page.keyboard.press("Enter")
    dialog = train_page.get_by_role("dialog")
    dialog.get_by_role("button", name=material.pictures.name).focus()
    train_page.keyboard.press("Enter")
    expect(dialog.locator(".browser-path")).to_contain_text(material.pictures.name)
    dialog.get_by_role("button", name="Use this folder").focus()
    train_page.keyboard.press("Enter")
    expect(field(train_page, "train_data_dir")).to_have_value(str(material.pictures))
    expect(train_page.locator("#plan")).to_contain_text("5 pictures")


def test_the_command_is_shown(train_page: Page) -> None:
    train_page.locator("#show-command").click()
    expect(train_page.locator("#command-text")).to_contain_text("accelerate.commands.launch")
    expect(train_page.locator("#toml-text")).to_contain_text("network_dim = 16")


def test_pictures_are_copied_into_a_folder_with_repeats_in_its_name(train_page: Page, material: Material, server: Server) -> None:
    train_page.get_by_role("button", name="All", exact=True).click()
    train_page.locator("#sec-DatasetPreparation > summary").click()
    for name, text in {
        "source": str(material.pictures),
        "instance": "sks",
        "class": "square",
        "repeats": "7",
        "destination": str(server.folder / "prepared"),
    }.items():
        train_page.locator(f"#p-{name}").fill(text)
    train_page.locator("#prepare-button").click()
    expect(train_page.locator("#outcome")).to_contain_text("Copied 5 pictures and 5 captions")
    assert len(list((server.folder / "prepared" / "img" / "7_sks square").glob("*.png"))) == 5
    expect(field(train_page, "train_data_dir")).to_have_value(str(server.folder / "prepared" / "img"))
    expect(train_page.locator("#plan")).to_contain_text("5 images × 7 repeats = 35")


def test_the_theme_stays_after_a_reload(train_page: Page) -> None:
    before = train_page.locator("body.dark").count()
    train_page.get_by_label("Light or dark").click()
    expect(train_page.locator("body.dark")).to_have_count(1 - before)
    train_page.reload()
    expect(train_page.locator("body.dark")).to_have_count(1 - before)


def test_no_page_is_wider_than_a_phone_and_the_menu_leads_on(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(server.url, viewport={"width": 390, "height": 844})
    for path in ("/", "/runs", "/run?id=none", "/compare", "/about"):
        page.goto(server.url + path)
        page.wait_for_function("document.querySelector('#live')?.childElementCount > 0")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        squeezed = "[...document.querySelectorAll('dd, p, li, td')].filter((e) => e.offsetParent && e.textContent.length > 12 && e.clientWidth < 60)"
        assert page.evaluate(f"{squeezed}.map((e) => e.textContent)") == []
    expect(page.get_by_role("link", name="Runs")).to_be_hidden()
    page.get_by_label("Menu").click()
    page.get_by_role("link", name="Runs").click()
    expect(page).to_have_url(re.compile("/runs$"))


def test_every_control_has_a_name(train_page: Page) -> None:
    train_page.get_by_role("button", name="All", exact=True).click()
    train_page.evaluate("document.querySelectorAll('details.section').forEach((section) => { section.open = true; })")
    expect(train_page.locator("#f-network_dim")).to_be_visible()
    nameless = train_page.evaluate(
        """() => [...document.querySelectorAll('input, textarea, button, select')].filter((e) => e.offsetParent && e.type !== 'file'
            && !(e.ariaLabel || e.textContent.trim() || e.labels?.length || e.getAttribute('aria-labelledby')))
            .map((e) => e.outerHTML.slice(0, 200))"""
    )
    assert nameless == []


@pytest.mark.parametrize(
    ("method", "family", "script", "there", "gone"),
    [
        ("DreamBooth", "SD 1.x and 2.x", "train_db", "learning_rate_te--DreamBoothText", "network_dim"),
        ("Full fine-tune", "SDXL", "sdxl_train", "block_lr", "stop_text_encoder_training"),
        ("Textual inversion", "SDXL", "sdxl_train_textual_inversion", "use_style_template", "network_dim"),
    ],
)
def test_another_trainer_has_its_own_fields(train_page: Page, method: str, family: str, script: str, there: str, gone: str) -> None:
    fill(train_page, {"seed": "77", "network_dim": "24"})
    train_page.get_by_label(method, exact=True).check()
    train_page.get_by_label(family, exact=True).check()
    expect(train_page.locator(f"#form-column[data-script={script}]")).to_be_visible()
    expect(reach(train_page, "seed")).to_have_value("77")
    expect(reach(train_page, there)).to_be_visible()
    train_page.locator("#find").fill(gone)
    expect(train_page.locator("#find-results")).to_contain_text("No setting is called that")
    train_page.locator("#show-command").click()
    expect(train_page.locator("#command-text")).to_contain_text(f"{script}.py")
    expect(train_page.locator("#toml-text")).to_contain_text("seed = 77")
    train_page.reload()
    expect(train_page.get_by_label(method, exact=True)).to_be_checked()
    train_page.get_by_label("LoRA", exact=True).check()
    expect(train_page.locator("#form-column[data-script$=train_network]")).to_be_visible()
    expect(reach(train_page, "network_dim")).to_have_value("24")


def test_a_config_file_brings_its_trainer_along(train_page: Page, server: Server) -> None:
    path = server.folder / "configs" / "word.toml"
    train_page.get_by_label("Textual inversion", exact=True).check()
    expect(train_page.locator("#form-column[data-script=train_textual_inversion]")).to_be_visible()
    fill(train_page, {"token_string": "sks"})
    train_page.locator("#config-path").locator("textarea, input").first.fill(str(path))
    train_page.locator("#config-save").click()
    expect(train_page.locator("#outcome")).to_contain_text("Saved")
    train_page.get_by_label("LoRA", exact=True).check()
    expect(train_page.locator("#form-column[data-script=train_network]")).to_be_visible()
    train_page.locator("#config-open").click()
    expect(train_page.locator("#form-column[data-script=train_textual_inversion]")).to_be_visible()
    expect(train_page.get_by_label("Textual inversion", exact=True)).to_be_checked()
    expect(reach(train_page, "token_string")).to_have_value("sks")


def test_a_button_does_what_a_fix_says_and_undo_takes_it_back(train_page: Page) -> None:
    fill(train_page, {"network_alpha": "64"})
    expect(problem_at(train_page, "network_alpha")).to_contain_text("Use 16 or less")
    train_page.locator("#f-network_alpha [data-fix]").click()
    expect(field(train_page, "network_alpha")).to_have_value("16")
    expect(problem_at(train_page, "network_alpha")).to_be_empty()
    undo, redo = (train_page.get_by_role("button", name=name, exact=True) for name in ("Undo", "Redo"))
    undo.click()
    expect(field(train_page, "network_alpha")).to_have_value("64")
    undo.click()
    expect(field(train_page, "network_alpha")).to_have_value("8")
    redo.click()
    expect(field(train_page, "network_alpha")).to_have_value("64")


def test_a_pasted_command_fills_the_form_and_lists_what_it_did_not_take(train_page: Page) -> None:
    page = train_page
    page.locator("#paste-box > summary").click()
    page.locator("#pasted textarea").fill(
        "accelerate launch sdxl_train_network.py --network_module=networks.lora --network_dim 24 --flux_capacitor 3 "
        "--pretrained_model_name_or_path '/my models/a.safetensors'"
    )
    page.locator("#paste").click()
    expect(page.locator("#outcome")).to_contain_text("1 of them worth a look")
    expect(field(page, "pretrained_model_name_or_path")).to_have_value("/my models/a.safetensors")
    expect(page.get_by_role("radio", name="SDXL")).to_be_checked()


def test_prompts_are_edited_as_a_table_and_as_lines(train_page: Page) -> None:
    train_page.locator("#sec-SampleImages > summary").click()
    lines = train_page.locator("#i-prompts")
    lines.fill("a cat --n dog --x 1\n# a note\na house")
    rows = train_page.locator("#prompts-rows tr")
    expect(rows).to_have_count(2)
    rows.nth(0).get_by_label("Seed").fill("7")
    rows.nth(0).get_by_label("Negative").fill("mouse")
    rows.nth(1).get_by_label("Sampler").fill("euler_a")
    rows.nth(1).get_by_label("Sampler").press("Tab")
    expect(lines).to_have_value("a cat --n mouse --x 1 --d 7\n# a note\na house --ss euler_a")
    train_page.locator("#add-prompt").click()
    train_page.keyboard.type("a tree")
    train_page.keyboard.press("Tab")
    rows.nth(0).get_by_label("Delete this prompt").click()
    expect(lines).to_have_value("# a note\na house --ss euler_a\na tree")
    train_page.reload()
    expect(train_page.locator("#prompts-rows tr")).to_have_count(2)


def test_a_number_in_the_picture_of_blocks_reaches_the_config(train_page: Page) -> None:
    reach(train_page, "block_dims")
    train_page.locator("#blocks > summary").click()
    train_page.get_by_role("tab", name="Ranks", exact=True).click()
    train_page.get_by_label("Up 3", exact=True).fill("5")
    train_page.get_by_label("Up 3", exact=True).press("Tab")
    wanted = ",".join(["16"] * 16 + ["5"] + ["16"] * 8)
    expect(field(train_page, "block_dims")).to_have_value(wanted)
    train_page.locator("#show-command").click()
    expect(train_page.locator("#toml-text")).to_contain_text(wanted)


def test_a_preset_says_what_it_changes_and_is_applied_when_asked(train_page: Page) -> None:
    fill(train_page, {"network_dim": "99", "output_name": "stays"})
    train_page.locator("#preset").select_option("start")
    expect(train_page.locator(".preset-card")).to_contain_text("network_dim")
    expect(field(train_page, "network_dim")).to_have_value("99")
    train_page.get_by_role("button", name="Apply", exact=True).click()
    expect(field(train_page, "network_dim")).to_have_value("16")
    expect(field(train_page, "output_name")).to_have_value("stays")


def test_two_configs_are_compared_and_one_is_exported(train_page: Page, server: Server) -> None:
    fill(train_page, {"network_dim": "24"})
    train_page.locator("#config-file").fill(str(server.folder / "configs" / "compared.toml"))
    train_page.locator("#config-save").click()
    expect(train_page.locator("#outcome")).to_contain_text("Saved")
    fill(train_page, {"network_dim": "12"})
    train_page.locator("#paste-box > summary").click()
    train_page.locator("#compare").click()
    expect(train_page.locator("#outcome table")).to_contain_text("network_dim2412")
    train_page.locator("#config-duplicate").click()
    expect(train_page.locator("#config-file")).to_have_value(re.compile("compared-2.toml$"))
    train_page.locator("#export-json").click()
    with train_page.expect_download() as download:
        train_page.locator("#outcome a[download]").click()
    assert '"network_dim": 12' in Path(download.value.path()).read_text("utf-8")
