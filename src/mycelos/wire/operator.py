"""What crosses the operator's door: JSON messages, and the rules of the names and secrets in them.

The rules stand here so that the command line, the vault page and the vault itself apply the same ones.
No message of a rule quotes the value that it refuses: a secret may have been typed into the wrong field.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec

from mycelos.wire.binding import Binding, Method
from mycelos.wire.lockdown import LockdownState
from mycelos.wire.problems import Problem
from mycelos.wire.witness import WitnessStatus

SECRET_LIMIT: Final = 64 * 1024
"""The most bytes that a secret may have, in UTF-8."""
SECRET_MINIMUM: Final = 8
"""The fewest bytes. Each answer of a bound host is searched for the secret: two letters would be found everywhere."""
BINDINGS_LIMIT: Final = 64
LABEL_LIMIT: Final = 128
ANY_HOST: Final = "*"
"""The host of a rule that allows every public host: what `mycelos egress web on` makes."""

_SERVICE: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")
_LABEL: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]*\Z")
_PATH: Final = re.compile(r"/[!-~]{0,1023}\Z")
_FOLDED: Final = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "8": "b", "-": "", "_": ""})


def check_service(service: str) -> None:
    """Refuse what is not a service's name.

    Raises:
        ValueError: the text names the field and what is expected.
    """
    if not _SERVICE.match(service):
        message = "service: expected a name of a-z, 0-9, _ and - that begins with a letter, at most 64 characters"
        raise ValueError(message)


def check_label(label: str) -> None:
    """Refuse a label that is long, or that holds characters which a person cannot see.

    Raises:
        ValueError: the text names the field and what is expected.
    """
    if len(label) > LABEL_LIMIT or not _LABEL.match(label):
        message = f"label: expected at most {LABEL_LIMIT} visible characters on one line"
        raise ValueError(message)


def check_secret(secret: str) -> None:
    """Refuse a secret that is too short, too long, or cannot be sent in a header or a URL as it is.

    Raises:
        ValueError: the text says what is wrong and never what the secret is.
    """
    if not secret:
        message = "secret: it is empty"
    elif len(secret) > SECRET_LIMIT or len(secret.encode("utf-8", "surrogatepass")) > SECRET_LIMIT:
        message = f"secret: it is longer than {SECRET_LIMIT} bytes"
    elif any(character in secret for character in "\r\n"):
        message = "secret: it holds a line break; a secret is one line"
    elif any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in secret):
        message = "secret: it holds a NUL or another control character"
    elif any(0xD800 <= ord(character) <= 0xDFFF for character in secret):
        message = "secret: it is not valid UTF-8 text"
    elif secret != secret.strip():
        message = "secret: it begins or ends with a space; was it cut or copied with too much?"
    elif len(secret.encode("utf-8")) < SECRET_MINIMUM:
        message = (
            f"secret: it is shorter than {SECRET_MINIMUM} bytes; what is so short stands in every answer by chance, "
            "and taking it out would take the answer apart; let the service make a longer one"
        )
    else:
        return
    raise ValueError(message)


def check_path(path: str) -> None:
    """Refuse what is not a path with perhaps a query.

    Raises:
        ValueError: the text names the field and what is expected.
    """
    if not _PATH.match(path):
        message = "path: expected one that begins with /, in ASCII, at most 1024 characters, such as /v1/models"
        raise ValueError(message)


def resembles(one: str, other: str) -> bool:
    """Whether two different service names look the same to a person in a hurry (``github``, ``glt-hub``)."""
    return one != other and _skeleton(one) == _skeleton(other)


def _skeleton(service: str) -> str:
    return service.translate(_FOLDED).replace("rn", "m").replace("vv", "w")


class Empty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request that needs nothing, or an answer that says nothing but that it was done."""


class StoreCredential(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /credential/store`. Either ``template`` or ``bindings`` says where the secret may go.

    ``confirm`` makes each use wait for a person; it is laid over the bindings of a template.
    """

    service: str
    secret: str
    label: str = ""
    template: str | None = None
    bindings: tuple[Binding, ...] = ()
    confirm: bool = False

    def __post_init__(self) -> None:
        """Refuse what the types alone let through."""
        check_service(self.service)
        check_secret(self.secret)
        check_label(self.label)
        if (self.template is None) == (not self.bindings):
            message = "bindings: expected either a template's name or at least one binding"
            raise ValueError(message)
        if len(self.bindings) > BINDINGS_LIMIT:
            message = f"bindings: expected at most {BINDINGS_LIMIT}"
            raise ValueError(message)

    def __repr__(self) -> str:
        """Without the secret."""
        return f"StoreCredential(service={self.service!r})"


class RotateCredential(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /credential/rotate`: a new secret in the old one's place."""

    service: str
    secret: str

    def __post_init__(self) -> None:
        """Refuse what the types alone let through."""
        check_service(self.service)
        check_secret(self.secret)

    def __repr__(self) -> str:
        """Without the secret."""
        return f"RotateCredential(service={self.service!r})"


class BindCredential(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /credential/bind`: the bindings that replace the present ones; ``label`` null keeps it."""

    service: str
    bindings: tuple[Binding, ...]
    label: str | None = None

    def __post_init__(self) -> None:
        """Refuse what the types alone let through."""
        check_service(self.service)
        check_label(self.label or "")
        if not 1 <= len(self.bindings) <= BINDINGS_LIMIT:
            message = f"bindings: expected at least one and at most {BINDINGS_LIMIT}"
            raise ValueError(message)


class DeleteCredential(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /credential/delete`."""

    service: str

    def __post_init__(self) -> None:
        """Refuse what the types alone let through."""
        check_service(self.service)


class TestCredential(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /credential/test`: one GET, of ``path``, or of what the template says where that is null."""

    __test__ = False
    """It is no test of ours, whatever its name begins with."""
    service: str
    path: str | None = None

    def __post_init__(self) -> None:
        """Refuse what the types alone let through."""
        check_service(self.service)
        if self.path is not None:
            check_path(self.path)


class CredentialTested(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What came of it: the host's ``status``, or why it was refused or not answered. ``url`` is without the secret."""

    url: str
    status: int | None = None
    refused: Problem | None = None


class ArmMaterialize(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /materialize/arm`."""

    service: str

    def __post_init__(self) -> None:
        """Refuse what the types alone let through."""
        check_service(self.service)


class MaterializeArmed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Answer of `POST /materialize/arm`: this version can be given out once, for so many ``seconds`` from now."""

    service: str
    credential_id: str
    credential_version: int
    seconds: int
    expires_at: str


class ConfirmCredential(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /credential/confirm`: a credential that a restore brought back may be used again."""

    service: str

    def __post_init__(self) -> None:
        """Refuse what the types alone let through."""
        check_service(self.service)


class BackupMade(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /backup/created`: what the ledger keeps of a backup, before its file has its name."""

    file_label: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    size: Annotated[int, msgspec.Meta(ge=1)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    count: Annotated[int, msgspec.Meta(ge=1)]
    seq: Annotated[int, msgspec.Meta(ge=0)]
    leaf_hash: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    vault_generation: Annotated[int, msgspec.Meta(ge=0)] | None
    version: Annotated[str, msgspec.Meta(max_length=64)]
    made_at: Annotated[str, msgspec.Meta(max_length=64)]


class AuditExport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /audit/exported`, sent before the first line is written: the newest entry of then, and where to."""

    last_seq: Annotated[int, msgspec.Meta(ge=0)]
    file_label: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class CredentialView(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the operator sees of a credential. Times are RFC 3339. Never the secret, its length or a digest of it.

    ``parked_at`` says since when it waits for the operator's word; null for one that is in use.
    """

    id: str
    version: int
    service: str
    label: str
    bindings: tuple[Binding, ...]
    created_at: str
    changed_at: str
    last_used_at: str | None
    parked_at: str | None = None


class CredentialList(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Answer of `POST /credential/list`. ``damaged`` names records that were altered outside Mycelos."""

    credentials: tuple[CredentialView, ...]
    damaged: tuple[str, ...]


class TemplateView(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One template: the bindings that it makes and, in words, what it leaves out."""

    name: str
    title: str
    leaves_out: str
    bindings: tuple[Binding, ...]


class TemplateList(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Answer of `POST /credential/templates`."""

    templates: tuple[TemplateView, ...]


class ListRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action", tag="list"):
    """Show the egress rules."""


class AddRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action", tag="add", kw_only=True):
    """Allow requests without a credential to one host. The host is checked by the rules themselves."""

    method: Method
    scheme: Literal["https", "http"]
    host: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]


class RemoveRule(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action", tag="remove", kw_only=True
):
    """Take one rule away, by its id."""

    id: Annotated[str, msgspec.Meta(max_length=64)]


class SetWeb(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action", tag="web", kw_only=True):
    """Allow, or no longer allow, reading (GET and HEAD; https at port 443, http at port 80) from every public host."""

    enabled: bool


RuleRequest = ListRules | AddRule | RemoveRule | SetWeb
"""Body of `POST /egress/rules`."""


class WebAnswer(StrEnum):
    """What the operator said to the question whether agents may read public web pages."""

    UNANSWERED = "unanswered"
    ON = "on"
    OFF = "off"


class RuleView(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One egress rule."""

    id: str
    method: str
    scheme: str
    host: str
    port: int
    created_at: str


class RuleList(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Answer of `POST /egress/rules`: every rule as it stands after the request."""

    rules: tuple[RuleView, ...]


class LinkCreated(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Answer of `POST /link/create`: a code that signs one person in at the vault page, once, within ten minutes."""

    code: str
    expires_at: str

    def __repr__(self) -> str:
        """Without the code."""
        return f"LinkCreated(expires_at={self.expires_at!r})"


class RedeemLink(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /link/redeem`."""

    code: Annotated[str, msgspec.Meta(max_length=128)]

    def __repr__(self) -> str:
        """Without the code."""
        return "RedeemLink()"


class EndSessions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /session/end`: how many sessions of the vault page ended."""

    count: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1


class PageRefusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /session/refused`: the status that the vault page refused with, and how often since the last."""

    method: Annotated[str, msgspec.Meta(pattern=r"^(DELETE|GET|HEAD|OPTIONS|PATCH|POST|PUT|other)\Z")]
    status: Annotated[int, msgspec.Meta(ge=300, le=499)]
    attempts: Annotated[int, msgspec.Meta(ge=1)]


class DoorStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Answer of `GET /status`: what the proxy says of itself to the operator."""

    version: str
    process: int
    started_at: str
    key_slot: str
    credentials: int
    damaged: int
    egress_rules: int
    web: WebAnswer
    lockdown: LockdownState
    passkeys: tuple[str, ...] = ()
    """The ids of the passkeys that are enrolled: a session that began with another one is over."""
    witnesses: tuple[WitnessStatus, ...] = ()
