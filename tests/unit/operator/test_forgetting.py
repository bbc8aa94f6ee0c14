from __future__ import annotations

import gc
import weakref

import pytest

from mycelos.operator.forgetting import Forgetting

pytestmark = pytest.mark.anyio


class Kept:
    def __init__(self):
        self.itself = self


async def call(method, *, fails=False):
    """Whether what an application leaves in a cycle is still there when it has answered."""
    left = []

    async def app(scope, receive, send):
        left.append(weakref.ref(Kept()))
        if fails:
            raise RuntimeError

    gc.disable()
    try:
        await Forgetting(app)({"type": "http", "method": method}, None, None)
    except RuntimeError:
        assert fails
    finally:
        gc.enable()
    return left[0]() is not None


async def test_what_a_form_left_in_a_cycle_of_references_is_gone_when_it_is_answered():
    assert not await call("POST")
    assert not await call("POST", fails=True)


async def test_what_holds_no_secret_waits_for_its_time():
    assert await call("GET")
