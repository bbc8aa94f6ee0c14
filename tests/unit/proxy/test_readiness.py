from __future__ import annotations

import os

import pytest

from mycelos.proxy.readiness import Readiness


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream:
        yield stream, writing


def test_busy_is_said_once_a_second_and_ready_is_the_last_word(pipe):
    stream, writing = pipe
    clock = Clock()
    start = Readiness(writing, clock)
    start.busy()
    for now in (101.0, 101.1, 101.9, 102.0, 150.0):
        clock.now = now
        start.busy()
    start.ready()
    clock.now = 200.0
    start.busy()
    assert stream.read() == b"busy\nbusy\nbusy\nready\n"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(writing)
