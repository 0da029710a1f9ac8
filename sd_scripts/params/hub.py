"""Options: Hugging Face."""

from __future__ import annotations

from sd_scripts.params.reasons import FOR_HUB
from sd_scripts.params.spec import param, section


@section("Hugging Face")
class HuggingFace:
    """Upload to, and resume from, a Hugging Face repository."""

    huggingface_repo_id: str | None = param(None, "Repository that files are uploaded to.", label="Repository", unavailable=FOR_HUB)
    huggingface_repo_type: str | None = param(None, "Kind of repository.", label="Repository type", unavailable=FOR_HUB)
    huggingface_path_in_repo: str | None = param(None, "Folder in the repository.", label="Folder in repository", unavailable=FOR_HUB)
    huggingface_token: str | None = param(
        None, "Your access token. It is never written to a config, a log or a command line.", label="Token", secret=True
    )
    huggingface_repo_visibility: str | None = param(None, "public, or private.", label="Visibility", unavailable=FOR_HUB)
    save_state_to_huggingface: bool = param(False, "Upload states too.", label="Upload states", unavailable=FOR_HUB)
    resume_from_huggingface: bool = param(False, "Resume from a state in a repository.", label="Resume from repository", unavailable=FOR_HUB)
    async_upload: bool = param(False, "Upload while training goes on.", label="Upload in the background", unavailable=FOR_HUB)
