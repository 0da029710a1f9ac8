"""A run as one text file that can be shown to somebody else: settings, versions and the end of the log, without secrets and personal folders."""

from __future__ import annotations

import json
import re
from pathlib import Path

from kohya_gui.jobs.runs import CONFIG_FILE, read_run, read_status
from kohya_gui.jobs.tail import LOG_FILE, read_tail
from sd_scripts.errors import RunError

TAIL_BYTES = 24_000
_SECRETS = re.compile(r"(?i)\b(hf_[A-Za-z0-9]{8,}|[0-9a-f]{40}\b|sk-[A-Za-z0-9-]{16,})|((?:token|api_key|password)\s*[=:]\s*)\S+")


def report_text(run: Path) -> str:
    """The report.

    Raises:
        RunError: the folder is no run folder.
    """
    record, status = read_run(run), read_status(run)
    try:
        config = (run / CONFIG_FILE).read_text("utf-8")
    except OSError as failed:
        raise RunError(f"{run / CONFIG_FILE} cannot be read: {failed.strerror}.") from failed
    facts = {
        "run": run.name,
        "state": status.state,
        "exit_code": status.exit_code,
        "reason": status.reason,
        "versions": record.get("versions", {}),
        "argv": record.get("argv", []),
    }
    log = read_tail(run / LOG_FILE, size=TAIL_BYTES).decode("utf-8", "replace")
    parts = [("Run", json.dumps(facts, indent=1, ensure_ascii=False)), ("config.toml", config), ("End of the log", log)]
    return scrubbed("\n\n".join(f"== {title} ==\n{text}" for title, text in parts))


def scrubbed(text: str, home: Path | None = None) -> str:
    """`text` without tokens, and with the home folder written as ~."""
    folder = str(home or Path.home())
    without = text.replace(folder, "~") if len(folder) > 1 else text
    return _SECRETS.sub(lambda found: f"{found[2]}[removed]" if found[2] else "[removed]", without)
