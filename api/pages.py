"""The few pages that the server writes itself; everything else is the built UI's."""

from __future__ import annotations

from starlette.responses import HTMLResponse

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
  body {{ font: 16px/1.6 system-ui, sans-serif; max-width: 34rem; margin: 18vh auto 0; padding: 0 1.5rem; }}
  h1 {{ font-size: 1.4rem; }}
  code {{ padding: .15em .4em; border-radius: .3em; background: color-mix(in srgb, currentColor 12%, transparent); }}
</style>
</head>
<body>
<h1>{title}</h1>
{text}
</body>
</html>
"""


def login_needed(spent: bool = False) -> HTMLResponse:
    """401, for browsers without a session."""
    why = "<p>This login link has been used already, or is more than ten minutes old.</p>" if spent else ""
    how = "<p>Run <code>laser open</code> on the machine where the platform runs: it opens a fresh login link.</p>"
    return _page("Please log in", why + how, 401)


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
