"""A small OpenID Connect provider over HTTP: discovery, signed tokens, PKCE. Its person consents at once."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
import threading
import time
from urllib.parse import quote_plus, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route

CLIENT = ("laser-lab", "a secret: of the client")


class Provider:
    """``person`` are the claims of who is logged in there; ``claims`` change what the next token says."""

    def __init__(self):
        self.url = ""
        self.person = {"sub": "42", "email": "ann@lab.example", "email_verified": True}
        self.claims, self.key = {}, RSAKey.generate_key(2048, {"kid": "first", "use": "sig", "alg": "RS256"})
        self.published = self.key  # a forger's tokens are signed by another
        self.granted, self.refused = {}, []

    @contextlib.contextmanager
    def running(self):
        app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.discovery),
                Route("/jwks", lambda request: JSONResponse(KeySet([self.published]).as_dict(private=False))),
                Route("/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
            ]
        )
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.005)
        self.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.should_exit = True
            thread.join(10)

    def discovery(self, request):
        ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
        return JSONResponse({"issuer": self.url} | {name: f"{self.url}/{path}" for name, path in ends.items()})

    def authorize(self, request):
        asked = dict(request.query_params)
        assert (asked["client_id"], asked["response_type"]) == (CLIENT[0], "code")
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        self.granted[code] = asked
        query = urlencode({"code": code, "state": asked["state"]})
        return RedirectResponse(f"{asked['redirect_uri']}?{query}", 302)

    async def token(self, request):
        form = await request.form()
        asked = self.granted.pop(form["code"], None)  # a code is good once
        basic = base64.b64encode(":".join(map(quote_plus, CLIENT)).encode()).decode()
        challenge = hashlib.sha256(form["code_verifier"].encode()).digest()
        holds = {
            "code": asked is not None,
            "client": request.headers["authorization"] == f"Basic {basic}",
            "redirect": asked and asked["redirect_uri"] == form["redirect_uri"],
            "pkce": asked and asked["code_challenge"] == base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
        }
        self.refused = [name for name, does in holds.items() if not does]
        if self.refused:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT[0], "iat": now, "exp": now + 60, "nonce": asked["nonce"]}
        claims |= self.person | self.claims
        signed = jwt.encode({"alg": "RS256", "kid": "first"}, claims, self.key)
        return JSONResponse({"access_token": "a", "token_type": "Bearer", "id_token": signed})
