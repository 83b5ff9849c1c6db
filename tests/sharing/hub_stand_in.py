"""A stand-in for the Hub on loopback: as much of its HTTP interface as uploading and downloading a model takes.

It keeps files in memory, wants a token for what writes, and notes each request.
"""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

TOKEN = "hf_stand_in"
LARGE = (".safetensors", ".bin", ".pt", ".pkl")
"""Ends of names that are uploaded as large files."""


class Hub:
    """What the stand-in holds.

    Attributes:
        files: repository -> name of a file -> its bytes.
        private: repository -> whether it was made a private one.
        requests: method and path of each request.
        large: SHA-256 -> bytes of uploaded large files.
    """

    def __init__(self):
        self.files, self.private, self.requests, self.large = {}, {}, [], {}
        self.endpoint = ""

    def revision(self, repo):
        return hashlib.sha1(repr(sorted(self.files[repo].items())).encode()).hexdigest()

    def described(self, repo):
        return {
            "id": repo,
            "modelId": repo,
            "sha": self.revision(repo),
            "private": self.private[repo],
            "tags": [],
            "siblings": [{"rfilename": name} for name in self.files[repo]],
        }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub = None

    def log_message(self, *_):
        """Nothing is printed."""

    def do_POST(self):
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.note()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}" and "validate-yaml" not in self.path:
            return self.answer({"error": "Invalid credentials"}, status=401)
        if self.path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if self.path == "/api/repos/create":
            return self.create(json.loads(content))
        if re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
            return self.preupload(json.loads(content))
        if re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", self.path):
            return self.batch(json.loads(content))
        if found := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            return self.commit(found[1], [json.loads(line) for line in content.splitlines()])
        return self.answer({"error": "not known here"}, status=404)

    def do_PUT(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.note()
        self.hub.large[self.path.rpartition("/")[2]] = content
        self.answer({})

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.note()
        path = unquote(self.path.partition("?")[0])
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/.+)?", path):
            return self.answer(self.hub.described(found[1])) if found[1] in self.hub.files else self.missing("Repo")
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+", path):
            return self.answer([self.entry(name, content) for name, content in self.hub.files[found[1]].items()])
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            return self.resolve(found[1], found[2])
        return self.missing("Entry")

    def create(self, asked):
        repo = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else f"me/{asked['name']}"
        url = f"{self.hub.endpoint}/{repo}"
        if repo in self.hub.files:
            return self.answer({"error": "You already created this model repo", "url": url}, status=409)
        self.hub.files[repo], self.hub.private[repo] = {}, asked.get("private") or asked.get("visibility") == "private"
        return self.answer({"url": url, "name": repo, "id": repo})

    def preupload(self, asked):
        modes = {True: "lfs", False: "regular"}
        files = [
            {"path": each["path"], "uploadMode": modes[each["path"].endswith(LARGE)], "shouldIgnore": False}
            for each in asked["files"]
        ]
        return self.answer({"files": files})

    def batch(self, asked):
        objects = [
            {**each, "actions": {"upload": {"href": f"{self.hub.endpoint}/upload/{each['oid']}", "header": {}}}}
            for each in asked["objects"]
        ]
        return self.answer({"transfer": "basic", "objects": objects})

    def commit(self, repo, lines):
        files = self.hub.files[repo]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif line["key"] == "deletedFile":
                files.pop(value["path"], None)
        oid = self.hub.revision(repo)
        return self.answer(
            {
                "success": True,
                "commitOid": oid,
                "commitUrl": f"{self.hub.endpoint}/{repo}/commit/{oid}",
                "hookOutput": "",
            }
        )

    def entry(self, name, content):
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        found = {"type": "file", "path": name, "size": len(content), "oid": blob}
        if name.endswith(LARGE):
            found["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return found

    def resolve(self, repo, name):
        if repo not in self.hub.files:
            return self.missing("Repo")
        if name not in self.hub.files[repo]:
            return self.missing("Entry")
        content = self.hub.files[repo][name]
        known = self.entry(name, content)
        etag = known.get("lfs", known)["oid"]
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": self.hub.revision(repo), "Accept-Ranges": "bytes"}
        return self.answer(content, headers=headers, kind="application/octet-stream")

    def missing(self, what):
        return self.answer({"error": f"{what} not found"}, status=404, headers={"X-Error-Code": f"{what}NotFound"})

    def note(self):
        self.hub.requests.append(f"{self.command} {self.path}")

    def answer(self, value, *, status=200, headers=None, kind="application/json"):
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, each in (headers or {}).items():
            self.send_header(name, each)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def running():
    """A stand-in on a free port of loopback."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
