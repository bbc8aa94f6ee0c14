"""May this request leave? Parsed once, then judged by bindings or rules. Nothing is counted, recorded or sent here.

The same decision is asked again for requests that are on their way whenever the operator has changed something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from mycelos.proxy.egress import approval_check, binding_check, headers, inject
from mycelos.proxy.egress.approval_check import WAITING_BODY_LIMIT, Asked
from mycelos.proxy.egress.call import EgressCall, Grant, checked_method
from mycelos.proxy.egress.guard import Blocked, Guard
from mycelos.proxy.egress.url import CanonicalUrl, UrlError, UrlPart, parse_url
from mycelos.wire.binding import Method
from mycelos.wire.operator import ANY_HOST, WebAnswer
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from mycelos.proxy.egress.ports import ApprovalsPort, LockdownPort, RulesPort, VaultPort
    from mycelos.proxy.vault.records import Credential
    from mycelos.wire.binding import Binding

# A URL that is wrong here is an attempt to be read as another host; elsewhere it is a mistake.
_HOSTILE_PARTS: Final = frozenset({UrlPart.WHOLE, UrlPart.SCHEME, UrlPart.HOST, UrlPart.PORT})


def parse(call: EgressCall) -> CanonicalUrl:
    """The call's URL in its one canonical form; what comes after uses this and never the text.

    Raises:
        Blocked: it could be read as another host.
        Refusal: `invalid_request`, `injection_refused` for a placeholder where no credential is put.
    """
    try:
        url = parse_url(call.url)
    except UrlError as error:
        _refuse_url(error)
    given = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in call.headers]
    # A streamed body is the caller's content from end to end; one that came as a whole message is a template.
    body = call.body if isinstance(call.body, bytes) and call.door == "http" else None
    in_path = url.has_placeholder and call.service is not None
    inject.refuse_stray_placeholder(call.url, given, body, in_path=in_path)
    return url


class Decider:
    """Decides by what lockdown, guard, vault, rules and a person's approvals say at this moment."""

    def __init__(
        self, lockdown: LockdownPort, guard: Guard, vault: VaultPort, rules: RulesPort, approvals: ApprovalsPort
    ) -> None:
        self._lockdown = lockdown
        self._guard = guard
        self._vault = vault
        self._rules = rules
        self._approvals = approvals

    def shows_person(self, call: EgressCall) -> bool:
        """Whether a person may have to see ``call`` before it goes: then it must be there as a whole."""
        credential = None if call.service is None else self._vault.find(call.service)
        return credential is not None and any(binding.confirm for binding in credential.bindings)

    def decide(self, call: EgressCall, url: CanonicalUrl, *, is_on_its_way: bool = False) -> Grant:
        """Why ``call`` may go to ``url``, or, where it is on its way, why it may go on.

        Raises:
            Refusal: with the code of what refuses it.
        """
        self._lockdown.refuse()
        method = checked_method(call.method)
        # What is refused whatever a binding or rule says, and needs no resolver, is refused first.
        self._guard.judge_host(url)
        if call.service is None:
            return self._by_rules(method, call, url)
        credential = self._vault.find(call.service)
        if credential is None:
            raise Refusal(
                ProblemCode.CREDENTIAL_UNKNOWN,
                "There is no credential of this name.",
                "See which there are with: mycelos credential list",
            )
        binding = binding_check.choose(credential.bindings, binding_check.Request(method, url, call.inject_as))
        own = inject.header_of(binding.inject)
        given = headers.outgoing(call.headers, with_credential=True)
        outgoing = [(name, value) for name, value in given if name != own]
        approval = None
        if binding.confirm:
            asked = _asked(call, url, credential, binding, outgoing)
            held = self._approvals.find(call.approval)
            approval = approval_check.judge(held, asked, is_on_its_way=is_on_its_way)
        return Grant(credential, binding, None, outgoing, approval)

    def _by_rules(self, method: str, call: EgressCall, url: CanonicalUrl) -> Grant:
        rule = self._rules.match(method, url.scheme, url.host, url.port)
        # The rule for every public host says nothing about a host that the operator has opened.
        if rule is None or (rule.host == ANY_HOST and self._guard.is_opened(url)):
            step = f"The operator can: mycelos egress allow {url.scheme}://{url.authority} --method {method}"
            if method in {Method.GET, Method.HEAD} and self._rules.web is WebAnswer.UNANSWERED:
                step += " - or answer whether agents may read public web pages: mycelos egress web on"
            raise Refusal(
                ProblemCode.EGRESS_NOT_ALLOWED,
                "No egress rule allows this method at this host and port without a credential.",
                step,
            )
        if rule.host == ANY_HOST and call.body:
            raise Refusal(
                ProblemCode.EGRESS_NOT_ALLOWED,
                "A request that only `web on` allows has no body.",
                "Send it without one, or let the operator allow the host by name: mycelos egress allow",
            )
        given = headers.web_only(call.headers) if rule.host == ANY_HOST else call.headers
        return Grant(None, None, rule, headers.outgoing(given, with_credential=False))


def _asked(
    call: EgressCall, url: CanonicalUrl, credential: Credential, binding: Binding, outgoing: headers.Headers
) -> Asked:
    """What a person is shown of ``call``: ``outgoing`` are those that go out.

    Raises:
        Refusal: `invalid_request` for a body that streams, `too_large`.
    """
    if call.body is not None and not isinstance(call.body, bytes):
        raise Refusal(
            ProblemCode.INVALID_REQUEST,
            "Each use of this credential waits for a person, who cannot see a body that streams.",
            "Send the request whole, through /http.",
        )
    if call.body is not None and len(call.body) > WAITING_BODY_LIMIT:
        raise Refusal(
            ProblemCode.TOO_LARGE,
            f"Each use of this credential waits for a person: the body of one has {WAITING_BODY_LIMIT} bytes at most.",
            "Send less at once, or bind the credential without confirm.",
        )
    return Asked(
        service=credential.service,
        credential_id=credential.id,
        credential_version=credential.version,
        method=call.method,
        url=str(url),
        inject_as=inject.form_of(binding.inject),
        headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in outgoing),
        body=call.body,
        run=call.run,
        agent=call.agent,
        purpose=call.purpose,
    )


def _refuse_url(error: UrlError) -> NoReturn:
    if error.part in _HOSTILE_PARTS:
        raise Blocked(str(error)) from None
    raise Refusal(ProblemCode.INVALID_REQUEST, f"{error}.", "Correct the URL and send it again.") from None
