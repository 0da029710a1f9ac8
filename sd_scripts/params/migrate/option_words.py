"""Options as words of a command line: each gets its row, whether it can be taken or not."""

from __future__ import annotations

from collections.abc import Sequence

from sd_scripts.errors import ConfigError
from sd_scripts.params.cli import read_words, take_option
from sd_scripts.params.migrate.ledger import Ledger
from sd_scripts.params.migrate.shared import is_secret
from sd_scripts.params.names import RENAMED

OTHER_FILES = ("config_file", "output_config")


def take_words(ledger: Ledger, words: Sequence[str], *, within: str = "") -> None:
    """Account for every option in `words`; `within` is the key that holds them, for the names of the rows.

    Raises:
        ConfigError: a word is no option and belongs to none.
    """
    rest = list(words)
    while rest:
        name, value, left = take_option(rest)
        _account(ledger, name, rest[: len(rest) - len(left)], text=value if isinstance(value, str) else " ".join(value), within=within)
        rest = left


def _account(ledger: Ledger, name: str, words: Sequence[str], *, text: str, within: str) -> None:
    """One option with its words as they stand in the line."""
    key = f"{within} --{name}" if within else name
    if is_secret(ledger, name):
        ledger.hide(key, text)
        return
    try:
        values, problems = read_words(ledger.command, words)
    except ConfigError as refused:
        ledger.keep(key, text, note=f"{refused.message} {refused.fix}".strip(), outcome="unknown")
        return
    for option, made in values.items():
        if option in OTHER_FILES:
            ledger.keep(key, made, note="Another config file is not followed: open it instead.")
        else:
            if within:
                _overrule(ledger, option, by=within)
            ledger.take(key, made, name=option)
    for problem in problems:
        if problem.field not in values and RENAMED.get(problem.field) not in values:
            ledger.keep(key, text, note=problem.message)


def _overrule(ledger: Ledger, option: str, *, by: str) -> None:
    """A field whose option stands among the words too does not count; its value is kept."""
    mark = f"{option} = "
    for row in [row for row in ledger.rows if row.outcome in ("taken", "converted") and (row.key == option or row.became.startswith(mark))]:
        ledger.rows.remove(row)
        ledger.keep(row.key, row.value, note=f"{by} sets it too, and counts.")
