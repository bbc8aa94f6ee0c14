"""`python -m mycelos.proxy`."""

import sys

from mycelos.proxy.main import main

sys.exit(main())
