"""`/api/models`: model endpoints by name, wire format and the vault's name for their credential."""

from __future__ import annotations

from fastapi import APIRouter, Response

from mycelos.gateway.administration import Administration
from mycelos.gateway.api.schemas import ModelView, NewModel, Tested
from mycelos.gateway.model_call import ModelCall
from mycelos.gateway.services import Services
from mycelos.gateway.store.records import Model
from mycelos.wire.conversation import UserMessage
from mycelos.wire.problems import ProblemCode, Refusal


def model_routes(services: Services, administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/models", tags=["models"])

    @router.get("")
    async def list_models() -> list[ModelView]:
        """All endpoints, oldest first: the first serves agents that name none."""
        return [ModelView.of(model) for model in await services.store.models.all()]

    @router.post("", status_code=201)
    async def create_model(body: NewModel) -> ModelView:
        """Add an endpoint."""
        model = await administration.create_model(body.name, body.format, body.base_url, body.model, body.credential)
        return ModelView.of(model)

    @router.delete("/{name}", status_code=204)
    async def delete_model(name: str) -> Response:
        """Remove an endpoint."""
        await administration.delete_model(name)
        return Response(status_code=204)

    @router.post("/{name}/test")
    async def test_model(name: str) -> Tested:
        """Ask the endpoint for one short answer."""
        model = await services.store.models.find(name)
        if model is None:
            raise Refusal(
                ProblemCode.NOT_FOUND, "There is no model of this name.", "GET /api/models lists those that exist."
            )
        return Tested(answer=(await services.models.ask(_question(model))).text)

    return router


def _question(model: Model) -> ModelCall:
    """The smallest thing to ask; whoever tests an endpoint pays for a few words only."""

    async def ignore(_piece: str) -> None:
        """The answer is wanted whole."""

    return ModelCall(
        model=model,
        instructions="This is a test of the connection.",
        messages=(UserMessage("Answer with the one word: hello"),),
        tools=(),
        run_id="",
        agent="",
        answer_characters=2000,
        on_text=ignore,
    )
