"""Uploads side by side, and cancelled ones: what had arrived goes again, what was there before stays."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from kohya_gui import dataset_transfers
from kohya_gui.dataset_transfers import Transfers
from kohya_gui.dataset_upload import Cancelled, receive
from sd_scripts.errors import DataError, RunError


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(file, "PNG")
    return file.getvalue()


def everything(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def send(transfers: Transfers, folder: Path, name: str, chunks: Iterator[bytes]) -> None:
    """What a request does."""
    with transfers.receiving(folder) as transfer:
        transfer.kept += receive(folder, name, chunks, cancelled=lambda: transfer.cancelled).kept


def test_files_that_arrive_at_once_do_not_disturb_one_another(tmp_path: Path) -> None:
    transfers, content = Transfers(), picture()
    folder = transfers.begin(tmp_path, "cats")
    names = [f"{number % 3}_cat/{number}.png" for number in range(150)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: send(transfers, folder, name, iter([content])), names))
    assert [name for name in everything(folder) if name.endswith(".png")] == sorted(names)
    assert not list(folder.glob(".*"))


def test_a_cancelled_upload_leaves_nothing(tmp_path: Path) -> None:
    transfers, half, go_on = Transfers(), threading.Event(), threading.Event()
    folder = transfers.begin(tmp_path, "cats")
    send(transfers, folder, "10_cat/a.png", iter([picture()]))

    def slowly() -> Iterator[bytes]:
        yield picture()[:10]
        half.set()
        go_on.wait(10)
        yield picture()[10:]

    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(send, transfers, folder, "10_cat/b.png", slowly())
        half.wait(10)
        cancelling = pool.submit(transfers.cancel, folder)
        assert not cancelling.done()
        go_on.set()
        assert cancelling.result(10) == 1
        with pytest.raises(Cancelled):
            writing.result(10)
    assert everything(tmp_path) == []
    with pytest.raises(DataError, match="not under way"):
        transfers.cancel(folder)


def test_a_zip_that_is_being_unpacked_is_cancelled_too(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(5):
            archive.writestr(f"{number}.png", picture())
    asked = iter([False, False, True])  # while it arrives, at the first picture, at the second
    with pytest.raises(Cancelled):
        receive(tmp_path, "a.zip", [packed.getvalue()], cancelled=lambda: next(asked))
    assert everything(tmp_path) == []


def test_what_somebody_else_put_there_stays(tmp_path: Path) -> None:
    transfers = Transfers()
    folder = transfers.begin(tmp_path, "cats")
    send(transfers, folder, "a.png", iter([picture()]))
    (folder / "mine.txt").write_text("mine", "utf-8")
    assert transfers.cancel(folder) == 1
    assert everything(tmp_path) == ["cats", "cats/mine.txt"]


def test_an_upload_that_has_ended_cannot_be_cancelled(tmp_path: Path) -> None:
    transfers = Transfers()
    folder = transfers.begin(tmp_path, "cats")
    send(transfers, folder, "a.png", iter([picture()]))
    transfers.end(folder)
    with pytest.raises(DataError, match="not under way"):
        transfers.cancel(folder)
    assert everything(folder) == ["a.png"]


def test_a_file_that_does_not_end_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_transfers, "LONGEST_WAIT_S", 0.01)
    transfers = Transfers()
    folder = transfers.begin(tmp_path, "cats")
    with transfers.receiving(folder), pytest.raises(RunError, match="still being written"):
        transfers.cancel(folder)
    with pytest.raises(Cancelled), transfers.receiving(folder):
        pass


def test_a_zip_in_a_folder_is_unpacked_there(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.png", picture())
    assert receive(tmp_path, "10_cat/10_cat.zip", [packed.getvalue()]).kept == ["10_cat/a.png"]
