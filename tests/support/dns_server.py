"""A name server for tests, over UDP and TCP, that changes its answers, truncates them, holds them back or fails."""

from __future__ import annotations

import asyncio
import socket

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

SILENCE = [["SILENCE"]]
SERVFAIL = [["SERVFAIL"]]


class DnsServer(asyncio.DatagramProtocol):
    """Each question of a name takes the next of its answers; the last one stays.

    ``answers`` are lists of records by question, ``{"a.example. A": [["CNAME b.example.", "1.1.1.1"], ["10.0.0.1"]]}``.
    A list that begins with ``TRUNCATED`` is given over TCP alone. `SILENCE` and `SERVFAIL` are what they say. Records
    live for ``seconds``, those of an owner in ``seconds_of`` for as long as that says. Names in ``held`` are not
    answered until they are released.
    """

    def __init__(self, answers: dict[str, list[list[str]]], seconds: int = 0) -> None:
        self.answers = answers
        self.seconds = seconds
        self.seconds_of: dict[str, int] = {}
        self.held: set[str] = set()
        self.asked: list[str] = []
        self.asked_over_tcp: list[str] = []
        self.waiting: list[tuple[bytes, tuple[str, int]]] = []
        self.transport: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    async def start(self, udp: socket.socket | None = None, tcp: socket.socket | None = None) -> tuple[str, int]:
        """Serve UDP on a free port of loopback, or on the sockets that are given."""
        loop = asyncio.get_running_loop()
        where = {"local_addr": ("127.0.0.1", 0)} if udp is None else {"sock": udp}
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, **where)
        if tcp is not None:
            self._tcp = await asyncio.start_server(self._serve_tcp, sock=tcp)
        host, port = self.transport.get_extra_info("sockname")[:2]
        return host, port

    def stop(self) -> None:
        """Close the sockets."""
        if self.transport is not None:
            self.transport.abort()
        if self._tcp is not None:
            self._tcp.close()

    def release(self, name: str) -> None:
        """Answer what was asked of ``name`` meanwhile, and hold it no longer."""
        self.held.remove(name)
        waiting, self.waiting = self.waiting, []
        for data, address in waiting:
            self.datagram_received(data, address)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text()
        self.asked.append(_question(query))
        if name in self.held:
            self.waiting.append((data, addr))
            return
        response = self._respond(query, over_tcp=False)
        if response is not None:
            assert self.transport is not None
            self.transport.sendto(response.to_wire(), addr)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            length = int.from_bytes(await reader.readexactly(2), "big")
            query = dns.message.from_wire(await reader.readexactly(length))
            self.asked_over_tcp.append(_question(query))
            response = self._respond(query, over_tcp=True)
            if response is not None:
                wire = response.to_wire()
                writer.write(len(wire).to_bytes(2, "big") + wire)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.transport.abort()

    def _respond(self, query: dns.message.Message, *, over_tcp: bool) -> dns.message.Message | None:
        question = query.question[0]
        name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        response = dns.message.make_response(query)
        lists = self.answers.get(f"{name} {kind}")
        if lists == SILENCE:
            return None
        if lists is None and not any(key.startswith(f"{name} ") for key in self.answers):
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif lists == SERVFAIL:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif lists and lists[0][:1] == ["TRUNCATED"] and not over_tcp:
            response.flags |= dns.flags.TC
        elif lists:
            records = lists.pop(0) if len(lists) > 1 else lists[0]
            owner = name
            for record in records:
                seconds = self.seconds_of.get(owner, self.seconds)
                if record.startswith("CNAME "):
                    target = record.removeprefix("CNAME ")
                    response.answer.append(dns.rrset.from_text(owner, seconds, "IN", "CNAME", target))
                    owner = target
                elif record != "TRUNCATED":
                    response.answer.append(dns.rrset.from_text(owner, seconds, "IN", kind, record))
        return response


def _question(query: dns.message.Message) -> str:
    question = query.question[0]
    return f"{question.name.to_text()} {dns.rdatatype.to_text(question.rdtype)}"
