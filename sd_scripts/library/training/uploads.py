"""Files of a run in a Hugging Face repository: checkpoints and states go up as they are saved, and a state can be fetched to go on from.

An upload that fails is told and tried again at the end of the run; it never ends a training. Paths in a repository are kohya's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, OfflineModeIsEnabled

from sd_scripts.errors import ConfigError
from sd_scripts.library.training.report import Report
from sd_scripts.params.config import Config, make_config
from sd_scripts.params.hub import HuggingFace
from sd_scripts.params.saving import State

PAUSES_S = (0.0, 2.0, 8.0)
"""Waits before each of the last attempts."""
TOKEN_VARIABLE = "HF_TOKEN"
_FAILURES = (OSError, HTTPError, HFValidationError, OfflineModeIsEnabled, ValueError)


@dataclass(slots=True)
class Uploads:
    """Sends what is saved to one repository: at once, or in a thread of its own where `options.async_upload` asks for it."""

    options: HuggingFace
    report: Report
    api: Any
    pauses_s: Sequence[float]
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(max_workers=1, thread_name_prefix="upload"))
    _running: dict[Path, Future[str]] = field(default_factory=dict)
    _failed: list[Path] = field(default_factory=list)

    def send(self, path: Path, *, state: bool = False) -> None:
        """Upload a file or folder. A state goes only where states are wanted."""
        if state and not self.options.save_state_to_huggingface:
            return
        self._tell([done for done, upload in self._running.items() if upload.done()])
        self._running[path] = self._thread.submit(self._upload, path)
        if not self.options.async_upload:
            self._tell([path])

    def wait_for(self, path: Path) -> None:
        """Before `path` goes: wait for its upload, and forget it if that failed."""
        if path in self._running:
            self._tell([path])
        self._failed = [failed for failed in self._failed if failed != path]

    def finish(self) -> None:
        """Wait for all uploads, and try those again that failed."""
        self._tell(list(self._running))
        again, self._failed = self._failed, []
        for path in again:
            reason = ""
            for pause in self.pauses_s:
                time.sleep(pause)
                reason = self._upload(path)
                if not reason:
                    break
            self._say(path, reason, final=True)

    def _upload(self, path: Path) -> str:
        """Why it failed; "" where it did not."""
        options = self.options
        place = f"{options.huggingface_path_in_repo.strip('/')}/{path.name}" if options.huggingface_path_in_repo else path.name
        where = {"path_in_repo": place, "repo_id": options.huggingface_repo_id or "", "repo_type": options.huggingface_repo_type}
        try:
            if path.is_dir():
                self.api.upload_folder(folder_path=path, **where)
            else:
                self.api.upload_file(path_or_fileobj=path, **where)
        except _FAILURES as error:
            return first_line(error)
        return ""

    def _tell(self, paths: Sequence[Path]) -> None:
        for path in paths:
            reason = self._running.pop(path).result()
            if reason:
                self._failed.append(path)
            self._say(path, reason)

    def _say(self, path: Path, reason: str, *, final: bool = False) -> None:
        if not reason:
            self.report.say(f"uploaded to {self.options.huggingface_repo_id}: {path.name}")
            return
        fix = f"Upload it by hand from {path.parent}." if final else "It is tried again at the end of the run."
        self.report.warn("upload", f"{path.name} could not be uploaded to {self.options.huggingface_repo_id}: {reason}.", fix)


def open_uploads(config: Config, report: Report) -> Uploads | None:
    """Uploads into the repository that is named, which is made if it does not exist; None where none is named.

    Raises:
        ConfigError: the repository's name or the token is refused. A network that is away is only told: it may come back.
    """
    options = config[HuggingFace]
    if not options.huggingface_repo_id:
        return None
    huggingface_hub.utils.disable_progress_bars()
    api = huggingface_hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=_token(options))
    private = options.huggingface_repo_visibility != "public"
    try:
        api.create_repo(options.huggingface_repo_id, repo_type=options.huggingface_repo_type, private=private, exist_ok=True)
    except (HFValidationError, ValueError) as error:
        raise ConfigError("huggingface_repo_id", f"This is no repository: {first_line(error)}.", fix="Write it as owner/name.") from error
    except HfHubHTTPError as error:
        if error.response is None or error.response.status_code >= 500:
            report.warn("upload", f"Hugging Face does not answer: {first_line(error)}.", "Uploads are tried all the same.")
        else:
            fix = "Check the name, and that the token may write to it."
            raise ConfigError("huggingface_repo_id", f"The repository cannot be used: {first_line(error)}.", fix=fix) from error
    except (OSError, HTTPError) as error:
        report.warn("upload", f"Hugging Face cannot be reached: {first_line(error)}.", "Uploads are tried all the same.")
    return Uploads(options, report, api, PAUSES_S)


def with_fetched_state(config: Config) -> Config:
    """The config with `resume` naming a folder on this machine: with resume_from_huggingface, the one that is fetched now.

    Raises:
        ConfigError: the state cannot be fetched.
    """
    options, named = config[HuggingFace], config[State].resume
    if not options.resume_from_huggingface or not named:
        return config
    place, revision, kind = (*named.split(":"), "", "")[:3]
    owner, name, *folders = place.strip("/").split("/")
    inside = "/".join(folders)
    try:
        fetched = huggingface_hub.snapshot_download(
            f"{owner}/{name}",
            revision=revision or None,
            repo_type=kind or options.huggingface_repo_type,
            allow_patterns=f"{inside}/*",
            token=_token(options),
            endpoint=os.environ.get("HF_ENDPOINT"),
        )
    except _FAILURES as error:
        message = f"The state {named} cannot be fetched: {first_line(error)}."
        raise ConfigError("resume", message, fix="Check the name (owner/name/folder) and the network, or name a folder here.") from error
    folder = Path(fetched) / inside
    if not folder.is_dir():
        raise ConfigError("resume", f"The repository {owner}/{name} has no folder {inside}.", fix="Look at its files for one that ends in -state.")
    given: Mapping[str, object] = {**config.given, "resume": str(folder)}
    return make_config(config.command, given, config.studio, notes=config.notes)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, without a full stop."""
    return (str(error).strip().partition("\n")[0] or type(error).__name__).rstrip(".")[:300]


def _token(options: HuggingFace) -> str | None:
    return options.huggingface_token or os.environ.get(TOKEN_VARIABLE) or None
