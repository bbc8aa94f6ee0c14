from __future__ import annotations

import json

import pytest

AGENT = {
    "name": "gardener",
    "instructions": "Be kind.\x1b[2J",
    "capabilities": ["github.read"],
    "model": None,
    "created_at": "2026-01-01T00:00:00.000000Z",
}


def test_agents_are_listed_with_what_they_may_do(mycelos, gateway) -> None:
    gateway.answers["GET /api/agents"] = (200, [AGENT, AGENT | {"name": "assistant", "capabilities": []}])
    code, out, _ = mycelos("agent", "list")
    assert code == 0
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["gardener", "-", "github.read"],
        ["assistant", "-", "none"],
    ]


def test_the_list_as_json_is_the_gateways(mycelos, gateway) -> None:
    gateway.answers["GET /api/agents"] = (200, [AGENT])
    assert json.loads(mycelos("agent", "list", "--json")[1]) == [AGENT]


def test_an_agent_is_added_with_its_capabilities(mycelos, gateway) -> None:
    gateway.answers["POST /api/agents"] = (201, AGENT)
    code, out, _ = mycelos("agent", "add", "gardener", "--capability", "github.read", "--model", "m")
    assert code == 0
    assert gateway.asked == [
        (
            "POST /api/agents",
            {"name": "gardener", "instructions": "", "capabilities": ["github.read"], "model": "m"},
        )
    ]
    assert "\x1b" not in out


@pytest.mark.parametrize("capability", ["GitHub.read", "github.", "", "github.*"])
def test_a_malformed_capability_is_refused_before_anything_is_asked(mycelos, gateway, capability) -> None:
    code, _, err = mycelos("agent", "add", "gardener", "--capability", capability)
    assert code == 2
    assert "--capability" in err
    assert gateway.asked == []


def test_an_edit_sends_what_was_given_only(mycelos, gateway) -> None:
    gateway.answers["PATCH /api/agents/gardener"] = (200, AGENT)
    assert mycelos("agent", "edit", "gardener", "--instructions", "Be brief.")[0] == 0
    assert mycelos("agent", "edit", "gardener", "--capability", "a.b", "--capability", "c.d")[0] == 0
    assert mycelos("agent", "edit", "gardener", "--no-capability")[0] == 0
    assert [body for _, body in gateway.asked] == [
        {"instructions": "Be brief."},
        {"capabilities": ["a.b", "c.d"]},
        {"capabilities": []},
    ]


def test_an_edit_of_nothing_is_wrong_usage(mycelos, gateway) -> None:
    assert mycelos("agent", "edit", "gardener")[0] == 2
    assert gateway.asked == []


def test_an_agent_is_shown_and_removed(mycelos, gateway) -> None:
    gateway.answers["GET /api/agents/gardener"] = (200, AGENT)
    gateway.answers["DELETE /api/agents/gardener"] = (204, None)
    assert "capabilities  github.read" in mycelos("agent", "show", "gardener")[1]
    assert mycelos("agent", "remove", "gardener")[:2] == (0, "removed gardener\n")


def test_an_agent_that_does_not_exist_is_an_error(mycelos, gateway) -> None:
    assert mycelos("agent", "show", "nobody") == (1, "", "mycelos: There is no such thing. Look elsewhere.\n")
