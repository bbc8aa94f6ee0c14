"""The gateway's start: refuse a master key, go behind the walls, and only then import what handles input."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mycelos.configuration.environment import ConfigurationError, read_environment
from mycelos.configuration.layout import DataLayout
from mycelos.gateway.descriptors import Descriptors
from mycelos.gateway.settings import read_settings
from mycelos.sandbox.confine import confine_gateway
from mycelos.sandbox.errors import SandboxRefused
from mycelos.serving.cause import named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FAILED: Final = 1
WALL_MISSING: Final = 3
_MASTER_KEY: Final = "MYCELOS_MASTER_KEY"


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the gateway until SIGTERM; 1 where it cannot start, 3 where a wall is missing, with a line that says why."""
    options = _parse(arguments)
    descriptors = Descriptors(options.listen_fd, options.control_fd, options.spawner_fd, options.ready_fd)
    try:
        refuse_master_key(environ)
        environment = read_environment(environ)
        layout = DataLayout(options.data_dir)
        layout.gateway.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings = read_settings(layout.gateway_file)
        walls = confine_gateway(options.data_dir, descriptors.kept())
        # Imported behind the walls: this is the code that handles input, and most of the start's time and memory.
        from mycelos.gateway.process import run  # noqa: PLC0415

        run(environment, settings, layout, descriptors, walls)
    except ConfigurationError as error:
        sys.stderr.write(f"mycelos gateway: {error}\n")
        return FAILED
    except SandboxRefused as refused:
        sys.stderr.write(f"mycelos gateway: {refused}\n")
        return WALL_MISSING
    except OSError as error:
        sys.stderr.write(f"mycelos gateway: the system refused ({named(error)}); see disk space and rights\n")
        return FAILED
    return 0


def refuse_master_key(environ: Mapping[str, str]) -> None:
    """The gateway must never hold the key, so it does not start where it would find it.

    Raises:
        ConfigurationError: a variable of the master key is set.
    """
    for name in sorted(environ):
        if name.startswith(_MASTER_KEY):
            message = f"{name} is set; the master key is the proxy's alone. Remove it from the gateway's environment"
            raise ConfigurationError(message)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mycelos.gateway", description="The gateway's process; started by mycelos serve."
    )
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--listen-fd", type=int, required=True)
    parser.add_argument("--control-fd", type=int)
    parser.add_argument("--spawner-fd", type=int, required=True)
    parser.add_argument("--ready-fd", type=int)
    return parser.parse_args(arguments)
