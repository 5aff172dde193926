"""What goes with a run from a real git checkout, and comes back."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from client import checkout
from client.checkout import DIFF_BYTES, gather, looks_secret, without_credentials
from client.reproduce import compare
from tests.client.conftest import LASER, Server

KEY = "-----BEGIN OPENSSH " + "PRIVATE KEY-----\nabc\n"


def git(folder: Path, *words: str, **options: Any) -> str:
    who = {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *words], cwd=folder, env=environment, check=True, capture_output=True, **options)
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one commit, in which the test's process is."""
    for name in ("LASER_NO_CHECKOUT", *(name for name in os.environ if name.startswith("GIT_"))):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch", "main")
    (folder / "data").mkdir()
    for name, content in {
        "train.py": "".join(f"line {number}\n" for number in range(40)),
        "gone.py": "old\n",
        "tab\there 'é\".txt": "odd name\n",
        "data/a b.bin": "\0\1\2" * 50,
        "run.sh": "echo\n",
        "latin.txt": "x\n",
        ".env": "TOKEN=first\n",
        "link": "file\n",
        ".gitignore": "ignored\n",
    }.items():
        (folder / name).write_text(content)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "first")
    monkeypatch.chdir(folder)
    return folder


def dirty(folder: Path) -> None:
    """Every kind of change that git knows."""
    (folder / "train.py").write_text((folder / "train.py").read_text().replace("line 7\n", "line seven\x1b[31m\n"))
    (folder / "gone.py").unlink()
    (folder / "tab\there 'é\".txt").write_text("another\r\n")
    (folder / "data" / "a b.bin").write_bytes(bytes(range(256)))
    (folder / "run.sh").chmod(0o755)
    (folder / "latin.txt").write_bytes(b"caf\xe9, without a last newline")
    (folder / "link").unlink()
    (folder / "link").symlink_to("train.py")
    (folder / "new").mkdir()
    (folder / "new" / "model.py").write_text("added\n")
    (folder / "empty.py").touch()
    git(folder, "add", "new", "empty.py")


def tree(folder: Path) -> dict[str, tuple[int, object]]:
    """Of each file of the work tree: mode and content."""
    names = git(folder, "ls-files", "-z", "--cached", "--others").split("\0")
    paths = {name: folder / name for name in names if name and (folder / name).exists()}
    return {
        name: (path.lstat().st_mode, os.readlink(path) if path.is_symlink() else path.read_bytes())
        for name, path in paths.items()
    }


def gathered(folder: Path) -> tuple[dict[str, Any], str]:
    found = gather(folder)
    assert found is not None
    return found, base64.b64decode(found["diff"]).decode(errors="replace")


# --- to the platform and back ------------------------------------------------------------------------------------------


def test_a_fresh_clone_becomes_the_checkout_again(server: Server, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("kind: train")
    dirty(repository)
    for name, value in {
        "color.diff": "always",
        "diff.noprefix": "true",
        "diff.context": "0",
        "diff.renames": "copies",
    }.items():
        git(repository, "config", name, value)
    (repository / "data" / "notes").write_text("nobody follows this")
    run = server.json("submit", str(tmp_path / "run.yaml"))
    kept = run["checkout"]
    assert (kept["commit"], kept["branch"]) == (git(repository, "rev-parse", "HEAD"), "main")
    assert (kept["changed"], kept["untracked"], kept["left_out"]) == (9, 1, 0)

    (repository / "data" / "notes").unlink()
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--no-checkout", str(repository), str(clone))
    git(clone, "checkout", "--quiet", kept["commit"])
    environment = {**os.environ, "LASER_HOME": str(server.home)}
    printed = subprocess.run([LASER, "checkout", run["id"]], env=environment, check=True, capture_output=True)
    git(clone, "apply", "--whitespace=nowarn", input=printed.stdout)
    assert tree(clone) == tree(repository)
    said = printed.stderr.decode()
    assert "(main) with 9 changed and 1 untracked files" in said
    assert "untracked: data/notes" in said
    assert f"git checkout {kept['commit']} && laser checkout {run['id']} | git apply" in said

    shown = server.json("checkout", run["id"])
    assert "+line seven\x1b[31m\n" in shown["diff"]
    assert shown["details"]["untracked_names"] == ["data/notes"]
    assert f"{kept['commit'][:10]} (main)" in server.laser("show", run["id"]).stdout
    assert f"from {kept['commit'][:10]} (main) with" in server.laser("submit", str(tmp_path / "run.yaml")).stderr


def test_experiments_and_clones_have_it_too(server: Server, repository: Path) -> None:
    with server.client() as client:
        config = {"name": "e", "margin": 2, "seeds": 1, "variants": {"a": {}, "b": {}}}
        made = client.experiments.submit(config)
        runs = client.runs(tag=[made["id"]])["items"]
        commit = git(repository, "rev-parse", "HEAD")
        assert [client.run(run["id"])["checkout"]["commit"] for run in runs] == [commit] * 2
        (repository / "train.py").write_text("later\n")
        later = client.clone(runs[0]["id"], {"seed": 9})
        assert (later["seed"], later["checkout"]["changed"]) == (9, 1)


def test_it_can_be_left_out(server: Server, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("kind: train")
    assert server.json("submit", str(tmp_path / "run.yaml"), "--no-checkout")["checkout"] is None
    refused = server.laser("checkout", server.json("submit", str(tmp_path / "run.yaml"), "--no-checkout")["id"])
    assert "has no checkout" in refused.stderr
    done = server.laser("submit", str(tmp_path / "run.yaml"), "--json", LASER_NO_CHECKOUT="1")
    assert json.loads(done.stdout)["checkout"] is None
    with server.client() as client:
        assert client.submit({"kind": "train"}, checkout=False)["checkout"] is None


# --- what is gathered --------------------------------------------------------------------------------------------------


def test_secrets_are_named_and_stay_here(repository: Path) -> None:
    (repository / ".env").write_text("TOKEN=second\n")
    (repository / "train.py").write_text(f"key = '''{KEY}'''\n")
    (repository / "run.sh").write_text("export HF_TOKEN=hf_" + "a" * 34 + "\n")
    (repository / "gone.py").write_text("harmless\n")
    found, diff = gathered(repository)
    assert [file["path"] for file in found["left_out_files"]] == [".env", "run.sh", "train.py"]
    assert (found["changed"], found["left_out"]) == (4, 3)
    assert "+harmless" in diff
    assert not any(word in diff for word in ("TOKEN", "PRIVATE", "first"))


def test_what_does_not_fit_is_named_and_the_rest_applies(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "train.py").write_text("a long line of text\n" * 20_000)
    (repository / "gone.py").write_text("small\n")
    (repository / "data" / "a b.bin").write_bytes(bytes(8 * 2**20 + 1))
    found, diff = gathered(repository)
    assert {file["path"]: file["why"] for file in found["left_out_files"]} == {
        "data/a b.bin": "too large: a file of 8 MiB",
        "train.py": "too large: 411 KiB of at most 256 together",
    }
    git(repository, "stash", "--quiet")
    git(repository, "apply", input=diff.encode())
    assert (repository / "gone.py").read_text() == "small\n"

    git(repository, "checkout", ".")
    for number in range(40):
        (repository / f"{number}.txt").write_text(f"{number} of a line\n" * 1000)
    git(repository, "add", ".")
    found, diff = gathered(repository)
    assert 200 * 1024 < len(diff) <= DIFF_BYTES
    assert found["left_out"] > 10
    monkeypatch.setattr(checkout, "READ_BYTES", 30_000)
    found, diff = gathered(repository)
    assert 0 < diff.count("diff --git") == found["changed"] - found["left_out"] < 5
    assert found["left_out_files"][0]["why"] == "there are too many changes"


def test_where_there_is_nothing_to_tell(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gather(tmp_path) is None
    unborn = tmp_path / "unborn"
    unborn.mkdir()
    git(unborn, "init", "--quiet")
    assert gather(unborn) is None
    assert gather(repository / ".git") is None
    found, diff = gathered(repository / "data")  # any folder within
    assert (found["changed"], found["untracked"], diff) == (0, 0, "")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gather(repository) is None


def test_git_that_takes_too_long_is_said(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "train.py").write_text("changed\n")
    ask = checkout._git

    def slow(folder: Path, *words: str) -> bytes:
        if words[0] == "diff":
            raise subprocess.TimeoutExpired("git", checkout.PATIENCE_S)
        return ask(folder, *words)

    monkeypatch.setattr(checkout, "_git", slow)
    found, diff = gathered(repository)
    assert (diff, found["left_out_files"]) == ("", [{"path": "train.py", "why": "git had no answer within 10 s"}])


def test_branch_and_remote(repository: Path) -> None:
    git(repository, "remote", "add", "other", "ssh://git@host/other")
    git(repository, "remote", "add", "origin", "https://ann:ghp_secret@host:8443/lab.git?private_token=x")
    found, _ = gathered(repository)
    assert (found["branch"], found["remote"]) == ("main", "https://host:8443/lab.git")
    git(repository, "config", "branch.main.remote", "other")
    git(repository, "config", "branch.main.merge", "refs/heads/main")
    assert gathered(repository)[0]["remote"] == "ssh://git@host/other"
    git(repository, "checkout", "--quiet", "--detach")
    assert gathered(repository)[0]["branch"] == ""


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://token@host/x.git", "https://host/x.git"),
        ("https://a:b@[::1]:80/x", "https://[::1]:80/x"),
        ("git@host:ann/x.git", "git@host:ann/x.git"),
        ("ssh://git:word@host/x", "ssh://git@host/x"),
        ("user:word@host:x", ""),
        ("/home/ann/x", ""),
        ("file:///home/ann/x", ""),
        ("https://[broken", ""),
        ("", ""),
    ],
)
def test_addresses_lose_their_credentials(url: str, safe: str) -> None:
    assert without_credentials(url) == safe


def test_names_of_secrets() -> None:
    for path in (
        "a/.env",
        ".env.local",
        "prod.env",
        "x.PEM",
        "id_rsa",
        ".ssh/config",
        "my-secrets.yaml",
        "aws_credentials.json",
    ):
        assert looks_secret(path), path
    for path in ("train.py", "store/secrets.py", "environment.yml", "tokenizer.json", "keys.py", "docs/passwords.md"):
        assert not looks_secret(path), path


# --- two runs ----------------------------------------------------------------------------------------------------------


def test_reproducing_says_where_both_come_from() -> None:
    def words(*checkouts: Any) -> str:
        runs = [{"id": "r", "result": {"values": {}, "weights_sha256": ""}, "checkout": each} for each in checkouts]
        return str(compare(runs[0], runs[1], ({}, {}), ({}, {}))["words"])  # type: ignore[arg-type]

    first = {"commit": "a" * 40, "sha256": "0" * 64, "branch": "main", "changed": 0, "untracked": 0, "left_out": 0}
    assert words(first, first | {"branch": "other"}).endswith("are equal bit for bit.")
    assert words(None, first).endswith("are equal bit for bit.")
    assert words(first, None).endswith("from aaaaaaaaaa (main), the second from no checkout.")
    second = first | {"sha256": "1" * 64, "changed": 1, "branch": "", "left_out": 1}
    assert words(first, second).endswith(
        "The first was submitted from aaaaaaaaaa (main), the second from aaaaaaaaaa with 1 changed file, 1 not kept."
    )
