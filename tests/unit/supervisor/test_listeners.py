from __future__ import annotations

import os
import socket

import pytest

from mycelos.supervisor.listeners import ListenerError, open_listener, reserve_other_loopback


def test_a_listener_takes_connections_on_its_address(free_port):
    port = free_port()
    with open_listener("MYCELOS_PORT", "localhost", port) as listener:
        assert listener.getsockname() == ("127.0.0.1", port)
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            connection, _ = listener.accept()
            connection.close()


def test_a_listener_is_not_inherited_unless_it_is_handed_over(free_port):
    with open_listener("MYCELOS_PORT", "127.0.0.1", free_port()) as listener:
        assert not os.get_inheritable(listener.fileno())


def test_a_busy_port_is_refused_by_the_name_of_its_variable(free_port):
    port = free_port()
    expected = f"port {port} .* set MYCELOS_OPERATOR_PORT to a free port"
    with open_listener("MYCELOS_PORT", "127.0.0.1", port), pytest.raises(ListenerError, match=expected):
        open_listener("MYCELOS_OPERATOR_PORT", "127.0.0.1", port)


def test_an_address_of_another_machine_is_refused_by_the_name_of_its_variable(free_port):
    with pytest.raises(ListenerError, match=r"192\.0\.2\.1 is no address of this machine; set MYCELOS_BIND"):
        open_listener("MYCELOS_PORT", "192.0.2.1", free_port())


def test_nobody_else_listens_where_localhost_may_lead(free_port):
    port = free_port()
    held = reserve_other_loopback("MYCELOS_PORT", port)
    assert held is not None
    with held, socket.socket(socket.AF_INET6) as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            thief.bind(("::1", port))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("::1", port), timeout=5)


def test_without_the_reservation_a_thief_is_given_the_connection(free_port):
    port = free_port()
    with socket.create_server(("::1", port), family=socket.AF_INET6) as thief:
        socket.create_connection(("::1", port), timeout=5).close()
        thief.accept()[0].close()
        with pytest.raises(ListenerError, match="MYCELOS_PORT"):
            reserve_other_loopback("MYCELOS_PORT", port)
