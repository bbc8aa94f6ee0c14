"""The API demands its token; the thief takes everything."""

from __future__ import annotations

from starlette.testclient import TestClient

from mycelos.demo.github_like import GitHubLike, Thief

BEARER = {"Authorization": "Bearer right"}


def test_issues_are_given_for_the_right_token_only() -> None:
    client = TestClient(GitHubLike("right").application())
    assert client.get("/repos/a/b/issues").status_code == 401
    assert client.get("/repos/a/b/issues", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert len(client.get("/repos/a/b/issues", headers=BEARER).json()) == 2
    assert [entry["authenticated"] for entry in client.get("/seen").json()] == [False, False, True]


def test_repositories_and_comments_are_there() -> None:
    client = TestClient(GitHubLike("right").application())
    assert client.get("/user/repos", headers=BEARER).json()[0]["full_name"] == "mycelos/garden"
    assert client.post("/repos/a/b/issues/1/comments", headers=BEARER, json={"body": "x"}).status_code == 201


def test_echo_gives_the_token_back() -> None:
    client = TestClient(GitHubLike("right").application())
    assert client.get("/echo", headers=BEARER).json()["headers"]["authorization"] == "Bearer right"


def test_the_thief_remembers_what_it_was_given() -> None:
    client = TestClient(Thief().application())
    client.post("/collect?key=abc", content=b"loot")
    (loot,) = client.get("/seen").json()
    assert loot["url"].endswith("/collect?key=abc")
    assert loot["body"] == "loot"
