from typing import Any

from operator_requests import ask, bearer


def test_the_composed_door_answers_the_routes_of_every_part(operator_system: Any) -> None:
    headers = {"Authorization": bearer(operator_system)}
    for method, path in (
        ("POST", "/credential/list"), ("POST", "/egress/rules"), ("POST", "/link/create"), ("GET", "/status")
    ):  # fmt: skip
        assert ask(operator_system, method, path, {} if method == "POST" else None, **headers)[0] != 404, path
