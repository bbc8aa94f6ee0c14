"""`mycelos password`: the page's password as a hash that can be kept in a file."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated, Final

from cyclopts import App, Parameter

from mycelos.cli.output import CommandError, ExitCode, complain, print_json, say
from mycelos.gateway.identity.basic_header import MAXIMUM_PASSWORD_BYTES, MINIMUM_PASSWORD_CHARACTERS

_VARIABLE: Final = "MYCELOS_PASSWORD_HASH"

app = App(name="password", help="The password of the page.")


@app.command(name="set")
def set_(
    *,
    stdin: Annotated[bool, Parameter(help="Read it from standard input, one line.", negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", help="Print JSON.", negative="")] = False,
) -> int:
    """Ask for a password twice and print its argon2id hash as a line for the environment; nothing is stored.

    Example: mycelos password set >> .env
    """
    password = _from_input() if stdin else _from_terminal()
    _check(password)
    # Imported after the questions: the hash function is the only thing here that takes time to load.
    from mycelos.gateway.identity.passwords import hash_password

    hashed = hash_password(password)
    if as_json:
        print_json({_VARIABLE: hashed})
        return ExitCode.DONE
    # A hash holds dollar signs: without the quotes a shell, or compose, would put variables in their place.
    say(f"{_VARIABLE}='{hashed}'")
    complain(
        "Keep this line in the file .env (mode 0600) that you load before the start "
        "(set -a; . ./.env; set +a; mycelos serve), without MYCELOS_PASSWORD beside it. It holds from the next start."
    )
    return ExitCode.DONE


def _from_terminal() -> str:
    if not sys.stdin.isatty():
        message = "There is no terminal to ask for the password at."
        raise CommandError(message, "Use --stdin.", ExitCode.WRONG_USAGE)
    password = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != password:
        message = "The two are not the same."
        raise CommandError(message, "Run the command again.", ExitCode.WRONG_USAGE)
    return password


def _from_input() -> str:
    data = sys.stdin.buffer.read(MAXIMUM_PASSWORD_BYTES + 3)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        message = "The password is not UTF-8 text."
        raise CommandError(message, exit_code=ExitCode.WRONG_USAGE) from None
    return text[:-1].removesuffix("\r") if text.endswith("\n") else text


def _check(password: str) -> None:
    if len(password) < MINIMUM_PASSWORD_CHARACTERS or len(password.encode(errors="replace")) > MAXIMUM_PASSWORD_BYTES:
        message = (
            f"The password must have at least {MINIMUM_PASSWORD_CHARACTERS} characters "
            f"and at most {MAXIMUM_PASSWORD_BYTES} bytes."
        )
        raise CommandError(message, exit_code=ExitCode.WRONG_USAGE)
    # What a sign-in refuses (see basic_header) must not be what one is asked for.
    if not password.isprintable():
        message = "The password holds a control character, or another that cannot be shown."
        raise CommandError(message, "Leave it out.", ExitCode.WRONG_USAGE)
