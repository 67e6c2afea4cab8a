"""A folder is sent to a hub by the real huggingface-hub, to a small server that answers as one."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.outside import Folder

pytestmark = [pytest.mark.consumers, pytest.mark.filterwarnings("default")]

BIN = Path(sys.executable).parent
TOKEN = "hf_right"


class Hub(ThreadingHTTPServer):
    """Data sets by name, each with its files; says what huggingface-hub asks for an upload."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.private: dict[str, bool] = {}
        self.files: dict[str, dict[str, bytes]] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    """One request to it."""

    server: Hub

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""

    def do_GET(self) -> None:
        name = "/".join(self.path.split("?")[0].split("/")[3:5])
        if name not in self.server.files:
            self.say(404, {"error": "not found"}, code="RepoNotFound")
            return
        files = [{"rfilename": file} for file in self.server.files[name]]
        if "/tree/" in self.path:
            tree = [
                {"type": "file", "path": file, "size": len(data), "oid": "0" * 40}
                for file, data in self.server.files[name].items()
            ]
            self.say(200, tree)
            return
        about = {"id": name, "private": self.server.private[name], "siblings": files}
        self.say(200, {**about, "sha": "0" * 40})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.say(401, {"error": "Invalid user token."})
            return
        path = self.path.split("?")[0].split("/")
        if path[2:] == ["repos", "create"]:
            given = json.loads(body)
            name = f"{given['organization']}/{given['name']}"
            there = name in self.server.files
            if not there:
                self.server.private[name] = given["visibility"] == "private"
                self.server.files[name] = {}
            self.say(409 if there else 200, {"url": f"{self.server.address}/datasets/{name}"})
        elif path[2] == "validate-yaml":
            self.say(200, {"errors": [], "warnings": []})
        elif path[5] == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self.say(200, {"files": files})
        elif path[5] == "commit":
            name = "/".join(path[3:5])
            for line in body.splitlines():
                self.commit(name, json.loads(line))
            self.say(200, {"commitUrl": f"{self.server.address}/{name}/commit/1", "commitOid": "1"})

    def commit(self, name: str, line: dict[str, Any]) -> None:
        value = line["value"]
        if line["key"] == "file":
            self.server.files[name][value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "deletedFile":
            del self.server.files[name][value["path"]]

    def say(self, status: int, what: object, code: str = "") -> None:
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def sent(made: Folder, hub: str, place: Path, *words: str, token: str = TOKEN) -> tuple[int, str]:
    """How `autodata export … --push` ends in a process of its own, and what it prints."""
    command = [BIN / "autodata", "export", "cs", "-o", place, "--push-simulated", *words]
    settings = {"HF_ENDPOINT": hub, "HF_TOKEN": token, "HF_HUB_OFFLINE": "0", "COLUMNS": "200"}
    done = subprocess.run(
        command, cwd=made.path, env={**os.environ, **settings}, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


def test_a_data_set_is_sent_as_private_and_sent_again_without_rows_of_before(
    made: Folder, hub: Hub, tmp_path: Path
) -> None:
    place, name = tmp_path / "questions", "ann/questions"
    code, said = sent(made, hub.address, place, "--format", "hf", "--push", name,
                      "--test-share", "0.4")  # fmt: skip
    assert code == 0, said
    assert f"sent to {hub.address}/datasets/ann/questions" in said
    assert hub.private == {name: True}
    assert set(hub.files[name]) == {"README.md", "data/train.parquet", "data/test.parquet"}
    for file, data in hub.files[name].items():
        assert data == (place / file).read_bytes()
    (place / "notes.txt").write_text("mine")
    code, said = sent(made, hub.address, place, "--format", "hf", "--push", name)
    assert code == 0, said
    assert set(hub.files[name]) == {"README.md", "data/train.parquet"}
    code, said = sent(made, hub.address, tmp_path / "sessions", "--format", "traces", "--public",
                      "--push", "ann/sessions")  # fmt: skip
    assert code == 0, said
    assert hub.private["ann/sessions"] is False
    assert {file.split("/")[0] for file in hub.files["ann/sessions"]} == {"README.md", "sessions"}


def test_what_the_hub_refuses_is_told_in_words(made: Folder, hub: Hub, tmp_path: Path) -> None:
    hub.private["ann/open"], hub.files["ann/open"] = False, {}
    words = ("--format", "hf", "--push")
    for more, token, told in (
        (("ann/open",), TOKEN, "the data set ann/open is public; --public says that this is meant"),
        (("ann/questions",), "hf_wrong", "`hf auth login`, or HF_TOKEN"),
        (("ann/no such/name",), TOKEN, "the hub did not take ann/no such/name"),
    ):
        code, said = sent(made, hub.address, tmp_path / "q", *words, *more, token=token)
        assert (code, "Traceback" in said) == (2, False), said
        assert told in said
    assert not hub.files["ann/open"]
    code, said = sent(made, "http://127.0.0.1:9", tmp_path / "q", *words, "ann/questions")
    assert (code, "the hub cannot be reached" in said) == (2, True), said
