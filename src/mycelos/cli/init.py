"""`mycelos init`: a data folder with key and token, made once."""

from __future__ import annotations

import base64
import os
import secrets

from mycelos.cli.data_directory import settings_of
from mycelos.cli.output import CommandError, say
from mycelos.configuration.layout import DataLayout
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.keys import create_master_key, load_master_key
from mycelos.supervisor.checks import ServeRefusedError, find_proxy_token

_TOKEN_LENGTH = 32


def init() -> int:
    """Make the data folder with its master key and the gateway's token. What is there stays as it is.

    Example: mycelos init --data-dir ./data
    """
    settings = settings_of(os.environ)
    layout = DataLayout(settings.data_directory)
    try:
        layout.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        made_key = _provide_master_key(layout, settings.master_key)
        made_token = settings.proxy_token is None and provide_token(layout)
        if settings.proxy_token is None:
            find_proxy_token(settings, layout)
    except VaultError as error:
        raise CommandError(str(error)) from None
    except ServeRefusedError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        message = f"Cannot write to {layout.root} ({error.strerror})."
        raise CommandError(message, "Name another folder: --data-dir") from None
    say(f"data folder: {layout.root}")
    say(f"master key: {'new, ' if made_key else ''}{_place(settings.master_key is not None, layout)}")
    say(f"token: {'new' if made_token else 'kept'}")
    if made_key:
        say(f"Keep a copy of {layout.master_key} in a safe place: without it the stored credentials are lost.")
    return 0


def _provide_master_key(layout: DataLayout, from_environment: bytes | None) -> bool:
    if from_environment is None and not os.path.lexists(layout.master_key):
        create_master_key(layout)
        return True
    # A key that cannot be used is said now, not at the first start.
    load_master_key(layout, from_environment)
    return False


def provide_token(layout: DataLayout) -> bool:
    """Make the token's file, whole or not at all; false where there is one."""
    if os.path.lexists(layout.proxy_token):
        return False
    draft = layout.proxy_token.with_name(f".proxy_token.{secrets.token_hex(8)}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(base64.urlsafe_b64encode(secrets.token_bytes(_TOKEN_LENGTH)).rstrip(b"=") + b"\n")
            stream.flush()
            os.fsync(descriptor)
        # A link never replaces: of two that start at once, one makes the token.
        os.link(draft, layout.proxy_token)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def _place(is_in_environment: bool, layout: DataLayout) -> str:
    return "in the environment" if is_in_environment else str(layout.master_key)
