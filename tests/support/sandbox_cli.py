"""`mycelos sandbox …` as a program of its own, to be run on another machine (`sandbox_machine`)."""

from __future__ import annotations

import sys

from mycelos.cli.sandbox import app

if __name__ == "__main__":
    sys.exit(app(sys.argv[1:], result_action="return_value"))
