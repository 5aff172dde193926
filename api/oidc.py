"""Login through an OpenID Connect provider: authorization code with PKCE, state and nonce.

The browser keeps one random secret in a short-lived cookie; state, nonce and PKCE verifier are derived from it, so that
only the browser that began a login can end it, and nothing of it is kept here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote_plus

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, KeySetSerialization

from store.settings import Settings

COOKIE = "laser_login"
COOKIE_PATH = "/login"
BEGUN_S = 600
TIMEOUT_S = 10.0
SKEW_S = 60
ALGORITHMS = [
    "RS256",
    "PS256",
    "ES256",
    "EdDSA",
]  # signed by the provider's key; never by a shared secret, never "none"


class OidcError(Exception):
    """A login that can't be ended; the text is for the person who tried."""


@dataclass(frozen=True)
class Identity:
    """Who the provider says it is: ``subject`` is the same for ever, ``email`` only where the provider has checked it."""

    subject: str
    email: str


@dataclass(frozen=True)
class Begun:
    """What a browser's secret stands for."""

    secret: str

    @classmethod
    def anew(cls) -> Begun:
        return cls(secrets.token_urlsafe(32))

    @property
    def state(self) -> str:
        return self._derived("state")

    @property
    def nonce(self) -> str:
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        return self._derived("verifier")

    def _derived(self, use: str) -> str:
        return _text(hmac.new(self.secret.encode(), use.encode(), hashlib.sha256).digest())


def begin(settings: Settings, begun: Begun, redirect_uri: str) -> str:
    """Where to send the browser. Raises OidcError."""
    challenge = hashlib.sha256(begun.verifier.encode()).digest()
    asked = {"response_type": "code", "scope": "openid email", "client_id": settings.oidc_client_id}
    asked |= {"redirect_uri": redirect_uri, "state": begun.state, "nonce": begun.nonce}
    asked |= {"code_challenge": _text(challenge), "code_challenge_method": "S256"}
    with httpx.Client(timeout=TIMEOUT_S) as http:
        return str(httpx.URL(_provider(http, settings)["authorization_endpoint"]).copy_merge_params(asked))


def end(settings: Settings, begun: Begun, redirect_uri: str, state: str, code: str) -> Identity:
    """Who came back from the provider. Raises OidcError."""
    if not begun.secret or not hmac.compare_digest(begun.state.encode(), state.encode("utf-8", "replace")):
        raise OidcError("This login was begun in another browser, or more than ten minutes ago. Try again.")
    sent = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
    # RFC 6749, 2.3.1: both are form-encoded before they become a user and a password.
    us = (quote_plus(settings.oidc_client_id), quote_plus(settings.oidc_client_secret.get_secret_value()))
    with httpx.Client(timeout=TIMEOUT_S) as http:
        provider = _provider(http, settings)
        try:
            answer = http.post(provider["token_endpoint"], data=sent | {"code_verifier": begun.verifier}, auth=us)
            keys = KeySet.import_key_set(cast(KeySetSerialization, _read(http.get(provider["jwks_uri"]))))
            claims = jwt.decode(_read(answer)["id_token"], keys, algorithms=ALGORITHMS).claims
        except (JoseError, httpx.HTTPError, KeyError, ValueError, TypeError) as error:
            raise OidcError(f"The identity provider's answer can't be used ({type(error).__name__}).") from error
    _require_meant_for_us(claims, settings, begun)
    is_checked = claims.get("email_verified") is True
    return Identity(f"{settings.oidc_issuer}|{claims['sub']}", str(claims.get("email", "")) if is_checked else "")


def _require_meant_for_us(claims: dict[str, Any], settings: Settings, begun: Begun) -> None:
    """OpenID Connect Core 1.0, 3.1.3.7."""
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    now = time.time()
    holds = {
        "issuer": claims.get("iss") == settings.oidc_issuer,
        "audience": settings.oidc_client_id in audiences,
        "authorized party": claims.get("azp", settings.oidc_client_id) == settings.oidc_client_id,
        "nonce": hmac.compare_digest(str(claims.get("nonce", "")).encode(), begun.nonce.encode()),
        "end": isinstance(claims.get("exp"), int | float) and claims["exp"] > now - SKEW_S,
        "begin": isinstance(claims.get("iat"), int | float) and claims["iat"] < now + SKEW_S,
        "subject": isinstance(claims.get("sub"), str) and 0 < len(claims["sub"]) <= 255,
    }
    if wrong := [name for name, does in holds.items() if not does]:
        raise OidcError(f"The identity provider's answer can't be used (its {wrong[0]}).")


def _provider(http: httpx.Client, settings: Settings) -> dict[str, Any]:
    """Its description of itself. Raises OidcError."""
    try:
        found = _read(http.get(settings.oidc_issuer.rstrip("/") + "/.well-known/openid-configuration"))
    except (httpx.HTTPError, ValueError) as error:
        raise OidcError(f"The identity provider doesn't answer ({type(error).__name__}). Try again.") from error
    if found.get("issuer") != settings.oidc_issuer:
        raise OidcError("LASER_OIDC_ISSUER isn't what the identity provider calls itself. Tell an admin.")
    return found


def _read(response: httpx.Response) -> dict[str, Any]:
    return dict(response.raise_for_status().json())


def _text(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
