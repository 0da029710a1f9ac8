"""Pages in the reader's language, with a language of a few words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from kohya_gui.app import build_app
from kohya_gui.form.keys import parameters_by_key
from kohya_gui.page_language import COOKIE, Translation
from kohya_gui.settings import ServerOptions, Settings
from kohya_gui.text import Words, all_words, say, speaking
from kohya_gui.theme import script_texts
from sd_scripts.errors import ConfigError

HERE = "http://127.0.0.1:7860"
TINY = {
    "name": "Kurzsprache",
    "options": {"network_dim": {"label": "Rang", "help": "Wie groß."}, "network_module": {"label": "Bauart"}},
    "sections": {"LoRA": "Die LoRA", "SDModel": "Die Fassung"},
    "texts": {"Train": "Üben", "Check": "Prüfen", "not set": "leer", "Copied": "Kopiert </script>"},
}


def page(folder: Path, options: ServerOptions, locales: Path) -> TestClient:
    settings = Settings(runs_dir=folder / "runs", output_dir=folder / "out", models_dir=folder / "models", allowed_roots=(folder,))
    return TestClient(build_app(settings, options, locales=locales), base_url=HERE)


@pytest.fixture(scope="module")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one language."""
    folder = tmp_path_factory.mktemp("locales")
    (folder / "xx.json").write_text(json.dumps(TINY), "utf-8")
    return folder


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, locales: Path) -> Iterator[TestClient]:
    """A server whose own language is English."""
    with page(tmp_path_factory.mktemp("pages"), ServerOptions(), locales) as made:
        yield made


def record(client: TestClient, language: str, path: str = "/") -> tuple[str, dict[str, Any]]:
    """A page and its record of components, as a reader of `language` gets it."""
    text = client.get(path, headers={"cookie": f"{COOKIE}={language}"}).text
    found = re.search(r"gradio_config = (.*?);</script>", text, re.DOTALL)
    assert found is not None
    return text, json.loads(found[1])


def props(config: dict[str, Any], id_: str) -> dict[str, Any]:
    return next(component["props"] for component in config["components"] if component["props"].get("elem_id") == id_)


def form_of(config: dict[str, Any]) -> str:
    """The Train page's form."""
    return str(props(config, "train-page")["value"])


def test_a_reader_gets_the_page_in_their_language_and_others_do_not(client: TestClient) -> None:
    text, config = record(client, "xx")
    assert 'lang="xx"' in text
    lora = form_of(config)
    for part in (">Rang</label>", "<code>network_dim</code> Wie groß. 1 or more.", 'placeholder="leer"', ">Die LoRA</span>"):
        assert part in lora
    assert ">Prüfen</button>" in form_of(config)
    assert ">Üben</a>" in props(config, "shell")["value"]
    assert "<h3>Die Fassung</h3>" in form_of(config)
    text, config = record(client, "en")
    assert 'lang="en"' in text
    assert ">Rank</label>" in form_of(config)
    assert ">Check</button>" in form_of(config)


def test_what_a_language_does_not_say_is_as_in_english(client: TestClient) -> None:
    _, tiny = record(client, "xx")
    assert ">Start training</button>" in form_of(tiny)
    assert ">Learning rate</label>" in form_of(tiny)


def test_the_record_that_a_reconnecting_page_asks_for_is_translated_too(client: TestClient) -> None:
    assert ">Prüfen</button>" in form_of(client.get("/config", headers={"cookie": f"{COOKIE}=xx"}).json())


def test_an_unknown_language_is_english(client: TestClient) -> None:
    for cookie in ("yy", "../xx", '"'):
        assert ">Check</button>" in form_of(record(client, cookie)[1])


def test_what_a_handler_says_is_in_the_language_of_its_request(client: TestClient) -> None:
    english = parameters_by_key()["network_module"].label
    for language, label in (("xx", "“Bauart”"), ("en", f"“{english}”")):
        client.post("/form", json={"values": {"network_module": "networks.loha"}}, headers={"origin": HERE})
        answer = client.get("/form", headers={"cookie": f"{COOKIE}={language}"}).json()
        assert any(label in reason for reason in answer["marks"]["off"].values()), language


def test_the_pages_scripts_get_their_sentences_and_cannot_be_broken_out_of(client: TestClient) -> None:
    assert "Copied" in set(script_texts())
    head = record(client, "xx")[1]["head"]
    assert "Kopiert \\u003c/script\\u003e" in head


def test_the_server_can_have_a_language_of_its_own(tmp_path: Path, locales: Path) -> None:
    with page(tmp_path, ServerOptions(language="xx"), locales) as client:
        assert ">Prüfen</button>" in form_of(record(client, "none")[1])
        assert ">Check</button>" in form_of(record(client, "en")[1])
        assert 'value="xx" lang="xx" selected' in props(record(client, "xx")[1], "shell")["value"]


def test_a_language_without_words_changes_nothing_but_the_scripts(client: TestClient) -> None:
    _, english = record(client, "en")
    translated = Translation(Words("zz", "Empty")).apply(json.loads(json.dumps(english)))
    assert translated["components"] == english["components"]


def test_fields_of_one_option_that_mean_different_things_can_be_told_apart() -> None:
    both = [parameter for key, parameter in parameters_by_key().items() if key.startswith("stop_text_encoder_training--")]
    words = Words("xx", options={"stop_text_encoder_training": {"label": "Ende"}, f"stop_text_encoder_training--{both[0].section}": {"label": "Aus"}})
    assert [words.label(parameter) for parameter in both] == ["Aus", *["Ende"] * (len(both) - 1)]
    assert len(both) > 1


def test_sentences_take_values_in_any_order() -> None:
    with speaking(Words("xx", texts={"{done} of {total} done": "Von {total} sind {done} fertig"})):
        assert say("{done} of {total} done", done=1, total=3) == "Von 3 sind 1 fertig"
    assert say("{done} of {total} done", done=1, total=3) == "1 of 3 done"


@pytest.mark.parametrize("text", ["{a} von", "{a} von {c}"])
def test_a_sentence_that_leaves_out_a_value_is_refused_at_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "xx.json").write_text(json.dumps({"texts": {"{a} of {b}": text}}), "utf-8")
    with pytest.raises(ConfigError, match=r"other \{places\}"):
        all_words(tmp_path)
