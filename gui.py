"""The one program: `python gui.py` starts the GUI, `python gui.py demo` trains the embedded demo. `python gui.py --help` lists all verbs.

Standard library only: it makes sure that the project's own environment is there (setup.py), then hands over to it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import setup

ROOT = Path(__file__).resolve().parent


def main(argv: list[str]) -> int:
    """Install what is missing, then run `python -m kohya_gui` with the same words; returns its exit code."""
    python = setup.venv_python()
    if not setup.is_installed():
        if argv and argv[0] in ("-h", "--help"):
            print(__doc__)
            print("Not installed yet: the first start takes a few minutes. `python setup.py --help` tells what can be chosen.")
            return 0
        code = setup.main(["install"])
        if code:
            return code
    environment = {**os.environ, "PYTHONUTF8": "1"}
    command = [str(python), "-m", "kohya_gui", *argv]
    if os.name == "posix":
        os.execve(command[0], command, environment)  # one process less, and Ctrl-C and the exit code are the program's own
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
