from __future__ import annotations

import http.client
import json

from mycelos.prove.upstream import Upstream


def ask(port, method="GET", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, "/a?b=c", body, headers)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def test_it_sends_back_what_it_was_sent_and_remembers_it():
    with Upstream() as upstream:
        status, text = ask(upstream.port, "POST", "body", Authorization="Bearer x")
        assert status == 200
        assert json.loads(text)["you_sent"] == upstream.requests[0]
    for part in ("POST /a?b=c", "Authorization: Bearer x", "body"):
        assert part in upstream.requests[0]


def test_who_looks_on_sees_the_request_before_it_is_answered():
    seen = []
    with Upstream(lambda: seen.append(len(upstream.requests))) as upstream:
        ask(upstream.port)
    assert seen == [1]
