"""The words of the command line: which verbs there are, what they take, and how each ends. What a verb does lives in its own `verbs_*` module."""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sd_scripts.errors import ConfigError, TrainingError
from sd_scripts.params.commands import COMMANDS

EXIT_CODES = """exit codes:
  0  done                                3  stopped on request
  1  anything else that went wrong       4  out of memory
  2  config, data or option refused      5  diverged (NaN or Inf)"""

WITHOUT_EFFECT = {
    "--use-ipex": "setup.py finds the device and its torch build",
    "--use-rocm": "setup.py finds the device and its torch build",
    "--do_not_use_shell": "commands never go through a shell",
    "--noverify": "the installation is checked by setup.py alone",
    "--requirements": "setup.py installs what requirements.txt pins",
}


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: its module, whose `run(arguments)` returns the exit code, a sentence, and what it takes.

    Modules are imported only when their verb is called: the GUI's costs seconds, a check's must not.
    """

    module: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]


def _gui(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen", default="127.0.0.1", metavar="ADDRESS", help="address to listen on; anything but this machine itself gets a login"
    )
    parser.add_argument("--server_port", type=int, default=0, metavar="PORT", help="port; 0 looks for a free one from 7860 on")
    parser.add_argument("--username", default="", help="login name")
    parser.add_argument(
        "--password", default="", help="login password; others on this machine can read it: better STUDIO_PASSWORD or --password-file"
    )
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="file that holds the login password")
    parser.add_argument("--inbrowser", action="store_true", help="open the page in a browser")
    parser.add_argument("--share", action="store_true", help="ask for a public link")
    parser.add_argument("--do_not_share", action="store_true", help="no public link, whatever else is said")
    parser.add_argument("--headless", action="store_true", help="never open a browser")
    parser.add_argument("--language", metavar="NAME", help="language of the page")
    parser.add_argument("--root_path", default="", metavar="PREFIX", help="prefix under which a reverse proxy serves the page")
    parser.add_argument("--debug", action="store_true", help="log more")
    for flag in WITHOUT_EFFECT:
        takes: dict[str, Any] = {"metavar": "FILE"} if flag == "--requirements" else {"action": "store_true"}
        parser.add_argument(flag, **takes, help=argparse.SUPPRESS)
    _settings(parser)


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--exit", action="store_true", help="end with the training's exit code instead of serving on")
    parser.add_argument("--headless", action="store_true", help="never open a browser")
    parser.add_argument("--server_port", type=int, default=0, metavar="PORT", help="port; 0 looks for a free one")
    _settings(parser)


def _train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", type=Path, metavar="CONFIG", help="a .toml config, or a .json one of the kohya GUI")
    parser.add_argument("--resume", metavar="RUN", help="instead of a config: the id of a run that was stopped, paused or interrupted")
    parser.add_argument("--online", action="store_true", help="let the trainer fetch models from Hugging Face")
    _common(parser)


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a .toml config, or a .json one of the kohya GUI")
    _common(parser)


def _import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a config of another program, or a LoRA file that says how it was trained")
    parser.add_argument("--to", type=Path, metavar="OUT.toml", help="write the config there; it must not exist")
    _common(parser)


def _export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="CONFIG", help="a .toml config")
    parser.add_argument(
        "--to", type=Path, required=True, metavar="OUT", help="write there: .json for the kohya GUI, .toml for sd-scripts; it must not exist"
    )
    _common(parser)


def _common(parser: argparse.ArgumentParser) -> None:
    trainers = [row.script for row in COMMANDS if row.kind == "train"]
    parser.add_argument("--script", choices=trainers, help=f"the trainer, where the file does not name it (else {trainers[0]})")
    parser.add_argument("--json", action="store_true", help="answer with JSON on standard output")
    _settings(parser)


def _runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="answer with JSON on standard output")
    _settings(parser)


def _languages(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="end with 1 if a text is missing, said for nothing, or made from another English")
    parser.add_argument("--confirm", metavar="CODE", help="write down that all texts of a language, such as de, fit today's English")
    parser.add_argument("--template", type=Path, metavar="FILE.json", help="write a new language's file, in English; it must not exist")
    parser.add_argument("--json", action="store_true", help="answer with JSON on standard output")


def _settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", dest="settings", type=Path, metavar="FILE", help="the program's settings; default: config.toml beside gui.py")
    parser.add_argument("--runs_dir", type=Path, metavar="FOLDER", help="folder of the runs; default: as the settings say")


VERBS: Mapping[str, Verb] = {
    "gui": Verb("kohya_gui.verbs_serve", "start the page (also without any verb)", _gui),
    "demo": Verb("kohya_gui.verbs_demo", "train a small LoRA now, and show it in the page", _demo),
    "train": Verb("kohya_gui.verbs_train", "train a config without the page; Ctrl-C saves and stops, twice ends at once", _train),
    "check": Verb("kohya_gui.verbs_config", "say what is wrong with a config, and what it would do", _config),
    "command": Verb("kohya_gui.verbs_config", "print the launch command of a config", _config),
    "runs": Verb("kohya_gui.verbs_config", "list the runs", _runs),
    "import": Verb("kohya_gui.verbs_files", "read another program's config, and say what became of every key", _import),
    "languages": Verb("kohya_gui.verbs_languages", "count the texts that each language of the page lacks", _languages),
    "export": Verb("kohya_gui.verbs_files", "write a config as the kohya GUI's JSON or as sd-scripts' TOML, and say what is lost", _export),
}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The words after the program's name; the first may be a verb. Exits with 2 and a sentence if they are wrong, with 0 after --help."""
    name, words = ("gui", list(argv)) if not argv or argv[0].startswith("-") else (argv[0], list(argv[1:]))
    if name not in VERBS:
        near = difflib.get_close_matches(name, VERBS, n=1)
        _parser("gui").error(f"there is no verb {name!r}." + (f" Did you mean {near[0]}?" if near else f" There are {', '.join(VERBS)}."))
    arguments = _parser(name).parse_args(words)
    arguments.verb = name
    return arguments


def main(argv: Sequence[str]) -> int:
    """Run one verb and return the exit code. The border at which everything that a user can be told becomes one sentence."""
    arguments = parse(argv)
    module = importlib.import_module(VERBS[arguments.verb].module)
    try:
        return module.run(arguments)
    except TrainingError as refused:
        tell_error(refused, as_json=getattr(arguments, "json", False))
        return refused.exit_code
    except KeyboardInterrupt:
        return 130


def tell_error(refused: TrainingError, *, as_json: bool) -> None:
    """An error for people on standard error, or for machines on standard output."""
    if as_json:
        field = refused.field if isinstance(refused, ConfigError) else ""
        answer = {"code": refused.code, "field": field, "message": refused.message, "fix": refused.fix, "exit_code": refused.exit_code}
        print(json.dumps({"error": answer}, ensure_ascii=False))
    else:
        print(f"error: {refused}", file=sys.stderr)


def _parser(name: str) -> argparse.ArgumentParser:
    verb = VERBS[name]
    words = "\n".join(f"  {other:<10}{row.help}" for other, row in VERBS.items())
    parser = argparse.ArgumentParser(
        prog="gui.py" if name == "gui" else f"gui.py {name}",
        description=f"{verb.help[0].upper()}{verb.help[1:]}.",
        epilog=f"verbs:\n{words}\n\n{EXIT_CODES}" if name == "gui" else EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verb.arguments(parser)
    return parser
