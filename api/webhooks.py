"""Webhooks: who is told when a run or an experiment ends. A worker sends; the API only keeps them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from api.body import documented, parsed
from api.context import Config, Engine, Speaker
from api.models import Body, Model
from api.problems import RESPONSES
from store import webhooks
from store.webhooks import EVENTS, URL_LENGTH, Delivery, EventKind, Webhook

router = APIRouter(prefix="/webhooks", tags=["webhooks"], responses=RESPONSES)


class NewWebhook(Body):
    """Of the speaker's own runs and experiments."""

    url: str = Field(min_length=1, max_length=URL_LENGTH, description="http:// or https://, of a public address.")
    events: list[EventKind] = Field(default=list(EVENTS), min_length=1, description="What to tell of.")
    filter: str = Field(default="", max_length=2000, description="Only runs that fit, as in GET /runs.")


class CreatedWebhook(Model):
    """``secret`` is shown this once."""

    webhook: Webhook
    secret: str


class WebhookList(Model):
    items: list[Webhook]


class DeliveryList(Model):
    items: list[Delivery]


@router.post("", status_code=201, summary="Add a webhook", openapi_extra=documented(NewWebhook))
def add(
    body: Annotated[NewWebhook, Depends(parsed(NewWebhook))], engine: Engine, settings: Config, speaker: Speaker
) -> CreatedWebhook:
    """What is sent and how it is signed: docs/webhooks.md."""
    allowed = settings.webhook_hosts
    made, secret = webhooks.add(engine, speaker.user_id, body.url, body.events, body.filter, allowed=allowed)
    return CreatedWebhook(webhook=made, secret=secret)


@router.get("", summary="Your webhooks")
def list_webhooks(engine: Engine, speaker: Speaker) -> WebhookList:
    """Oldest first, without their secrets."""
    return WebhookList(items=webhooks.list_webhooks(engine, speaker.user_id))


@router.post("/{webhook_id}/enable", summary="Let a disabled webhook go on")
def enable(webhook_id: str, engine: Engine, speaker: Speaker) -> Webhook:
    """What waits for it is sent."""
    return webhooks.enable(engine, speaker.user_id, webhook_id)


@router.post("/{webhook_id}/test", status_code=202, summary="Send a test")
def send_test(webhook_id: str, engine: Engine, speaker: Speaker) -> Delivery:
    """A worker sends it within seconds; the deliveries tell how it went."""
    return webhooks.send_test(engine, speaker.user_id, webhook_id)


@router.get("/{webhook_id}/deliveries", summary="What was sent, and what waits")
def list_deliveries(
    webhook_id: str,
    engine: Engine,
    speaker: Speaker,
    limit: Annotated[int, Query(ge=1, le=100, description="At most so many.")] = 20,
) -> DeliveryList:
    """Newest first; the last hundred are kept."""
    return DeliveryList(items=webhooks.list_deliveries(engine, speaker.user_id, webhook_id, limit))


@router.delete("/{webhook_id}", status_code=204, summary="Remove a webhook")
def delete(webhook_id: str, engine: Engine, speaker: Speaker) -> None:
    """With what waits to be sent to it."""
    webhooks.delete(engine, speaker.user_id, webhook_id)
