"""`mycelos`: the commands by name. What a command is made of is imported when it is called."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cyclopts import App, ConsumeMultipleError, CycloptsError, MissingArgumentError, UnknownOptionError

from mycelos import __version__
from mycelos.cli.data_directory import VARIABLE, choose_data_directory, demand_folder, take_data_directory
from mycelos.cli.output import CommandError, ExitCode, complain, mute_stdout
from mycelos.wire.problems import joined

_INTERRUPTED: Final = 130
_NEXT_STEPS: Final = {
    errno.EROFS: "It must be writable: mount it so, or name another data folder with --data-dir.",
    errno.EACCES: "Run as the owner of the data folder, or give it back to you with: chown",
    errno.ENOSPC: "Make room on that disk, then run the command again.",
}
_TAKES_SECRETS: Final = frozenset({"credential", "key", "password"})
"""Commands at which a secret may have been typed where it does not belong: their words are not repeated."""
_OPTION: Final = re.compile("--[a-z]{1,12}(-[a-z]{1,12})?")
_COMMANDS: Final = (
    ("init", "mycelos.cli.init:init", "Make a data folder with its key and token. Never overwrites either."),
    (
        "serve",
        "mycelos.cli.serve:serve",
        "Run the system here, in the foreground: proxy, vault page, spawner, gateway.",
    ),
    ("status", "mycelos.cli.status:status", "Whether it runs: processes, memory, health, addresses."),
    ("stop", "mycelos.cli.status:stop", "End the running system in order."),
    ("open", "mycelos.cli.open_page:open_page", "A fresh one-time link to the page, or to the vault page."),
    ("chat", "mycelos.cli.chat:chat", "Talk to an agent in the terminal."),
    ("agent", "mycelos.cli.agent:app", "Agents and what they may do."),
    ("model", "mycelos.cli.model:app", "Model endpoints by name."),
    ("policy", "mycelos.cli.policy:app", "What an agent may do, decided without doing it."),
    ("credential", "mycelos.cli.credential:app", "Store secrets and say where they may go."),
    ("key", "mycelos.cli.key:app", "The master key and the long-lived ones: how they are, and their rotation."),
    ("approval", "mycelos.cli.approval:app", "Requests that wait for a person: look at them, decide them."),
    ("egress", "mycelos.cli.egress:app", "Where requests without a credential may go."),
    ("lockdown", "mycelos.cli.lockdown:lockdown", "Stop everything that leaves, at once; and lift it again."),
    ("backup", "mycelos.cli.backup:app", "Encrypted backups: make one, verify it, restore it."),
    ("db", "mycelos.cli.db:app", "The audit ledger: look at it, verify it."),
    ("sandbox", "mycelos.cli.sandbox:app", "Attack the sandbox of this machine, or run a command inside it."),
    ("prove", "mycelos.cli.prove:prove", "Attack this installation and say which claims hold."),
    ("doctor", "mycelos.cli.doctor:doctor", "What this machine lacks, each finding with its fix."),
    ("proxy", "mycelos.cli.proxy:app", "The proxy's role alone."),
    ("witness", "mycelos.cli.witness:app", "A witness of other ledgers: for another machine, or another user."),
    ("config", "mycelos.cli.config:app", "The settings in force, and whether they can be used."),
    ("password", "mycelos.cli.password:app", "The page's password as a hash to keep."),
    ("local", "mycelos.cli.local:app", "A tiny model on this machine, without an account."),
    ("demo", "mycelos.cli.demo:demo", "A tour of the whole system, without any account."),
)


def make_app(wanted: str | None = None) -> App:
    """The command line's parser.

    Args:
        wanted: the command that is about to be called: it speaks for itself, the others are known by their line here
            and need not be imported to be listed.
    """
    app = App(
        name="mycelos",
        help="AI agents that can be trusted with keys. Every command takes --data-dir DIR and --help.",
        version=__version__,
        help_format="plaintext",
        help_formatter="plain",
        result_action="return_value",
        print_error=False,
        exit_on_error=False,
        help_on_error=False,
    )
    for name, place, help_text in _COMMANDS:
        app.command(place, name=name, **({} if name == wanted else {"help": help_text}))
    app.register_install_completion_command(help="Shell completion: writes it where your shell looks for it.")
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code and never raises."""
    command = ""
    try:
        _demand_text(arguments)
        rest, option = take_data_directory(arguments)
        folder = choose_data_directory(option, os.environ, Path.cwd())
        if folder is not None:
            demand_folder(Path(folder))
            os.environ[VARIABLE] = folder
        command = next(iter(rest), "")
        result = make_app(command)(rest)
    except CycloptsError as error:
        complain(_explain(error, command))
        return ExitCode.WRONG_USAGE
    except CommandError as error:
        complain(str(error))
        return error.exit_code
    except BrokenPipeError:
        mute_stdout()
        return ExitCode.FAILED
    except OSError as error:
        number = error.errno or errno.EIO
        complain(joined(f"{error.filename or 'the system'}: {os.strerror(number)}.", _NEXT_STEPS.get(number, "")))
        return ExitCode.FAILED
    except (KeyboardInterrupt, EOFError):
        # Ctrl-C, or Ctrl-D where something is asked for.
        return _INTERRUPTED
    return result if isinstance(result, int) else ExitCode.DONE


def _demand_text(arguments: Sequence[str]) -> None:
    # Bytes that are not UTF-8 arrive as lone surrogates (PEP 383), which no door, file or JSON text can hold.
    for position, argument in enumerate(arguments, start=1):
        try:
            argument.encode()
        except UnicodeEncodeError:
            message = f"Argument {position} is not UTF-8 text."
            raise CommandError(message, exit_code=ExitCode.WRONG_USAGE) from None


def _explain(error: CycloptsError, command: str) -> str:
    words = " ".join(("mycelos", *(error.command_chain or ())))
    text = str(error).strip()
    if isinstance(error, MissingArgumentError) and not isinstance(error, ConsumeMultipleError):
        argument = error.argument
        # The library says the same of an option that is absent and of one that is there without its value.
        if argument is not None and error.keyword is None and not argument.tokens:
            positional = argument.field_info.is_positional
            text = f"{argument.name.lstrip('-').upper() if positional else argument.name} is required."
            return f"{text} See: {words} --help"
    if command in _TAKES_SECRETS:
        text = "There is a word too many, or one that cannot be what it stands for; a secret is never an argument."
        if isinstance(error, MissingArgumentError) and error.argument is not None:
            text = f"{error.argument.name} needs a value."
        elif isinstance(error, UnknownOptionError) and _OPTION.fullmatch(error.token.keyword or ""):
            text = f"Unknown option: {error.token.keyword}."
    return f"{text} See: {words} --help"


def main() -> None:
    """Entry point."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
