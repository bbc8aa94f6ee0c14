from __future__ import annotations

from mycelos.gateway.tools.catalogue import make_registry


def test_the_tools_of_this_version_are_in_one_registry():
    async def never(*_):
        raise AssertionError

    assert make_registry(never, never).names == {
        "github.read.issues",
        "github.read.repos",
        "github.write.comment",
        "web.read.page",
    }
