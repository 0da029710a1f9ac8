"""The verb `languages`: what each language of the page lacks, and the file that a new one begins with."""

from __future__ import annotations

import json
from argparse import Namespace

from kohya_gui.catalogue import english, report, write_template
from sd_scripts.errors import ConfigError

SHOWN = 40


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
    found = report(every=every)
    if arguments.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        print(f"en  English: {len(every)} texts")
        for code, row in found.items():
            print(f"{code}  {row['name']}: {len(row['missing'])} missing, {len(row['stale'])} said for nothing")
            for kind in ("missing", "stale"):
                print("".join(f"      {kind}: {text}\n" for text in row[kind][:SHOWN]), end="")
    return 1 if arguments.check and any(row["missing"] or row["stale"] for row in found.values()) else 0
