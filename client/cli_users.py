"""Commands about users, their tokens and the audit log."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import RenderableType

from client.http import Client, Json
from client.options import AsJson
from client.output import notes, out, print_json
from client.render import audit_table, escape, tokens_table, users_table, when

UserRef = Annotated[str, typer.Argument(metavar="USER", help="A user's name or id.")]
OfUser = Annotated[str, typer.Option("--user", help="Another user's; for admins.")]

user = typer.Typer(help="Who may use the platform; for admins.", no_args_is_help=True)
token = typer.Typer(help="Tokens for scripts, and browser sessions.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the commands to the ``laser`` command."""
    app.add_typer(user, name="user", rich_help_panel="Users")
    app.add_typer(token, name="token", rich_help_panel="Users")
    app.command(rich_help_panel="Users")(audit)


@user.command("add")
def add_user(
    name: Annotated[str, typer.Argument(help="1 to 120 letters, digits, spaces and . _ + @ ( ) -")],
    role: Annotated[str, typer.Option(help="member: own runs; viewer: reads all; admin: all.")] = "member",
    with_token: Annotated[bool, typer.Option("--token", help="Print a token instead of a login link.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add a user and print a login link for a browser, or a token, once."""
    with Client() as client:
        made = client.add_user(name, role)
        if with_token:
            way_in: Json = {"token": client.create_token("first", "all", 90, made["id"])["secret"]}
        else:
            way_in = {"login_url": client.login_url(made["id"])}
    if as_json:
        print_json(made | way_in)
        return
    notes.print(f"{escape(made['name'])} is a {made['role']} now. Send this; it is shown once:", highlight=False)
    _print_line(*way_in.values())


@user.command("list")
def list_users(as_json: AsJson = False) -> None:
    """All users."""
    with Client() as client:
        found = client.users()
    _print(found, as_json, users_table(found))


@user.command("link")
def link(user: UserRef, as_json: AsJson = False) -> None:
    """Print a link that logs a user's browser in, once, within a day."""
    with Client() as client:
        url = client.login_url(user)
    if as_json:
        print_json({"login_url": url})
    else:
        _print_line(url)


@user.command("role")
def set_role(
    user: UserRef,
    role: Annotated[str, typer.Argument(help="admin, member or viewer.")],
    as_json: AsJson = False,
) -> None:
    """Give a user another role; it holds at once."""
    _change(user, {"role": role}, as_json)


@user.command("set")
def set_shares(
    user: UserRef,
    shares: Annotated[float | None, typer.Option(min=0, help="Of the pool, beside those of the others.")] = None,
    most_running: Annotated[int | None, typer.Option(min=0, help="Runs at once; 0 for the pool's own limit.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change a user's part of the pool; what isn't given stays."""
    given = {"shares": shares, "most_running": most_running}
    _change(user, {name: value for name, value in given.items() if value is not None}, as_json)


@user.command("disable")
def disable(user: UserRef, as_json: AsJson = False) -> None:
    """Shut a user out: tokens and sessions stop working at once; runs stay."""
    _change(user, {"disabled": True}, as_json)


@user.command("enable")
def enable(user: UserRef, as_json: AsJson = False) -> None:
    """Let a user in again, with the tokens and sessions that haven't expired."""
    _change(user, {"disabled": False}, as_json)


@token.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="To tell it from others.")],
    scope: Annotated[
        str, typer.Option(help="read, all to change things too, or metrics to read /metrics alone.")
    ] = "read",
    days: Annotated[int, typer.Option(min=1, max=366, help="How long it is good for.")] = 90,
    user: OfUser = "",
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, once. Scripts give it as LASER_TOKEN."""
    with Client() as client:
        made = client.create_token(name, scope, days, user)
    if as_json:
        print_json(made)
        return
    until = when(made["token"]["expires_at"])
    notes.print(f"{made['token']['id']}, scope {scope}, until {until}; it is shown once:", highlight=False)
    _print_line(made["secret"])


@token.command("list")
def list_tokens(user: OfUser = "", as_json: AsJson = False) -> None:
    """Tokens and browser sessions that are good; never their secrets."""
    with Client() as client:
        found = client.tokens(user)
    _print(found, as_json, tokens_table(found))


@token.command("revoke")
def revoke_token(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id, as `laser token list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """End a token or session; it stops working at once."""
    with Client() as client:
        client.revoke_token(token)
    _print({"revoked": token}, as_json, f"Revoked {escape(token)}.")


def audit(
    limit: Annotated[int, typer.Option(min=1, max=500, help="Most entries to show.")] = 50,
    before: Annotated[int, typer.Option(min=0, help="Only entries with a lower number.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Who did what, newest first; for admins."""
    with Client() as client:
        page = client.audit(limit, before or None)
    if as_json:
        print_json(page)
        return
    out.print(audit_table(page["items"]))
    if page["next_before"]:
        notes.print(f"Older ones: laser audit --before {page['next_before']}", style="bright_black")


def _change(user: str, changes: Json, as_json: bool) -> None:
    with Client() as client:
        changed = client.change_user(user, changes)
    _print(changed, as_json, users_table([changed]))


def _print(answer: Any, as_json: bool, words: RenderableType) -> None:
    if as_json:
        print_json(answer)
    else:
        out.print(words, highlight=False)


def _print_line(text: str) -> None:
    out.print(text, soft_wrap=True, highlight=False, markup=False)
