"""The verb `languages`: what each language of the page lacks or has from an older English, and the file that a new one begins with."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from kohya_gui.catalogue import english, report, write_template
from kohya_gui.text import LOCALES
from kohya_gui.text_origins import confirm, origins
from sd_scripts.errors import ConfigError

SHOWN = 40
KINDS = ("missing", "stale", "changed")


def run(arguments: Namespace) -> int:
    """Count, or write a template. 1 with --check where a language is not complete."""
    if arguments.template is not None:
        try:
            write_template(arguments.template, arguments.template.stem)
        except OSError as failed:
            raise ConfigError("template", f"{arguments.template} cannot be written: {failed.strerror}.", fix="Choose another name.") from failed
        print(f"{len(english())} texts, written to {arguments.template}")
        return 0
    every = english()
    if arguments.confirm is not None:
        file = LOCALES / f"{Path(arguments.confirm).name}.json"
        print(f"{confirm(file, origins(every.options, every.sections))} texts confirmed in {file}")
        return 0
    found = report(every=every)
    if arguments.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        print(f"en  English: {len(every)} texts")
        for code, row in found.items():
            counts = f"{len(row['missing'])} missing, {len(row['stale'])} said for nothing, {len(row['changed'])} made from another English"
            print(f"{code}  {row['name']}: {counts}")
            for kind in KINDS:
                print("".join(f"      {kind}: {text}\n" for text in row[kind][:SHOWN]), end="")
    return 1 if arguments.check and any(row[kind] for row in found.values() for kind in KINDS) else 0
