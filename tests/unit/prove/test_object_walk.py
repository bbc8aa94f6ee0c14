from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading

import kept_secrets
import pytest

from mycelos.prove import object_walk


@pytest.fixture(scope="module")
def told():
    """What the walk finds in a process of its own: in this one it would look through all tests."""
    ended = subprocess.run([sys.executable, kept_secrets.__file__], capture_output=True, timeout=120, check=True)
    return json.loads(ended.stdout)


@pytest.mark.parametrize("place", kept_secrets.KEPT)
def test_a_secret_is_found_wherever_it_is_kept(told, place):
    before, after = told[place]
    assert before == []
    assert after


def test_a_secret_that_is_kept_nowhere_is_not_found(told):
    assert told["nowhere"] == [[], []]


def test_a_local_variable_of_another_thread_is_found(told):
    during, after = told["thread"]
    assert during
    assert after == []


def test_a_matcher_is_counted_while_it_lives(told):
    assert told["matchers"] == [1, 0]


def test_it_answers_over_a_connection_and_says_nothing_where_no_secret_is_said(told):
    answer, nothing = told["connection"]
    assert "a str of" in answer
    assert nothing == ""


def test_an_answer_that_is_none_is_no_look(short_directory):
    path = short_directory / "walk.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)

        def hang_up():
            connection, _ = listener.accept()
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(OSError, match="finished|reset|Broken"):
            object_walk.ask(path, "x", 20)
        thread.join(20)
