"""`mycelos witness`: a witness of other people's ledgers, on another machine or as another user."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from mycelos.cli.output import CommandError, ExitCode, say
from mycelos.configuration.environment import ConfigurationError

app = App(name="witness", help="A witness of other ledgers: for another machine, or another user.")


@app.command
def serve(
    *,
    folder: Annotated[Path, Parameter(help="The witness's own folder: its key, and what it has cosigned.")],
    log: Annotated[list[str], Parameter(help="A ledger's vkey: `mycelos db audit checkpoint --key`. Again for more.")],
    listen: Annotated[str, Parameter(help="address:port, in plain HTTP.")] = "127.0.0.1:9120",
) -> int:
    """Cosign each checkpoint that follows the one before, and no other (C2SP tlog-witness); Ctrl-C ends.

    It prints its own vkey, which goes into the ledger's operator.toml as witness.key. For the world, put TLS in front.

    Example: mycelos witness serve --folder ~/witness --log ledger.example+1a2b3c4d+AQ...
    """
    from mycelos.witness.main import serve as run

    try:
        run(listen, folder, log, lambda vkey: say(f"witness {vkey}\nlistens on {listen}"))
    except ConfigurationError as error:
        raise CommandError(str(error), exit_code=ExitCode.WRONG_USAGE) from None
    return ExitCode.DONE
