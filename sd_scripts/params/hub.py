"""Options: Hugging Face."""

from __future__ import annotations

from sd_scripts.params.spec import param, section


@section("Hugging Face")
class HuggingFace:
    """Upload to, and resume from, a Hugging Face repository."""

    huggingface_repo_id: str | None = param(
        None,
        "Repository (owner/name) that every saved file is uploaded to. It is made if it does not exist. Empty: nothing is uploaded.",
        label="Repository",
    )
    huggingface_repo_type: str | None = param(
        None, "Kind of repository: model, dataset or space. Empty: model.", label="Repository type", suggestions=("model", "dataset", "space")
    )
    huggingface_path_in_repo: str | None = param(None, "Folder in the repository. Empty: its top.", label="Folder in repository")
    huggingface_token: str | None = param(
        None, "Your access token. It is never written to a config, a log or a command line.", label="Token", secret=True
    )
    huggingface_repo_visibility: str | None = param(
        None,
        "Who sees a repository that is made now: private (only you), or public. Empty: private.",
        label="Visibility",
        suggestions=("private", "public"),
    )
    save_state_to_huggingface: bool = param(False, "Upload saved states too: about three times the size of the weights.", label="Upload states")
    resume_from_huggingface: bool = param(
        False,
        "The state to resume from lies in a repository: resume is then owner/name/folder, with :revision behind it if need be.",
        label="Resume from repository",
    )
    async_upload: bool = param(False, "Upload while training goes on, instead of waiting for it.", label="Upload in the background")
