"""The few pages that the server writes itself; everything else is the built UI's."""

from __future__ import annotations

import html

from starlette.responses import HTMLResponse

# The form says where it comes from, in spite of the header that keeps addresses to ourselves.
_TOKEN_FORM = """
<form method="post" action="/login">
  <label for="token">Token</label>
  <input id="token" name="token" type="password" autocomplete="current-password" required spellcheck="false">
  <button>Log in</button>
</form>
<p class="hint">Without one: <code>laser open</code> on the machine where the platform runs opens a fresh login link, and an
admin can send one (<code>laser user link NAME</code>).</p>
"""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="same-origin">
<title>{title}</title>
<style>
  :root {{ --line: color-mix(in srgb, currentColor 18%, transparent); --accent: light-dark(#5149b8, #a59ef0); }}
  body {{ font: 15px/1.6 system-ui, sans-serif; color: light-dark(#1c2024, #e9eaec); background: light-dark(#fafafb, #111317);
    max-width: 25rem; margin: 14vh auto 0; padding: 0 1.25rem 2rem; }}
  h1 {{ font-size: 1.3rem; }}
  code {{ padding: .15em .4em; border-radius: .3em; background: color-mix(in srgb, currentColor 10%, transparent); }}
  form {{ display: grid; gap: .4rem; }}
  label {{ font-size: .8125rem; font-weight: 500; }}
  input, button, .button {{ font: inherit; padding: .5rem .75rem; border-radius: 9px; border: 1px solid var(--line); }}
  button {{ margin-top: .4rem; background: var(--accent); color: light-dark(#fff, #000); border: 0; font-weight: 600; }}
  .button {{ display: block; text-align: center; text-decoration: none; color: inherit; margin-bottom: 1.25rem; }}
  :focus-visible {{ outline: 2px solid var(--accent); outline-offset: 2px; }}
  .problem {{ padding: .6rem .8rem; border-radius: 9px; border: 1px solid light-dark(#e03131, #ff8787); }}
  .hint {{ font-size: .8125rem; opacity: .75; }}
</style>
</head>
<body>
<h1>{title}</h1>
{text}
</body>
</html>
"""


def login(problem: str = "", has_provider: bool = False) -> HTMLResponse:
    """401, for browsers without a session: every way in."""
    said = f'<p class="problem" role="alert">{html.escape(problem)}</p>' if problem else ""
    provider = '<a class="button" href="/login/oidc">Log in with single sign-on</a>' if has_provider else ""
    return _page("Log in to LASER lab", said + provider + _TOKEN_FORM, 401)


def welcome() -> HTMLResponse:
    """Goes on to the UI by itself."""
    text = '<meta http-equiv="refresh" content="0; url=/"><p>You are logged in. <a href="/">Go on</a></p>'
    return _page("Welcome", text, 200)


def not_built() -> HTMLResponse:
    """503, where the UI has not been built."""
    text = (
        "<p>The platform runs, but its web pages have not been built.</p>"
        "<p>Run <code>make web</code> in the checkout, then reload this page. "
        "The command line works meanwhile: try <code>laser runs</code>.</p>"
    )
    return _page("The web UI is not built yet", text, 503)


def _page(title: str, text: str, status: int) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(title=title, text=text), status)
