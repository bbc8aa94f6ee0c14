"""`python -m mycelos.gateway`: the gateway's process in host mode."""

import os
import sys

from mycelos.gateway.main import main

sys.exit(main(sys.argv[1:], os.environ))
