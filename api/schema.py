"""RunConfig in the API's schema: one declaration serves the body of ``POST /runs``, the web form and the web types."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import JsonSchemaMode

from api import models
from api.checkouts import NewCheckout
from api.presets import PRESETS
from api.problems import RESPONSES
from laser_core.config import ExperimentConfig, RunConfig
from laser_core.schema import JsonSchema, json_schema

router = APIRouter(tags=["schema"], responses=RESPONSES)

REF = "#/components/schemas/"


def body_of(component: str) -> dict[str, Any]:
    """What OpenAPI says of a route whose body is one of the components that ``install`` adds."""
    content = {"application/json": {"schema": {"$ref": REF + component}}}
    return {"requestBody": {"required": True, "content": content}}


def submission_of(component: str) -> dict[str, Any]:
    """The same of a route that takes with it what it is submitted from (``api.checkouts``)."""
    alone = {"$ref": REF + component}
    parts = {"config": alone, "checkout": {"$ref": REF + "NewCheckout"}}
    both = {"type": "object", "properties": parts, "required": list(parts), "additionalProperties": False}
    content = {"application/json": {"schema": {"anyOf": [alone, both]}}}
    return {"requestBody": {"required": True, "content": content}}


PATCH: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "description": "What to change (JSON merge patch, RFC 7396): null removes a field, so that its default holds. Or "
        "{config, checkout}: what to change, and what it is submitted from.",
        "content": {
            kind: {"schema": {"type": "object", "additionalProperties": True}}
            for kind in ("application/merge-patch+json", "application/json")
        },
    }
}


@router.get("/schema/run", summary="JSON Schema of RunConfig", response_model=dict[str, Any])
def run_schema() -> JsonSchema:
    """JSON Schema 2020-12 with every default, limit and help text; a form can be made from it."""
    return _whole(RunConfig, "RunConfig")


@router.get("/schema/experiment", summary="JSON Schema of ExperimentConfig", response_model=dict[str, Any])
def experiment_schema() -> JsonSchema:
    """The same of an experiment; its base and variants are parts of a run's configuration."""
    return _whole(ExperimentConfig, "ExperimentConfig")


@router.get("/presets", summary="Configurations to start from")
def presets() -> list[models.Preset]:
    return list(PRESETS)


def install(app: FastAPI) -> None:
    """Puts RunConfig and what else FastAPI doesn't find by itself among the components of the app's OpenAPI document."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _whole(kind: Any, title: str) -> JsonSchema:
    schema, definitions = json_schema(kind)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title} | schema | {"$defs": definitions}


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    union, components = json_schema(RunConfig, REF)
    components |= json_schema(ExperimentConfig, REF)[1]
    for kind in (models.Problem, models.NewPoints, NewCheckout):
        mode: JsonSchemaMode = "serialization" if kind is models.Problem else "validation"
        part = kind.model_json_schema(ref_template=REF + "{model}", mode=mode)
        components |= part.pop("$defs") | {kind.__name__: part}
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    taken = {name for name in schemas.keys() & components.keys() if schemas[name] != components[name]}
    assert not taken, f"two schemas of one name: {taken}"
    schemas.update(components, RunConfig=union)
    document["components"]["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": "laser_session"},
    }
    document["security"] = [{"token": []}, {"session": []}]
    return document
