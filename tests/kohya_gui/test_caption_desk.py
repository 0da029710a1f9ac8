"""The Captions page's server side: folders opened, captions found, saved, changed and taken back, and what other programs did in between."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kohya_gui import caption_changes
from kohya_gui.caption_desk import CaptionDesk, Conflict, Moved
from kohya_gui.caption_set import CaptionSet
from kohya_gui.caption_text import put
from kohya_gui.files import Roots
from sd_scripts.errors import ConfigError, DataError, RunError, TrainingError
from sd_scripts.params.commands import command
from sd_scripts.params.config import Config, make_config

ME = "ann"


@dataclass
class Page:
    """A page that has a folder open. `given` are the form's settings."""

    folder: Path
    given: dict[str, Any] = field(default_factory=dict)
    desk: CaptionDesk = field(init=False)
    opened: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Another server on the same folders."""
        self.desk = CaptionDesk(self.folder / "runs" / ".captions", lambda: Roots((self.folder,)), self.config)

    def config(self, user: str) -> Config:
        """The form's settings."""
        return make_config(command("train_network"), {"resolution": "512,512", **self.given})

    def open(self, folder: Path | str | None = None, **more: str) -> dict[str, Any]:
        """Open a folder, the one that was open, or the form's ("")."""
        self.opened = self.desk.open(ME, more if folder is None else {"folder": str(folder), **more})
        return self.opened

    def ask(self, verb: str, **data: Any) -> dict[str, Any]:
        """A request about what is open."""
        asked = {name: self.opened[name] for name in ("token", "folder", "extension")}
        return getattr(self.desk, verb)(ME, {**asked, **data})

    def names(self, trigger: str = "", **wanted: Any) -> list[str]:
        """Pictures that fit a filter."""
        return self.ask("list", filter=wanted, trigger=trigger)["names"]

    def entry(self, name: str, **more: Any) -> dict[str, Any]:
        """One picture."""
        (entry,) = self.ask("entries", names=[name], **more)["entries"]
        return entry

    def save(self, name: str, text: str, **more: Any) -> dict[str, Any]:
        """Type a caption."""
        return self.ask("save", **{"name": name, "text": text, "version": self.entry(name)["version"], **more})

    def change(self, names: list[str] | None = None, *, trigger: str = "", **edit: Any) -> dict[str, Any]:
        """An edit, looked at and then made; of all pictures where none is named."""
        scope: dict[str, Any] = {"shown": {}} if names is None else {"names": names}
        told = self.ask("preview", edit=edit, trigger=trigger, **scope)
        return {**told, **self.ask("apply", edit=edit, trigger=trigger, plan=told["plan"], **scope)}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four pictures: two with captions, one without, one whose caption is not UTF-8."""
    folder = tmp_path / "my pictures"
    folder.mkdir()
    for name in ("a.png", "b.jpg", "c.webp", "10.png"):
        (folder / name).write_bytes(b"picture")
    (folder / "a.txt").write_bytes(b"cat, sitting, Outdoors\r\n")
    (folder / "b.txt").write_bytes(b"dog, sitting")
    (folder / "10.txt").write_bytes(b"K\xe4fer")
    return folder


@pytest.fixture
def page(tmp_path: Path, pictures: Path) -> Page:
    """A page with these pictures open."""
    made = Page(tmp_path, {"caption_extension": ".txt"})
    made.open(pictures)
    return made


def texts(folder: Path) -> dict[str, bytes]:
    """All captions below a folder."""
    return {path.name: path.read_bytes() for path in folder.rglob("*.txt")}


def test_pictures_come_in_the_order_of_their_numbers_with_what_is_wrong_counted(page: Page) -> None:
    answer = page.ask("list", trigger="cat")
    assert answer["names"] == ["10.png", "a.png", "b.jpg", "c.webp"]
    assert answer["counts"] == {"all": 4, "missing": 1, "unreadable": 1, "lacking": 2, "edited": 0}
    assert answer["tags"] == [("sitting", 2), ("cat", 1), ("dog", 1), ("Outdoors", 1)]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({"only": "missing"}, ["c.webp"]),
        ({"only": "unreadable"}, ["10.png"]),
        ({"only": "lacking"}, ["b.jpg", "c.webp"]),
        ({"tags": ["SITTING"]}, ["a.png", "b.jpg"]),
        ({"tags": ["sitting"], "without": ["dog"]}, ["a.png"]),
        ({"find": "outDOORS"}, ["a.png"]),
        ({"find": "outDOORS", "case": True}, []),
        ({"find": "^(cat|dog), s", "regex": True}, ["a.png", "b.jpg"]),
    ],
)
def test_captions_are_found(page: Page, wanted: dict[str, Any], names: list[str]) -> None:
    assert page.names(trigger="cat", **wanted) == names


def test_a_wrong_filter_is_refused(page: Page) -> None:
    for wanted, sentence in (({"only": "x"}, "no filter"), ({"tags": "cat"}, "no filter"), ({"find": "(", "regex": True}, "not a pattern")):
        with pytest.raises(ConfigError, match=sentence):
            page.names(**wanted)


def test_tags_are_searched_and_spelled_as_most_do(page: Page, pictures: Path) -> None:
    (pictures / "b.txt").write_text("Cat, CAT two")
    (pictures / "c.txt").write_text("Cat")
    answer = page.ask("list", tagfind="AT")
    assert (answer["tags"], answer["tags_total"]) == ([("Cat", 3), ("CAT two", 1)], 2)


def test_one_picture_is_shown_as_training_reads_it(page: Page, pictures: Path) -> None:
    (pictures / "a.txt").write_bytes(b"one, two\r\n\r\nsecond line\r\n")
    entry = page.entry("a.png", trigger="one")
    assert (entry["text"], entry["tags"], entry["unread"]) == ("one, two\n\nsecond line", ("one", "two"), 1)
    assert (entry["path"], entry["file"], entry["lacking"]) == (str(pictures / "a.png"), "a.txt", False)
    assert page.entry("10.png")["text"] is None
    assert "byte 0xe4 at position 1" in page.entry("10.png")["problem"]


def test_a_typed_caption_keeps_line_ends_and_can_be_taken_back_and_made_again(page: Page, pictures: Path) -> None:
    before = texts(pictures)
    answer = page.save("a.png", "cat, standing\nsecond")
    assert (pictures / "a.txt").read_bytes() == b"cat, standing\r\nsecond\r\n"
    assert (answer["entry"]["edited"], answer["undo"], answer["redo"]) == (True, "Caption of a.png", None)
    assert page.names(only="edited") == ["a.png"]
    page.ask("step", back=True)
    assert texts(pictures) == before
    page.ask("step", back=False)
    assert (pictures / "a.txt").read_bytes() == b"cat, standing\r\nsecond\r\n"


def test_a_caption_that_was_missing_is_made_and_removed_again(page: Page, pictures: Path) -> None:
    assert page.save("c.webp", " ")["undo"] is None
    assert not (pictures / "c.txt").exists()
    page.save("c.webp", "new 猫")
    assert (pictures / "c.txt").read_bytes() == "new 猫".encode()
    assert page.ask("step", back=True)["names"] == ["c.webp"]
    assert not (pictures / "c.txt").exists()


def test_saving_what_is_there_is_no_change(page: Page) -> None:
    assert page.save("a.png", "cat, sitting, Outdoors")["undo"] is None


def test_what_another_program_wrote_is_never_overwritten(page: Page, pictures: Path) -> None:
    seen = page.entry("a.png")["version"]
    (pictures / "a.txt").write_text("theirs")
    with pytest.raises(Conflict, match="Another program changed") as refused:
        page.save("a.png", "mine", version=seen)
    assert refused.value.entry["text"] == "theirs"
    assert (pictures / "a.txt").read_text() == "theirs"
    page.save("a.png", "mine", version=refused.value.entry["version"])
    assert (pictures / "a.txt").read_text() == "mine"


def test_a_file_that_appeared_or_vanished_in_between_is_a_conflict_too(page: Page, pictures: Path) -> None:
    missing, there = page.entry("c.webp")["version"], page.entry("b.jpg")["version"]
    (pictures / "c.txt").write_text("theirs")
    (pictures / "b.txt").unlink()
    for name, version in (("c.webp", missing), ("b.jpg", there)):
        with pytest.raises(Conflict):
            page.save(name, "mine", version=version)
    assert not (pictures / "b.txt").exists()


def test_taking_back_leaves_what_another_program_wrote_since(page: Page, pictures: Path) -> None:
    page.change(kind="front", words="sks")
    (pictures / "b.txt").write_text("theirs")
    answer = page.ask("step", back=True)
    assert (pictures / "a.txt").read_bytes() == b"cat, sitting, Outdoors\r\n"
    assert (pictures / "b.txt").read_text() == "theirs"
    assert not (pictures / "c.txt").exists()
    assert answer["skipped"] == [{"name": "b.txt", "reason": "Another program changed it in between."}]
    assert (answer["undo"], answer["redo"]) == (None, "“sks” in front (captions: 3)")


def test_everything_can_be_taken_back_after_a_restart(page: Page, pictures: Path) -> None:
    before = texts(pictures)
    for edit in (
        {"kind": "front", "words": "sks"},
        {"kind": "replace", "find": "sitting", "put": "lying"},
        {"kind": "sort"},
        {"kind": "recode", "words": "cp1252"},
    ):
        page.change(**edit)
    page.save("a.png", "typed")
    after = texts(pictures)
    assert after["10.txt"] == "Käfer".encode()
    page.restart()
    page.open()
    said = [page.ask("step", back=True)["said"] for _ in range(6)]
    assert texts(pictures) == before
    assert said[0] == "Taken back: Caption of a.png"
    assert said[5] == "There is nothing to take back."
    page.restart()
    for _ in range(5):
        page.ask("step", back=False)
    assert texts(pictures) == after


def test_a_preview_says_what_will_change_and_changes_nothing(page: Page, pictures: Path) -> None:
    before = texts(pictures)
    told = page.ask("preview", edit={"kind": "remove", "words": "sitting"}, shown={})
    assert (told["changes"], told["of"], told["unreadable"]) == (2, 4, 1)
    assert told["examples"][0] == {"name": "a.png", "before": "cat, sitting, Outdoors", "after": "cat, Outdoors"}
    assert texts(pictures) == before


def test_an_edit_that_is_not_what_the_preview_told_is_told_again_first(page: Page, pictures: Path) -> None:
    edit, scope = {"kind": "front", "words": "sks"}, {"shown": {"tags": ["sitting"]}}
    told = page.ask("preview", edit=edit, **scope)
    (pictures / "b.txt").write_text("dog, running, sitting")
    again = page.ask("apply", edit=edit, plan=told["plan"], **scope)
    assert (again["stale"], again["changes"]) == (True, 2)
    assert (pictures / "a.txt").read_bytes() == b"cat, sitting, Outdoors\r\n"
    assert page.ask("apply", edit=edit, plan=again["plan"], **scope)["names"] == ["a.png", "b.jpg"]
    assert (pictures / "b.txt").read_text() == "sks, dog, running, sitting"


def test_only_chosen_pictures_are_changed(page: Page, pictures: Path) -> None:
    answer = page.change(["b.jpg", "gone.png"], kind="back", words="x, y")
    assert (answer["changes"], answer["said"]) == (1, "“x, y” at the end (captions: 1)")
    assert texts(pictures) == {"a.txt": b"cat, sitting, Outdoors\r\n", "b.txt": b"dog, sitting, x, y", "10.txt": b"K\xe4fer"}


def test_trigger_words_are_put_in_front_where_they_lack(page: Page, pictures: Path) -> None:
    assert page.change(kind="trigger", trigger="cat")["changes"] == 2
    assert (pictures / "b.txt").read_bytes() == b"cat, dog, sitting"
    assert (pictures / "c.txt").read_bytes() == b"cat"
    assert page.names(trigger="cat", only="lacking") == []


def test_tags_are_sorted_by_how_common_they_are_in_all_captions(page: Page, pictures: Path) -> None:
    (pictures / "b.txt").write_text("dog, sitting, outdoors")
    page.change(["a.png"], kind="sort", common=True)
    assert (pictures / "a.txt").read_bytes() == b"Outdoors, sitting, cat\r\n"


def test_a_caption_file_of_several_pictures_is_changed_once(page: Page, pictures: Path) -> None:
    for name in ("a.jpg", "a_200_200_50_50.png"):
        (pictures / name).write_bytes(b"picture")
    page.open()
    assert page.change(kind="front", words="sks")["changes"] == 3
    assert page.entry("a.png")["shared"] == 2
    assert page.save("a.png", "x")["same_file"] == ["a.jpg", "a_200_200_50_50.png"]
    assert page.entry("a.jpg")["text"] == "x"


def test_a_step_that_is_stopped_can_be_taken_back(page: Page, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = texts(pictures)

    def write_and_stop(path: Path, content: bytes | None, *, sync: bool = True) -> None:
        put(path, content, sync=sync)
        assert page.ask("working", stop=True)["total"] == 3

    monkeypatch.setattr(caption_changes, "put", write_and_stop)
    answer = page.change(kind="front", words="sks")
    assert (answer["stopped"], answer["names"], answer["said"]) == (True, ["a.png"], "“sks” in front (captions: 1)")
    monkeypatch.undo()
    page.ask("step", back=True)
    assert texts(pictures) == before
    assert page.ask("working") == {"total": 0, "done": 0}


def test_a_disk_that_refuses_leaves_no_step_behind(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes | None, *, sync: bool = True) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caption_changes, "put", full)
    with pytest.raises(RunError, match="No space left"):
        page.change(kind="front", words="sks")
    assert page.ask("list")["undo"] is None


def test_folders_below_are_shown_with_the_class_tokens_of_their_names(tmp_path: Path) -> None:
    for name in ("img/10_sks cat/a.png", "img/5_sks dog/a.png", "img/.hidden/a.png", "a.png"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture")
    page = Page(tmp_path)
    opened = page.open(tmp_path / "set")
    assert [(row["name"], row["pictures"], row["class_tokens"]) for row in opened["folders"]] == [
        ("set", 1, ""),
        ("10_sks cat", 1, "sks cat"),
        ("5_sks dog", 1, "sks dog"),
    ]
    assert page.names() == ["a.png", "img/10_sks cat/a.png", "img/5_sks dog/a.png"]
    assert page.names(only="lacking") == []
    page.change(kind="create")
    assert {path.parent.name: path.read_text() for path in (tmp_path / "set").rglob("*.caption")} == {"10_sks cat": "sks cat", "5_sks dog": "sks dog"}


def test_the_forms_folders_are_shown_with_the_forms_rules(page: Page, pictures: Path, tmp_path: Path) -> None:
    train = tmp_path / "train" / "10_sks cat"
    train.mkdir(parents=True)
    (train / "a.png").write_bytes(b"picture")
    (train / "a.cap").write_text("x; y; z")
    page.given = {"train_data_dir": str(tmp_path / "train"), "caption_extension": ".cap", "caption_separator": ";", "keep_tokens": 1}
    opened = page.open("")
    assert (opened["extensions"], opened["class_tokens"], page.names()) == ([".cap"], ("sks cat",), ["a.png"])
    assert opened["notes"] == ["Tags are split at “;”.", "Tags at the front that keep their place: 1."]
    page.change(kind="front", words="a;b")
    assert (train / "a.cap").read_text() == "a; b; x; y; z"
    page.given |= {"train_data_dir": str(pictures)}
    with pytest.raises(Moved, match="not the same"):
        page.restart()
        page.names()


def test_a_dataset_config_names_folders_with_rules_of_their_own(page: Page, pictures: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "x.png").write_bytes(b"picture")
    (other / "x.caption").write_text("a|b")
    config = tmp_path / "data.toml"
    config.write_text(
        f"""
        [[datasets]]
        [[datasets.subsets]]
        image_dir = '{pictures}'
        caption_extension = ".txt"
        [[datasets.subsets]]
        image_dir = '{other}'
        caption_separator = "|"
        """
    )
    page.given = {"dataset_config": str(config), "caption_extension": ".caption"}
    opened = page.open("")
    assert (opened["extensions"], opened["root"]) == ([".caption", ".txt"], str(tmp_path))
    assert page.names() == [f"my pictures/{name}" for name in ("10.png", "a.png", "b.jpg", "c.webp")] + ["other/x.png"]
    page.change(["other/x.png"], kind="back", words="c|d")
    assert (other / "x.caption").read_text() == "a|b|c|d"


def test_another_ending_shows_other_captions_and_pictures_are_none(page: Page, pictures: Path) -> None:
    (pictures / "a.caption").write_text("other")
    assert page.open(extension=".caption")["others"] == {".txt": 3, ".caption": 1}
    assert page.entry("a.png")["text"] == "other"
    for ending in (".png", ".safetensors", "txt", "./x", ".NPZ"):
        with pytest.raises(ConfigError, match="not an ending"):
            page.open(extension=ending)


def test_nothing_outside_the_allowed_folders_is_shown_or_written(page: Page, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.txt").write_text("secret")
    (outside / "a.png").write_bytes(b"picture")
    (pictures / "link").symlink_to(outside)
    (pictures / "c.txt").symlink_to(outside / "secret.txt")
    with pytest.raises(DataError, match="may not open"):
        page.open(outside)
    page.open(pictures)
    entry = page.entry("c.webp")
    assert entry["text"] is None
    assert "link out of the folders" in entry["problem"]
    assert "link/a.png" not in page.names()
    page.change(kind="front", words="sks")
    with pytest.raises(TrainingError):
        page.save("c.webp", "mine")
    assert (outside / "secret.txt").read_text() == "secret"
    page.given = {"train_data_dir": str(outside)}
    with pytest.raises(DataError, match="may not open"):
        page.open("")


@pytest.mark.parametrize(("name", "sentence"), [("nowhere", "no such folder"), ("empty", "no pictures")])
def test_a_folder_without_pictures_is_told(page: Page, tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=sentence):
        page.open(tmp_path / name)


def test_without_a_folder_in_the_form_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="No folder of pictures is given"):
        Page(tmp_path).open()


def test_what_was_looked_at_is_shown_again_and_another_folder_starts_afresh(page: Page, pictures: Path, tmp_path: Path) -> None:
    view = {"filter": {"find": "cat"}, "picture": "b.jpg", "selected": ["a.png"], "trigger": "sks", "unknown": 1, "folder": 7}
    page.ask("keep_view", view=view)
    page.restart()
    kept = page.open()
    assert (kept["folder"], kept["view"]["filter"], kept["view"]["selected"]) == (str(pictures), {"find": "cat"}, ["a.png"])
    assert "unknown" not in kept["view"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.png").write_bytes(b"picture")
    assert page.open(tmp_path / "other")["view"]["selected"] == []


def test_a_damaged_request_is_refused(page: Page) -> None:
    for verb, data in (("entries", {"names": "a.png"}), ("list", {"filter": []}), ("save", {"name": 1})):
        with pytest.raises(ConfigError, match="request is damaged"):
            page.ask(verb, **data)


def test_a_picture_that_is_gone_cannot_be_saved(page: Page) -> None:
    with pytest.raises(DataError, match="not in the folder any more"):
        page.ask("save", name="gone.png", text="x", version="")


def test_what_did_not_change_is_not_read_again(page: Page, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = CaptionSet._read

    def noted(self: CaptionSet, entry: Any) -> Any:
        read.append(entry.name)
        return whole(self, entry)

    monkeypatch.setattr(CaptionSet, "_read", noted)
    page.names()
    assert read == []
    os.utime(pictures / "b.txt", ns=(1, 1))
    page.names()
    assert read == ["b.jpg"]


def test_two_changes_at_once_come_one_after_the_other(page: Page, pictures: Path) -> None:
    failed: list[BaseException] = []

    def attempt(go: Callable[[], Any]) -> None:
        try:
            go()
        except TrainingError as reason:
            failed.append(reason)

    versions = page.entry("a.png")["version"]
    threads = [threading.Thread(target=attempt, args=(lambda text=text: page.save("a.png", text, version=versions),)) for text in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(reason) for reason in failed] == [Conflict]
    assert (pictures / "a.txt").read_text().strip() in ("one", "two")
