"""`python -m kohya_gui [VERB] ...`: the page without a verb; see `verbs`."""

from __future__ import annotations

import sys

from kohya_gui.verbs import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
