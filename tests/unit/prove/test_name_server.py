from __future__ import annotations

import socket

import dns.message
import dns.query
import dns.rdatatype
import pytest

from mycelos.prove.name_server import NameServer, Record, RecordType, ask

A, AAAA, CNAME = RecordType.A, RecordType.AAAA, RecordType.CNAME
NAME = "a.example.com"


def test_its_answers_come_in_turn_and_the_last_one_stays():
    answers = {(NAME, A): ((Record(NAME, A, "1.1.1.1"),), (Record(NAME, A, "127.0.0.1"),))}
    with NameServer(answers) as server:
        assert [ask(server.port, NAME) for _ in range(3)] == [["1.1.1.1"], ["127.0.0.1"], ["127.0.0.1"]]
        # Each time both families are asked for.
        assert server.asked == {NAME: 6}


def test_both_families_are_found_and_an_alias_is_no_address():
    inner = "inner.example.com"
    alias = Record(NAME, CNAME, inner)
    answers = {(NAME, A): ((alias, Record(inner, A, "1.1.1.1")),), (NAME, AAAA): ((alias, Record(inner, AAAA, "::1")),)}
    with NameServer(answers) as server:
        assert ask(server.port, NAME) == ["1.1.1.1", "::1"]


def test_a_name_that_is_not_listed_has_no_address():
    with NameServer({}) as server:
        assert ask(server.port, NAME) == []


def test_a_library_reads_its_answers_and_may_not_keep_them():
    inner = "inner.example.com"
    answers = {(NAME, A): ((Record(NAME, CNAME, inner), Record(inner, A, "127.0.0.1")),)}
    with NameServer(answers) as server:
        query = dns.message.make_query(NAME, "A", use_edns=True)
        answer = dns.query.udp(query, "127.0.0.1", port=server.port, timeout=20)
        other = dns.query.udp(dns.message.make_query(NAME, "TXT"), "127.0.0.1", port=server.port, timeout=20)
    assert [line for rrset in answer.answer for line in rrset.to_text().splitlines()] == [
        f"{NAME}. 0 IN CNAME {inner}.",
        f"{inner}. 0 IN A 127.0.0.1",
    ]
    assert other.answer == []


@pytest.mark.parametrize("broken", [b"\0", b"\0" * 12, b"\0" * 12 + b"\xc0\x0c\0\1\0\1", b"\0" * 12 + b"\x05ab"])
def test_what_is_no_question_is_passed_over(broken):
    with NameServer({(NAME, A): ((Record(NAME, A, "1.1.1.1"),),)}) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(broken, ("127.0.0.1", server.port))
        assert ask(server.port, NAME) == ["1.1.1.1"]
