"""S1: addresses that must not be reached, each sent through a real proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mycelos.prove.outcome import CannotShowError, Finding
from mycelos.prove.twin import Twin
from mycelos.prove.upstream import Upstream
from mycelos.wire.binding import Method
from mycelos.wire.operator import AddRule, SetWeb
from mycelos.wire.problems import ProblemCode

if TYPE_CHECKING:
    from mycelos.prove.installation import Installation

REFUSED: Final = (
    "http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://127.1:{port}/", "http://2130706433:{port}/",
    "http://0x7f000001:{port}/", "http://0177.0.0.1:{port}/", "http://[::1]:{port}/", "http://0.0.0.0:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/",
    "https://10.0.0.1/", "https://172.16.0.1/", "https://192.168.1.1/", "https://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "https://[fe80::1]/", "https://[fc00::1]/",
    "https://224.0.0.1/", "https://255.255.255.255/", "https://192.0.2.1/", "https://198.18.0.1/", "https://[2001:db8::1]/",
    "http://127.0.0.1:{opened}@10.0.0.1/", "http://metadata.google.internal/", "https://\u2460\u2461\u2466.0.0.1/",
)  # fmt: skip
"""``port`` is a listener that was not opened, ``opened`` the one that was."""


def probe_addresses(_installation: Installation) -> list[Finding]:
    """Each address of `REFUSED`, with the rules wide open, then the opened one as the control."""
    with Upstream() as opened, Upstream() as private, Twin(opened.port) as twin:
        twin.operator.egress_rules(SetWeb(enabled=True))
        # Even a rule that names the private listener does not open it.
        for port in (opened.port, private.port):
            twin.operator.egress_rules(AddRule(method=Method.GET, scheme="http", host="127.0.0.1", port=port))
        control = twin.use(f"http://127.0.0.1:{opened.port}/control", with_credential=False)
        if control.status != 200 or len(opened.requests) != 1:
            message = "the twin does not reach its opened host, so refusals would show nothing"
            raise CannotShowError(message)
        findings = []
        for form in REFUSED:
            answer = twin.use(form.format(port=private.port, opened=opened.port), with_credential=False)
            shown = form.format(port="PRIVATE", opened="OPENED").encode("ascii", "backslashreplace").decode()
            held = answer.code == ProblemCode.SSRF_BLOCKED
            findings.append(Finding(f"reach {shown}", f"status {answer.status} {answer.code}", held))
        reached = len(private.requests) + len(opened.requests) - 1
        findings.append(Finding("arrive at a listener of this machine", f"{reached} arrived", held=reached == 0))
        blocked = sum(entry.event == "proxy.ssrf_blocked" for entry in twin.entries())
        findings.append(Finding("leave no trace", f"{blocked} are on record as proxy.ssrf_blocked", held=blocked > 0))
        return findings
