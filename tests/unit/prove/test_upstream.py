from __future__ import annotations

import http.client
import json

from mycelos.prove.upstream import COOKIE, SPELLINGS_ALONE, Upstream


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


def test_it_redirects_where_it_was_told_to():
    with Upstream(redirect_to="http://127.0.0.1:1/x?code=1") as upstream:
        connection = http.client.HTTPConnection("127.0.0.1", upstream.port, timeout=20)
        connection.request("GET", "/a/redirect")
        response = connection.getresponse()
        assert (response.status, response.headers["Location"]) == (302, "http://127.0.0.1:1/x?code=1")
        response.read()
        connection.close()


def test_it_serves_on_another_loopback_address_and_the_same_port():
    with Upstream() as upstream, Upstream(host="127.0.0.2", port=upstream.port) as other:
        assert other.authority == f"127.0.0.2:{upstream.port}"
        assert ask(upstream.port)[0] == 200
        assert (len(upstream.requests), len(other.requests)) == (1, 0)


def test_who_looks_on_sees_the_request_before_it_is_answered():
    seen = []
    with Upstream(lambda: seen.append(len(upstream.requests))) as upstream:
        ask(upstream.port)
    assert seen == [1]


def test_it_keeps_connections_where_it_is_told_to_and_gives_what_came_back_in_a_header():
    with Upstream(keeps_alive=True) as upstream:
        connection = http.client.HTTPConnection("127.0.0.1", upstream.port, timeout=20)
        for _ in range(2):
            connection.request("GET", "/a", headers={"Authorization": "Bearer x"})
            response = connection.getresponse()
            assert "Authorization: Bearer x" in response.headers["X-You-Sent"]
            response.read()
            assert not response.will_close
        connection.close()


def test_it_sets_a_cookie_and_answers_with_the_spellings_alone_where_the_path_asks_for_it():
    with Upstream() as upstream:
        upstream.spellings = b"spelled"
        connection = http.client.HTTPConnection("127.0.0.1", upstream.port, timeout=20)
        connection.request("GET", f"/a{SPELLINGS_ALONE}")
        response = connection.getresponse()
        assert (response.headers["Set-Cookie"], response.read()) == (COOKIE, b"spelled")
        connection.close()
