from __future__ import annotations

import pytest

from mycelos.cli.local_server import LOOPBACK, MODEL_NAME, main, make_parameters


def test_the_server_is_told_to_stay_on_loopback_and_to_offer_nothing_but_its_model() -> None:
    parameters = make_parameters("/weights.gguf", 9180)
    assert parameters.hostnames == [LOOPBACK]
    assert parameters.port == 9180
    assert parameters.model.path == "/weights.gguf"
    assert parameters.model_alias == {MODEL_NAME}
    assert parameters.offline
    assert 0 < parameters.n_predict < parameters.n_ctx
    offered = [parameters.ui, parameters.endpoint_slots, parameters.endpoint_props, parameters.endpoint_metrics]
    assert offered == [False] * 4
    assert parameters.cors_origins == "http://127.0.0.1:9180"


@pytest.mark.parametrize("arguments", [[], ["/weights.gguf", "port", "3"]])
def test_arguments_that_it_cannot_use_are_an_error(arguments) -> None:
    with pytest.raises((IndexError, ValueError)):
        main(arguments)
