from __future__ import annotations

import subprocess
import sys

import pytest

from mycelos.configuration.environment import ConfigurationError, read_environment
from mycelos.gateway.identity.passwords import hash_password
from mycelos.supervisor.value_checks import check_values


def check(resolve: bool = False, **variables: str) -> None:
    check_values(read_environment(variables), resolve=resolve)


def test_what_the_zones_take_passes(tmp_path):
    check()
    check(MYCELOS_PASSWORD="correct horse")
    check(MYCELOS_PASSWORD_HASH=hash_password("correct horse"))
    check(MYCELOS_EGRESS_OPEN="127.0.0.1:8080,10.0.0.7:443,ollama.lan:11434")


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"MYCELOS_PASSWORD": "correct", "MYCELOS_PASSWORD_HASH": "$argon2id$"}, "both set"),
        ({"MYCELOS_PASSWORD_HASH": "$2b$12$abc"}, "not an argon2id hash"),
        ({"MYCELOS_PASSWORD": "correct\u200bhorse"}, "printable"),
        ({"MYCELOS_EGRESS_OPEN": "169.254.169.254:80"}, "169.254.169.254:80 cannot be opened"),
        ({"MYCELOS_EGRESS_OPEN": "[fe80::1]:80"}, "cannot be opened"),
        ({"MYCELOS_WITNESS": "notes"}, "MYCELOS_WITNESS must be the absolute path"),
        ({"MYCELOS_WITNESS": "https://a@w.example"}, "MYCELOS_WITNESS: URL host"),
        ({"MYCELOS_EGRESS_OPEN": "127.0.0.1:9100"}, "a port on which Mycelos itself listens"),
        ({"MYCELOS_EGRESS_OPEN": "127.0.0.1:7000", "MYCELOS_OPERATOR_PORT": "7000"}, "Mycelos itself listens"),
    ],
)
def test_what_a_zone_refuses_is_refused_in_its_words(variables, text):
    with pytest.raises(ConfigurationError) as caught:
        check(**variables)
    assert text in str(caught.value)


def test_a_file_of_roots_without_a_certificate_is_refused(tmp_path):
    roots = tmp_path / "roots.pem"
    roots.write_text("no certificate")
    with pytest.raises(ConfigurationError, match="no certificates in PEM"):
        check(MYCELOS_CA_FILE=str(roots))


def test_a_name_is_looked_up_only_where_that_is_asked_for():
    check(MYCELOS_EGRESS_OPEN="localhost:9100")
    with pytest.raises(ConfigurationError, match="localhost:9100 cannot be opened"):
        check(resolve=True, MYCELOS_EGRESS_OPEN="localhost:9100")


def test_a_plain_start_loads_no_zone():
    script = """
import sys
from mycelos.configuration.environment import read_environment
from mycelos.supervisor.value_checks import check_values
check_values(read_environment({}), resolve=True)
print([name for name in ("argon2", "ssl", "asyncio", "mycelos.proxy", "mycelos.gateway") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
