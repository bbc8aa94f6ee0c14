"""Started as ``python -I -m mycelos.operator``."""

from __future__ import annotations

import sys

from mycelos.operator.main import main

sys.exit(main(sys.argv[1:]))
