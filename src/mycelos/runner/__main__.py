"""Started inside the sandbox, with the run's socket as descriptor 3."""

import sys

from mycelos.runner.main import main

sys.exit(main())
