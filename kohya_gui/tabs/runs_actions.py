"""What the page of all runs is told, and what can be done to runs from there: names and notes, the trash, training again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kohya_gui.jobs.notes import read_note, write_note
from kohya_gui.jobs.runs import read_run, read_status
from kohya_gui.jobs.trash import belongings, bring_back, erase, put_away
from kohya_gui.markup import tag
from kohya_gui.settings import HOME
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.run_actions import Answer
from kohya_gui.tabs.runs import FIRST_SHOWN, removal, runs_table, trash_list
from kohya_gui.tabs.training_actions import told
from kohya_gui.text import count, say, size
from kohya_gui.train_again import draft_again
from sd_scripts.errors import RunError, TrainingError

MOST_SHOWN = 2000


@dataclass(frozen=True)
class RunsActions:
    """Answers to the pages of runs. All but `list` raise RunError. Answers may hold:

    `table`, `trash`: HTML of what changed, with its digest in `seen`; `count`: how many runs there are; `told`: the answer to a button;
    `words`: what a dialog says; `note`: name, tags and text; `href`: the page to go to, `said`: a sentence that is shown there.
    """

    desk: Desk

    def list(self, asked: Mapping[str, Any]) -> Answer:
        """What is new for a page that has `seen` a list, by its digest; `words`, `state` and `most` choose what it holds."""
        most = asked.get("most")
        shown = min(most, MOST_SHOWN) if isinstance(most, int) and most > 0 else FIRST_SHOWN
        table, runs = runs_table(self.desk, words=str(asked.get("words", "")), state=str(asked.get("state", "")), most=shown)
        trash = trash_list(self.desk)
        seen = hashlib.blake2b(f"{table}\0{trash}".encode(), digest_size=8).hexdigest()
        return {"seen": seen} if seen == asked.get("seen") else {"seen": seen, "table": table, "trash": trash, "count": runs}

    def note(self, asked: Mapping[str, Any]) -> Answer:
        """The note of a run, for the dialog."""
        note = read_note(self.desk.run_folder(str(asked.get("id", ""))))
        return {"note": {"title": note.title, "tags": ", ".join(note.tags), "text": note.text}}

    def keep_note(self, asked: Mapping[str, Any]) -> Answer:
        """Write the note."""
        run = self.desk.run_folder(str(asked.get("id", "")))
        write_note(run, title=str(asked.get("title", "")), tags=str(asked.get("tags", "")), text=str(asked.get("text", "")))
        return {"told": told("good", say("The note is kept."))}

    def removal(self, asked: Mapping[str, Any]) -> Answer:
        """What deleting these runs would move."""
        runs = [self.desk.run_folder(id_) for id_ in _ids(asked)]
        for run in runs:
            status = read_status(run)
            if status.is_active or status.state == "queued":
                raise RunError(f"The run {run.name} is {status.state}.", fix="Stop it first.")
        titles = [read_note(run).title or str(read_run(run).get("name") or run.name) for run in runs]
        return {"words": removal(titles, [belongings(run) for run in runs])}

    def put_away(self, asked: Mapping[str, Any]) -> Answer:
        """Move runs into the trash, with what they made if `files` says so; those that cannot be moved are told."""
        ids, failed = _ids(asked), []
        for id_ in ids:
            try:
                put_away(self.desk.run_folder(id_), with_files=asked.get("files") is True)
            except TrainingError as reason:
                failed.append(str(reason))
        if failed:
            return {"told": told("bad", " ".join(failed))}
        done = say("{name} is in the trash.", name=ids[0]) if len(ids) == 1 else say("{count} runs are in the trash.", count=count(len(ids)))
        back = tag("button", say("Undo"), type="button", class_="link", data_back="\n".join(ids))
        return {"told": tag("p", done, " ", back, class_="told good", role="status"), "href": f"{self.desk.options.root_path}/runs", "said": done}

    def bring_back(self, asked: Mapping[str, Any]) -> Answer:
        """Take runs out of the trash again."""
        blocked = [place for id_ in _ids(asked) for place in bring_back(self.desk.settings.runs_dir, id_)]
        if blocked:
            names = ", ".join(str(place) for place in blocked)
            said = say("The list has it again. Other files have the places of some of its own, which stay in the trash: {names}", names=names)
            return {"told": told("warn", said)}
        return {"told": told("good", say("{names} is in the list again.", names=", ".join(_ids(asked))))}

    def erase(self, asked: Mapping[str, Any]) -> Answer:
        """Remove a run in the trash for good."""
        freed = sum(erase(self.desk.settings.runs_dir, id_) for id_ in _ids(asked))
        return {"told": told("good", say("Deleted for good, {size} are free.", size=size(freed)))}

    def again(self, asked: Mapping[str, Any], user: str) -> Answer:
        """Put a run's settings into the user's form and go there. Raises ConfigError too."""
        run = self.desk.run_folder(str(asked.get("id", "")))
        fresh = draft_again(run, HOME)
        self.desk.drafts.update(user, lambda _: fresh, apart=True)
        name = read_note(run).title or run.name
        said = say("This form has the settings of {name}, with an output name that is free. Undo brings back what it had before.", name=name)
        return {"href": f"{self.desk.options.root_path}/", "said": said}


def _ids(asked: Mapping[str, Any]) -> list[str]:
    ids = asked.get("ids")
    if not isinstance(ids, list) or not ids or not all(isinstance(id_, str) for id_ in ids):
        raise RunError("No run is named.", fix="Choose one in the list.")
    return list(dict.fromkeys(ids))
