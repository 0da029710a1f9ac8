"""Everything that the Dataset page's parts are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kohya_gui.dataset_desk import DatasetDesk, Wrong
from kohya_gui.dataset_looks import Found, Job
from kohya_gui.dataset_pictures import SubsetPictures
from kohya_gui.dataset_state import State
from kohya_gui.text import say
from sd_scripts.params.config import Config
from sd_scripts.survey.dataset_config import Spot


@dataclass(frozen=True)
class Sight:
    """The state, what its document says, and what a look at the files gave; `found` is None while somebody is still looking.

    `trained_file` is the dataset file that the Train page names, "" for none.
    """

    state: State
    data: Mapping[str, Any]
    config: Config
    job: Job
    wrong: Mapping[tuple[Spot, str], Wrong]
    datasets_dir: Path
    root_path: str = ""
    trained_file: str = ""

    @property
    def found(self) -> Found | None:
        """What was found, once it is."""
        return self.job.found

    @property
    def spot(self) -> Spot:
        """The table that is shown."""
        return self.state.chosen

    def table(self, spot: Spot) -> Mapping[str, Any]:
        """The keys of a table."""
        return self.state.document.table(spot)

    def datasets(self) -> list[Mapping[str, Any]]:
        """All datasets with their subsets."""
        return list(self.data.get("datasets", []))

    def pictures(self, spot: Spot) -> SubsetPictures | None:
        """What lies in a subset's folder, once it was looked at."""
        return self.found.subsets.get(spot) if self.found else None


def make_sight(desk: DatasetDesk, user: str, root_path: str, *, wait: float = 0.0) -> Sight:
    """What the user's page shows now; `wait` are seconds for a look that is soon done."""
    job = desk.look(user)
    job.ready.wait(wait)
    state = desk.states.read(user)
    trained = str(desk.drafts().read(user).config()[0].value("dataset_config") or "")
    return Sight(state, state.document.data(), desk.config(user), job, dict(desk.wrong[user]), desk.settings().datasets_dir, root_path, trained)


def subset_name(table: Mapping[str, Any]) -> str:
    """What a subset is called on the page: its folder's or metadata file's own name."""
    path = str(table.get("metadata_file") or table.get("image_dir") or "")
    return Path(path).name or path or say("No folder")
