"""TensorBoard in a process of its own: `python -m kohya_gui.jobs.board_process`, started by `tensorboard`.

One line of JSON on its standard input says what to show. The first line of its output is the port that it listens on; what it has to say goes to
its standard error.

It ends when that input ends, which the operating system sees to however its parent died: no TensorBoard outlives the GUI.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from urllib.parse import urlsplit

from tensorboard import default, program

LOOPBACK = "127.0.0.1"
RELOAD_S = 5.0


def main() -> int:
    """Serve until the parent is gone."""
    wanted = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True, name="parent").start()
    # Only what comes with TensorBoard: others' plugins, the projector among them, read files that the logs name.
    board = program.TensorBoard(plugins=default.get_static_plugins())
    board.configure(
        logdir=wanted["folder"],
        host=LOOPBACK,
        port=0,
        path_prefix=wanted["prefix"],
        load_fast="false",  # the fast way is a second process with a port of its own
        reload_interval=RELOAD_S,
    )
    port = urlsplit(board.launch()).port
    print(json.dumps({"port": port}), flush=True)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    threading.Event().wait()
    return 0


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    raise SystemExit(main())
