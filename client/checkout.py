"""The git checkout that this is called in: its commit and what has been changed since, to be kept with a run.

Files that look like secrets are named, but their content never leaves this machine. So are files that don't fit.
"""

from __future__ import annotations

import ast
import base64
import fnmatch
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

DIFF_BYTES, MOST_NAMES, NAME_LENGTH = 256 * 1024, 200, 300  # as the platform takes them
LARGE_BYTES, READ_BYTES = 8 * 2**20, 32 * 2**20
PATIENCE_S = 10.0

SECRET_NAMES = (
    *(".env", ".env.*", "*.env", ".netrc", "_netrc", ".pgpass", ".npmrc", ".pypirc", ".htpasswd", ".git-credentials"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ovpn", "*.ppk", "*.tfstate", "*.asc", "*.gpg"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "kubeconfig", "token", "*.token", "secrets", "credentials"),
    *(f"*{word}*.{kind}" for word in ("secret", "credential", "password")
      for kind in ("json", "yaml", "yml", "toml", "ini", "cfg", "conf", "txt")),
)  # fmt: skip
SECRET_FOLDERS = frozenset({".ssh", ".gnupg", ".aws", ".kube"})
SECRET_CONTENT = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY|\b(?:gh[pousr]_|hf_|AKIA)[A-Za-z0-9]{16,}|\b(?:github_pat_|glpat-|sk-)[\w-]{20,}"
)

# What a user's configuration may change of the output, as git's own defaults have it; nothing else is started or written.
_PLAIN = ("-c", "core.fsmonitor=false", "-c", "core.quotePath=true", "-c", "diff.suppressBlankEmpty=false")
_DIFF = (
    *("diff", "HEAD", "--patch", "--binary", "--full-index", "--unified=3", "--inter-hunk-context=0", "--no-color"),
    *("--no-ext-diff", "--no-textconv", "--no-renames", "--no-relative", "--src-prefix=a/", "--dst-prefix=b/"),
    *("--submodule=short", "--ignore-submodules=dirty", f"-O{os.devnull}"),
)
_STATUS = (
    *("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal", "--no-renames"),
    "--ignore-submodules=dirty",
)

Json = dict[str, Any]


def here(wanted: bool = True) -> Json | None:
    """``gather`` in the present folder; None where it isn't wanted, by an argument or LASER_NO_CHECKOUT."""
    return gather(Path()) if wanted and os.environ.get("LASER_NO_CHECKOUT", "") in ("", "0") else None


def with_checkout(config: Mapping[str, Any], wanted: bool = True) -> Json:
    """The body of a request that queues ``config``."""
    found = here(wanted)
    return {"config": dict(config), "checkout": found} if found else dict(config)


def gather(folder: Path) -> Json | None:
    """{commit, branch, remote, changed, untracked, left_out, untracked_names, left_out_files, diff}, the last in base64. None
    outside of git, and where git can't tell."""
    try:
        top = Path(os.fsdecode(_git(folder, "rev-parse", "--show-toplevel").rstrip(b"\n")))
        head, changed, untracked = _status(top)
        if head["oid"] == "(initial)":
            return None
        remotes = dict(_remotes(top))
    except (OSError, subprocess.SubprocessError, LookupError):
        return None
    diff, left_out = _changes(top, changed)
    remote = remotes.get(head.get("upstream", "").partition("/")[0]) or remotes.get("origin") or ""
    files = [{"path": _shown(path), "why": why} for path, why in sorted(left_out.items())]
    return {
        "commit": head["oid"],
        "branch": "" if head["head"] == "(detached)" else _shown(os.fsencode(head["head"])),
        "remote": _shown(os.fsencode(without_credentials(remote))),
        "changed": len(diff.keys() | left_out.keys()),
        "untracked": len(untracked),
        "left_out": len(left_out),
        "untracked_names": [_shown(path) for path in untracked[:MOST_NAMES]],
        "left_out_files": files[:MOST_NAMES],
        "diff": base64.b64encode(b"".join(diff.values())).decode(),
    }


def without_credentials(url: str) -> str:
    """A remote's address without user and password, and without what follows a question mark; empty for a path of this
    machine. The user of an address for ssh is none of anybody's."""
    if re.fullmatch(r"([\w.-]+@)?[\w.-]{2,}:(?!//)[^\s@]+", url):  # git@host:path
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if not parts.hostname or parts.scheme == "file":
        return ""
    user = f"{parts.username}@" if parts.scheme == "ssh" and parts.username else ""
    return f"{parts.scheme}://{user}{parts.netloc.rpartition('@')[2]}{parts.path}"


def looks_secret(path: str) -> bool:
    """By its name or folder."""
    *folders, name = path.lower().split("/")
    return not SECRET_FOLDERS.isdisjoint(folders) or any(fnmatch.fnmatchcase(name, each) for each in SECRET_NAMES)


# --- asking git --------------------------------------------------------------------------------------------------------


def _git(folder: Path, *words: str) -> bytes:
    """What it says, READ_BYTES at most and one more. Raises OSError, SubprocessError."""
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}
    with tempfile.TemporaryFile() as out:
        subprocess.run(
            ["git", *_PLAIN, *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE_S,
            check=True,
        )
        out.seek(0)
        return out.read(READ_BYTES + 1)


def _status(top: Path) -> tuple[dict[str, str], list[bytes], list[bytes]]:
    """({oid, head, upstream}, changed paths, untracked paths)."""
    head, changed, untracked = {}, [], []
    for entry in _git(top, *_STATUS).split(b"\0"):
        kind, _, rest = entry.partition(b" ")
        if kind == b"#":
            name, _, value = rest.partition(b" ")
            head[name.decode().removeprefix("branch.")] = os.fsdecode(value)
        elif kind in (b"1", b"u"):
            changed.append(rest.split(b" ", 7 if kind == b"1" else 9)[-1])
        elif kind == b"?":
            untracked.append(rest)
    return head, changed, untracked


def _remotes(top: Path) -> list[tuple[str, str]]:
    """(name, URL) of each."""
    try:
        said = _git(top, "config", "--null", "--get-regexp", r"^remote\..*\.url$")
    except subprocess.CalledProcessError:  # there are none
        return []
    pairs = (entry.partition("\n") for entry in os.fsdecode(said).split("\0") if entry)
    return [(name[len("remote.") : -len(".url")], url) for name, _, url in pairs]


# --- changes -----------------------------------------------------------------------------------------------------------


def _changes(top: Path, changed: list[bytes]) -> tuple[dict[bytes, bytes], dict[bytes, str]]:
    """(what ``git apply`` takes, by path; why others are left out, by path)."""
    left_out = {path: why for path in changed if (why := _why_not(top, path))}
    if len(left_out) == len(changed):
        return {}, left_out
    without = [f":(top,exclude,literal){os.fsdecode(path)}" for path in left_out]
    try:
        said = _git(top, *_DIFF, "--", ":/", *without)
    except (OSError, subprocess.SubprocessError):
        return {}, dict.fromkeys(changed, f"git had no answer within {PATIENCE_S:g} s") | left_out
    pieces = _by_path(said)
    if len(said) > READ_BYTES:
        pieces.popitem()  # it was cut off
        left_out = dict.fromkeys(changed, "there are too many changes") | left_out
        left_out = {path: why for path, why in left_out.items() if path not in pieces}
    for path in [path for path, piece in pieces.items() if SECRET_CONTENT.search(piece)]:
        left_out[path] = "holds what looks like a secret"
        del pieces[path]
    room = DIFF_BYTES
    for path in sorted(pieces, key=lambda path: len(pieces[path])):
        room -= len(pieces[path])
        if room < 0:
            left_out[path] = f"too large: {len(pieces[path]) / 1024:.0f} KiB of at most {DIFF_BYTES // 1024} together"
    return {path: piece for path, piece in pieces.items() if path not in left_out}, left_out


def _why_not(top: Path, path: bytes) -> str:
    if looks_secret(os.fsdecode(path)):
        return "looks like a secret"
    try:
        size = (top / os.fsdecode(path)).lstat().st_size
    except OSError:  # deleted
        return ""
    return f"too large: a file of {size / 2**20:.0f} MiB" if size > LARGE_BYTES else ""


def _by_path(diff: bytes) -> dict[bytes, bytes]:
    """The parts of a difference; a path may have two, as when a file became a link."""
    pieces: dict[bytes, bytes] = {}
    for piece in re.split(rb"^(?=diff --git )", diff, flags=re.MULTILINE)[1:]:
        path = _path_of(piece.partition(b"\n")[0].removeprefix(b"diff --git "))
        pieces[path] = pieces.get(path, b"") + piece
    return pieces


def _path_of(names: bytes) -> bytes:
    """Of ``a/PATH b/PATH``, or the same in quotes with escapes as C has them: without renames both are the same path."""
    one = names[: len(names) // 2]
    return bytes(ast.literal_eval("b" + one.decode()))[2:] if one.startswith(b'"') else one[2:]


def _shown(path: bytes) -> str:
    text = path.decode(errors="replace")[:NAME_LENGTH]
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
