import base64
import hashlib

from hypothesis import given
from hypothesis import strategies as st

from mycelos.operator.shown_body import Body
from mycelos.wire.approvals import ApprovalView


def view(body: bytes | None) -> ApprovalView:
    text = encoded = None
    try:
        text = None if body is None else body.decode()
    except UnicodeDecodeError:
        encoded = base64.b64encode(body or b"").decode()
    return ApprovalView(
        id="appr_1", digest="0" * 64, service="github", credential_version=1, method="POST", url="https://a.example/",
        inject_as="bearer", headers=(), body_text=text, body_base64=encoded, agent="", run="", purpose="",
        created_at="", expires_at="",
    )  # fmt: skip


@given(st.one_of(st.binary(), st.text().map(str.encode)))
def test_length_and_hash_are_those_of_the_bytes_that_are_sent(body: bytes) -> None:
    shown = Body.of(view(body))
    assert shown is not None
    assert (shown.size, shown.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    together = "".join(shown.lines)
    assert (together.encode() if shown.is_text else base64.b64decode(together)) == body


def test_no_body_is_none_and_an_empty_one_has_no_line() -> None:
    assert Body.of(view(None)) is None
    empty = Body.of(view(b""))
    assert empty is not None
    assert (empty.is_text, empty.size, empty.lines) == (True, 0, ())
