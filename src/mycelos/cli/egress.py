"""``mycelos egress``: what may be asked for without a credential, through the operator's door."""

from __future__ import annotations

import os
from typing import Annotated, Final, Literal

from cyclopts import App, Parameter

from mycelos.cli.data_directory import settings_of
from mycelos.cli.operator_command import operator_door, wrong_usage
from mycelos.cli.output import CommandError, ExitCode, complain, print_json, say
from mycelos.operator.forms import parse_host, parse_methods
from mycelos.operator.wording import address
from mycelos.wire.operator import ANY_HOST, AddRule, ListRules, RemoveRule, RuleView, SetWeb, WebAnswer

app = App(name="egress", help="Say what may be asked for without a credential.")

WEB: Final = {
    WebAnswer.UNANSWERED: "not answered yet (off); answer with: mycelos egress web on",
    WebAnswer.ON: "on",
    WebAnswer.OFF: "off",
}
"""The answer to the question of web, in words."""

Json = Annotated[bool, Parameter(name="--json", negative="", help="print JSON")]
Url = Annotated[str, Parameter(help="https://host, host:port or http://host:port")]
Methods = Annotated[list[str] | None, Parameter(name="--method", help="HTTP method; GET where none is named")]


@app.command
def allow(url: Url, *, method: Methods = None, json: Json = False) -> int:
    """Allow requests without a credential to one host.

    Example: mycelos egress allow https://example.com --method GET
    """
    with operator_door() as client:
        scheme, host, port = parse_host(url, "url")
        rules: tuple[RuleView, ...] = ()
        for wanted in parse_methods(method or ()):
            rules = client.egress_rules(AddRule(method=wanted, scheme=scheme, host=host, port=port))
        _print_rules(rules, json)
    from mycelos.cli.egress_check import refused_anyway

    origin = address(scheme, host, port)
    if why := refused_anyway(origin, settings_of(os.environ)):
        complain(f"the rule is there, and nothing will go to {origin} all the same: {why}")
    return ExitCode.DONE


@app.command
def remove(url: Url, *, method: Methods = None, json: Json = False) -> int:
    """Take rules away: without a method, those of every method. A rule's id names one rule.

    Example: mycelos egress remove https://example.com
    """
    with operator_door() as client:
        rules = client.egress_rules(ListRules())
        wanted = [rule for rule in rules if rule.id == url]
        if not wanted:
            origin = parse_host(url, "url")
            methods = parse_methods(method) if method else ()
            wanted = [
                rule
                for rule in rules
                if (rule.scheme, rule.host, rule.port) == origin and (not methods or rule.method in methods)
            ]
        if not wanted:
            message = "There is no such rule."
            raise CommandError(message, "See which there are with: mycelos egress list")
        for rule in wanted:
            rules = client.egress_rules(RemoveRule(id=rule.id))
        _print_rules(rules, json)
    return ExitCode.DONE


@app.command(name="list")
def list_(*, json: Json = False) -> int:
    """List the rules.

    Example: mycelos egress list
    """
    with operator_door() as client:
        _print_rules(client.egress_rules(ListRules()), json)
        if not json:
            say(f"web: {WEB[client.status().web]}")
    return ExitCode.DONE


@app.command
def web(state: Annotated[Literal["on", "off"], Parameter(help="on or off")], *, json: Json = False) -> int:
    """Answer whether agents may read public web pages: GET and HEAD to public hosts, https at 443, http at 80.

    Example: mycelos egress web on
    """
    with operator_door() as client:
        _print_rules(client.egress_rules(SetWeb(enabled=state == "on")), json)
    return ExitCode.DONE


@app.command
def check(
    url: Annotated[
        str, Parameter(allow_leading_hyphen=True, help="a URL, or - for one on each line of standard input")
    ],
    *,
    resolve: Annotated[bool, Parameter(negative="", help="ask the resolver too (MYCELOS_DNS)")] = False,
    json: Json = False,
) -> int:
    """Say what the guard says of a URL and why, without connecting. It knows addresses, not rules or a lockdown.

    Exit code 0 allowed, 5 denied, 6 where the name does not resolve; with - always 0, each line says it for itself.

    Example: mycelos egress check http://169.254.169.254/
    """
    if url.startswith("-") and url != "-":
        # The parameter takes a hyphen, and with it what was meant as an option.
        raise wrong_usage(detail=f'Unknown option: "{url}".', next_step="See: mycelos egress check --help")
    from mycelos.cli.egress_check import check_all

    return check_all(url, resolve=resolve, as_json=json, settings=settings_of(os.environ))


def _print_rules(rules: tuple[RuleView, ...], json: bool) -> None:
    if json:
        print_json(rules)
        return
    if not rules:
        say("No rule: nothing is asked for without a credential.")
    for rule in rules:
        is_any = rule.host == ANY_HOST
        where = f"every public host, by {rule.scheme}" if is_any else address(rule.scheme, rule.host, rule.port)
        say(f"{rule.id}  {rule.method:7} {where}")
