"""`python -m mycelos.runner`, started by the sandbox's launcher with the run's socket as descriptor 3."""

from mycelos.runner.main import main

raise SystemExit(main())
