"""kadr pull against a hub on this machine that breaks in every way, and beside huggingface_hub.

Needs only Python's standard library; huggingface_hub comes with tools/test-python, and the tests with it are skipped by
name where it is not installed. The hub is two servers, as the real one: the second has the large contents, lets nobody
in who brings a token, and is where the first one redirects.
"""

import concurrent.futures
import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

try:
    import huggingface_hub
except ImportError:
    huggingface_hub = None

KADR = os.environ["KADR"]
MINI = pathlib.Path(os.environ["KADR_MODELS"]) / "mini"
COMMIT, OLDER = "5" * 40, "4" * 40
TOKEN = "hf_secret"


def noise(size, seed):
    return random.Random(seed).randbytes(size)


def pipeline(*components, kind="StableDiffusionXLPipeline"):
    return json.dumps({"_class_name": kind, "vae": ["diffusers", "AutoencoderKL"], "tokenizer": ["transformers", "CLIPTokenizer"]}
                      | {c: ["library", "Class"] for c in components}).encode()


MINI_FILES = {str(p.relative_to(MINI)): p.read_bytes() for p in MINI.rglob("*") if p.is_file()}
SDXL = pipeline("unet", "text_encoder", "text_encoder_2")


def folder(weights="model.fp16.safetensors", unet=400_000):
    """A diffusers folder as a hub has them: with much in it that kadr does not need."""
    files = {"README.md": b"#", ".gitattributes": b"x", "model_index.json": SDXL, "scheduler/scheduler_config.json": b"{}",
             "unet/diffusion_pytorch_model.fp16.safetensors": noise(unet, 1), "unet/diffusion_pytorch_model.safetensors": noise(70_000, 2),
             "unet/diffusion_pytorch_model.bin": b"pickle", "sd_xl_base.safetensors": noise(50_000, 9), "unet/model.onnx": b"onnx"}
    for c in ("text_encoder", "text_encoder_2"):
        files[f"{c}/{weights}"] = noise(60_000, c)
    files["vae/diffusion_pytorch_model.safetensors"] = noise(30_000, 3)
    for c in ("unet", "vae", "text_encoder", "text_encoder_2"):
        files[f"{c}/config.json"] = b'{"in": "%s"}' % c.encode()
    for t in ("tokenizer", "tokenizer_2"):
        files[f"{t}/vocab.json"] = files[f"{t}/merges.txt"] = b"the same"
    return files


def git_sum(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub:
    """`files` of a model `owner/name` at COMMIT. `faults`: name -> things that happen to the next downloads of it, each a
    name below or a function of the request's handler that answers itself. `heads` are headers instead of the right ones."""

    def __init__(self, files, commit=COMMIT, listing=None, token=None):
        self.files, self.commit, self.listing, self.token = files, commit, listing, token
        self.faults, self.heads, self.asked, self.leaked, self.redirects = {}, {}, [], [], {}
        self.api, self.names = [], {"owner/name"}
        hub = self

        class Front(Handler):
            def handle_any(self):
                hub.front(self)

        class Storage(Handler):
            def handle_any(self):
                hub.storage(self)

        self.servers = [Server(("127.0.0.1", 0), kind) for kind in (Front, Storage)]
        self.ports = [s.server_address[1] for s in self.servers]
        self.url = f"http://127.0.0.1:{self.ports[0]}"
        for s in self.servers:
            threading.Thread(target=s.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        for s in self.servers:
            s.shutdown()
            s.server_close()

    def is_large(self, name):
        return name.endswith(".safetensors")

    def sum_of(self, name):
        return (hashlib.sha256(self.files[name]).hexdigest() if self.is_large(name) else git_sum(self.files[name]))

    def front(self, request):
        path = urllib.parse.unquote(urllib.parse.urlsplit(request.path).path)
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return request.answer(401, headers={"X-Error-Code": "GatedRepo"})
        if path.startswith("/api/models/"):
            fault = self.api.pop(0) if self.api else None
            if fault:
                return fault(request)
            name, _, rest = path[len("/api/models/"):].partition("/revision/")
            if name.endswith(f"/tree/{self.commit}"):
                return request.answer(200, json.dumps([
                    {"type": "file", "path": n, "size": len(d), "oid": git_sum(d)}
                    | ({"lfs": {"oid": self.sum_of(n), "size": len(d), "pointerSize": 100}} if self.is_large(n) else {})
                    for n, d in self.files.items()]).encode())
            if name not in self.names:
                return request.answer(401, headers={"X-Error-Code": "RepoNotFound"})
            if rest not in ("", "main", "v1", "refs/pr/1", self.commit):
                return request.answer(404, headers={"X-Error-Code": "RevisionNotFound"})
            listing = self.listing if self.listing is not None else {
                "id": name, "sha": self.commit, "siblings": [{"rfilename": f} for f in self.files]}
            return request.answer(200, listing if isinstance(listing, bytes) else json.dumps(listing).encode())
        found = re.fullmatch(r"/(owner/\w+)/resolve/(\w+)/(.*)", path)
        if not found or found[3] not in self.files:
            return request.answer(404, headers={"X-Error-Code": "EntryNotFound"})
        name = found[3]
        headers = {"X-Repo-Commit": self.commit, "ETag": f'"{self.sum_of(name)}"'}
        if not self.is_large(name):
            return self.content(request, name, headers | self.heads.get(name, {}))
        headers |= {"X-Linked-Etag": f'"{self.sum_of(name)}"', "X-Linked-Size": str(len(self.files[name])),
                    "Location": self.redirects.get(name, f"http://localhost:{self.ports[1]}/{urllib.parse.quote(name)}?signed")}
        request.answer(302, b"elsewhere", headers | self.heads.get(name, {}))

    def storage(self, request):
        if "Authorization" in request.headers or "Cookie" in request.headers:
            self.leaked.append(request.path)
        self.content(request, urllib.parse.unquote(urllib.parse.urlsplit(request.path).path[1:]), {"ETag": '"storage-1"'})

    def content(self, request, name, headers):
        if request.command == "GET":
            self.asked.append((name, request.headers.get("Range"), request.headers.get("If-Range")))
            faults = self.faults.get(name)
            if faults:
                fault = faults.pop(0)
                return getattr(self, fault)(request, name, headers) if isinstance(fault, str) else fault(request)
        self.send(request, self.files[name], headers)

    def send(self, request, data, headers, cut=None, pause=0):
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        begin, code = 0, 200
        if wanted and request.headers.get("If-Range", headers["ETag"]) == headers["ETag"]:
            begin, code = int(wanted[1]), 206
            headers = headers | {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"}
            if begin >= len(data):
                return request.answer(416)
        request.answer(code, data[begin:], headers, cut, pause)

    # What happens to a download.
    def cut(self, request, name, headers):
        self.send(request, self.files[name], headers, cut=0.4)

    def cut_at_once(self, request, name, headers):
        request.connection.shutdown(socket.SHUT_RDWR)
        request.close_connection = True

    def wrong(self, request, name, headers):
        self.send(request, bytes(len(self.files[name])), headers)

    def short(self, request, name, headers):
        request.answer(200, self.files[name][:-7], headers)

    def long(self, request, name, headers):
        request.answer(200, self.files[name] + b"more", headers)

    def endless(self, request, name, headers):
        request.send_response(200)
        request.end_headers()
        with contextlib.suppress(OSError):
            while True:
                request.wfile.write(bytes(65536))

    def changed(self, request, name, headers):
        self.send(request, self.files[name], headers | {"ETag": '"storage-2"'})

    def no_ranges(self, request, name, headers):
        request.answer(200, self.files[name], headers)

    def other_range(self, request, name, headers):
        request.answer(206, self.files[name], headers | {"Content-Range": f"bytes 0-{len(self.files[name]) - 1}/{len(self.files[name])}"})

    def unsatisfied(self, request, name, headers):
        request.answer(416)

    def busy(self, request, name, headers):
        request.answer(429, b"slowly", {"Retry-After": "1"})

    def much_too_busy(self, request, name, headers):
        request.answer(503, b"tomorrow", {"Retry-After": "86400"})

    def broken(self, request, name, headers):
        request.answer(500, b"oh", {"Retry-After": "0"})

    def drip(self, request, name, headers):
        self.send(request, self.files[name], headers, pause=0.05)

    def stall(self, request, name, headers):
        request.answer(200, self.files[name], headers, cut=0.3, hang=5)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):
        pass  # clients that go away


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        with contextlib.suppress(OSError):
            self.handle_any()

    do_HEAD = do_GET

    def answer(self, code, body=b"", headers=None, cut=None, pause=0, hang=0):
        """`cut`: the share of the body after which the connection ends; `pause`: seconds between pieces of it."""
        self.send_response(code)
        for key, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut is not None:
            body = body[:int(len(body) * cut)]
            self.close_connection = True
        step = max(1, len(body) // 20 if pause else len(body))
        for at in range(0, len(body), step):
            self.wfile.write(body[at:at + step])
            time.sleep(pause)
        if hang:
            self.wfile.flush()
            time.sleep(hang)

    def log_message(self, *arguments):
        pass


class Place:
    """A home of its own, with a hub."""

    def __init__(self, case, hub=None):
        self.case = case
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kadr-pull-"))
        case.addCleanup(shutil.rmtree, self.folder)
        self.cache = self.folder / "hub"
        self.model = self.cache / "models--owner--name"
        self.hub = hub or Hub(folder())
        case.addCleanup(self.hub.close)

    def environment(self, **more):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("KADR_", "HF_", "HUGGING"))}
        return kept | {"HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder / "data"), "XDG_CACHE_HOME": str(self.folder / "cache"),
                       "HF_HUB_CACHE": str(self.cache), "HF_ENDPOINT": self.hub.url} | more

    def start(self, *arguments, **environment):
        return subprocess.Popen([KADR, "pull", *(arguments or ("owner/name",))], cwd=self.folder, env=self.environment(**environment),
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def pull(self, *arguments, status=0, says="", **environment):
        """Standard output."""
        process = self.start(*arguments, **environment)
        out, told = process.communicate(timeout=60)
        self.case.assertEqual(process.returncode, status, (arguments, out, told))
        self.case.assertRegex(told, says or "\\A")
        self.case.assertNotIn(TOKEN, out + told)
        return out

    def kadr(self, *arguments):
        return subprocess.run([KADR, *arguments], cwd=self.folder, env=self.environment(), check=True, capture_output=True, text=True).stdout

    def clear(self):
        shutil.rmtree(self.cache, ignore_errors=True)
        self.hub.asked.clear()

    def asked(self, name):
        """The Range of each download of that file."""
        return [r for n, r, _ in self.hub.asked if n == name]

    def part(self, name):
        return self.model / "blobs" / f"{self.hub.sum_of(name)}.incomplete"

    def assert_nothing_half(self):
        """Whatever happened: what has its name is right, and what is linked is there."""
        for blob in self.model.glob("blobs/*"):
            if blob.suffix != ".incomplete":
                data = blob.read_bytes()
                self.case.assertIn(blob.name, (hashlib.sha256(data).hexdigest(), git_sum(data)))
        for link in self.model.glob("snapshots/*/**/*"):
            self.case.assertTrue(link.exists(), link)
            self.case.assertFalse(link.name.endswith(".link"))
        self.case.assertLessEqual({p.name for p in self.folder.iterdir()}, {"hub", "data", "cache", "tokens"})
        self.case.assertEqual(self.hub.leaked, [])

    def assert_is_here(self, names):
        snapshot = self.model / "snapshots" / self.hub.commit
        found = {str(p.relative_to(snapshot)): p for p in snapshot.rglob("*") if not p.is_dir()}
        self.case.assertEqual(set(found), set(names))
        for name, path in found.items():
            self.case.assertTrue(path.read_bytes() == self.hub.files[name], name)
            self.case.assertEqual(os.readlink(path), os.path.relpath(self.model / "blobs" / self.hub.sum_of(name), path.parent))
        self.case.assertEqual(list(self.model.rglob("*.incomplete")), [])
        self.assert_nothing_half()


class Case(unittest.TestCase):
    def each(self, things, check):
        """check(place, thing) for each, each in a place of its own, many at once: most of it is waiting."""
        things = [(Place(self), t) for t in things]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for (_, thing), done in zip(things, [pool.submit(check, p, t) for p, t in things]):
                with self.subTest(repr(thing)[:60]):
                    done.result()


NEEDED = {"model_index.json", "scheduler/scheduler_config.json", "unet/config.json", "unet/diffusion_pytorch_model.fp16.safetensors",
          "vae/config.json", "vae/diffusion_pytorch_model.safetensors", "text_encoder/config.json", "text_encoder/model.fp16.safetensors",
          "text_encoder_2/config.json", "text_encoder_2/model.fp16.safetensors", "tokenizer/vocab.json", "tokenizer/merges.txt",
          "tokenizer_2/vocab.json", "tokenizer_2/merges.txt"}
UNET = "unet/diffusion_pytorch_model.fp16.safetensors"


class Whole(Case):
    def test_a_model_arrives(self):
        p = Place(self)
        out = p.pull(says="downloaded .*draw with it: -m owner/name")
        self.assertEqual(out, f"{p.model}/snapshots/{COMMIT}\n")
        p.assert_is_here(NEEDED)
        self.assertEqual((p.model / "refs/main").read_text(), COMMIT)
        asked = [name for name, _, _ in p.hub.asked]
        self.assertEqual(len(asked), len(set(asked)))  # each content once
        self.assertEqual(len({p.hub.sum_of(n) for n in NEEDED}), len(asked))
        p.hub.asked.clear()
        told = json.loads(p.pull("owner/name", "--json"))
        self.assertEqual((told["commit"], told["fetched_bytes"], p.hub.asked), (COMMIT, 0, []))
        self.assertEqual({f["name"]: f.get("sha256") or f["git_sha1"] for f in told["files"]}, {n: p.hub.sum_of(n) for n in NEEDED})

    def test_the_model_that_comes_with_kadr_arrives_and_draws(self):
        p = Place(self, Hub(MINI_FILES))
        p.pull()
        p.assert_is_here(set(MINI_FILES) - {"README.md", "LICENSE", "lora/lcm.safetensors"})

        def draw(model):
            picture = p.cache / "x.png"
            p.kadr("generate", "-q", "-W", "64", "-H", "64", "--steps", "1", "-s", "5", "-m", model, "-o", str(picture), "a fox")
            data = picture.read_bytes()
            picture.unlink()
            return data[data.index(b"IDAT"):]

        self.assertEqual(draw("owner/name"), draw("mini"))
        listed = json.loads(p.kadr("models", "--json"))["models"]
        self.assertEqual([m["name"] for m in listed if m["usable"]], ["mini", "owner/name"])

    def test_revisions_and_files(self):
        p = Place(self)
        p.pull("owner/name@refs/pr/1", says="-m owner/name@refs/pr/1")
        self.assertEqual((p.model / "refs/refs/pr/1").read_text(), COMMIT)
        p.pull(f"owner/name@{COMMIT}")
        self.assertEqual([str(f.relative_to(p.model / "refs")) for f in (p.model / "refs").rglob("*") if f.is_file()], ["refs/pr/1"])
        p = Place(self, Hub({"a.safetensors": b"aa", "loras/ink one.safetensors": b"ink", "x.ckpt": b"p", "é.txt": b"e"}))
        p.pull(status=2, says="has 2 checkpoints; say which with --file: a.safetensors, loras/ink one.safetensors")
        out = p.pull("owner/name", "--file", "loras/ink one.safetensors")
        self.assertEqual(pathlib.Path(out.strip()).read_bytes(), b"ink")
        p.pull("owner/name@v1", "--file", "a.safetensors", "--file", "é.txt")
        p.assert_is_here({"a.safetensors", "loras/ink one.safetensors", "é.txt"})
        p.pull("owner/name", "--file", "x.ckpt", status=3, says="is a pickle")
        p.pull("owner/name", "--file", "ink one.safetensors", status=3, says="no file .*; is it loras/ink one.safetensors")
        p.pull("owner/name", "--file", "../a.safetensors", status=3, says="no file")
        p = Place(self, Hub({"README.md": b"x", "model.safetensors": noise(1000, 1)}))
        self.assertEqual(p.pull(), f"{p.model}/snapshots/{COMMIT}/model.safetensors\n")

    def test_what_is_chosen(self):
        def left(files, *less):
            return {n: d for n, d in files.items() if n not in less}

        def arrives(p, thing):
            p.hub.files, more = thing
            p.pull()
            p.assert_is_here({n for n in NEEDED if "fp16" not in n} | more | {UNET})

        def is_refused(p, thing):
            p.hub.files, says = thing
            p.pull(status=3, says=says)
            self.assertLessEqual({n for n, _, _ in p.hub.asked}, {"model_index.json"})
            self.assertFalse((p.model / "snapshots").exists())

        plain = folder("model.safetensors")
        sharded = left(plain, "text_encoder/model.safetensors") | {
            "text_encoder/model.safetensors.index.fp16.json": b"{}", "text_encoder/model.fp16-00001-of-00002.safetensors": b"1",
            "text_encoder/model-00002-of-00002.fp16.safetensors": b"2", "text_encoder/model-00001-of-00009.safetensors": b"3",
            "text_encoder/model.safetensors.index.json": b"{}"}
        self.each([(plain, {"text_encoder/model.safetensors", "text_encoder_2/model.safetensors"}),
                   (sharded, {n for n in sharded if "fp16" in n and n.startswith("text")} | {"text_encoder_2/model.safetensors"})], arrives)
        self.each([({"x.safetensors.bin": b""}, "is a pickle"), ({"README.md": b""}, "nothing in it"),
                   (left(folder(), UNET, "unet/diffusion_pytorch_model.safetensors"), "unet/diffusion_pytorch_model.bin is a pickle"),
                   (left(folder(), "text_encoder/model.fp16.safetensors"), "no weights in text_encoder"),
                   (left(folder(), "vae/config.json"), "no vae/config.json"),
                   (folder() | {"model_index.json": pipeline("transformer", kind="FluxPipeline")}, "is a FluxPipeline without unet"),
                   (folder() | {"model_index.json": b"[" * 1000}, "nested deeper")], is_refused)


class Faults(Case):
    def test_it_goes_on_after_every_break(self):
        def goes_on(p, faults):
            p.hub.faults = {UNET: list(faults), "unet/config.json": list(faults[:1])}
            p.pull()
            p.assert_is_here(NEEDED)
            if faults[0] == "cut":  # from where it ended, if it still is the same
                self.assertEqual([(r, i) for n, r, i in p.hub.asked if n == UNET][1], ("bytes=160000-", '"storage-1"'))

        self.each([["cut"], ["cut_at_once"], ["cut", "cut", "cut_at_once", "cut"], ["busy"], ["broken"] * 4, ["wrong"], ["cut", "changed"],
                   ["cut", "no_ranges"], ["cut", "unsatisfied"], ["cut", "wrong"], ["drip"]], goes_on)

    def test_it_gives_up_and_keeps_what_it_has(self):
        def gives_up(p, thing):
            faults, says = thing
            p.hub.faults = {UNET: list(faults)}
            p.pull(status=5, says=says)
            self.assertFalse((p.model / "snapshots").exists())
            p.assert_nothing_half()
            # Nothing of that is in the way of a second try.
            p.hub.faults = {}
            p.pull()
            p.assert_is_here(NEEDED)

        def answer(*arguments, **more):
            return lambda request: request.answer(*arguments, **more)

        def to(place):
            return answer(302, headers={"Location": place})

        self.each([(["broken"] * 9, "status 500.*what has come is kept"), (["much_too_busy"], "status 503"),
                   (["wrong"] * 2, "its sum is .*wrong bytes"), (["long"], "announces another length"), (["short"], "announces another length"),
                   (["endless"], "sends more than the hub announced"), (["cut", "other_range"], "another part"),
                   ([answer(403)], "status 403"), ([answer(302)], "redirects to nowhere"), ([to("/" + UNET)] * 20, "without end"),
                   ([to("file:///etc/passwd")], "leads to file:///etc/passwd"), ([to("http://192.0.2.1/x")], "leads to http://192.0.2.1/x"),
                   ([to("http://a:b@127.0.0.1/x")], "leads to"),
                   ([answer(200, headers={"X-A": "a" * 60000, "X-B": "b" * 60000})], "headers without end|[Hh]eader")], gives_up)

    def test_it_goes_on_with_what_is_left_over(self):
        right = folder()[UNET]

        def goes_on(p, left):
            p.part(UNET).parent.mkdir(parents=True)
            p.part(UNET).write_bytes(left)
            p.pull()
            p.assert_is_here(NEEDED)
            usable = right.startswith(left) and left
            self.assertEqual(p.asked(UNET), [] if left == right else [f"bytes={len(left)}-"] if usable else
                             [f"bytes={len(left)}-", None] if 0 < len(left) < len(right) else [None])

        self.each([right[:250_000], right[:-1], right, right + b"more", noise(100_000, 7), b"", noise(len(right), 8)], goes_on)

    def test_a_link_in_the_place_of_a_download_is_not_followed(self):
        p = Place(self)
        p.part(UNET).parent.mkdir(parents=True)
        (p.folder / "data").write_bytes(b"mine")
        p.part(UNET).symlink_to(p.folder / "data")
        p.pull(status=5)
        self.assertEqual((p.folder / "data").read_bytes(), b"mine")

    def test_stalls_end(self):
        p = Place(self)
        p.hub.faults = {UNET: ["stall"]}
        p.pull(HF_HUB_DOWNLOAD_TIMEOUT="1")
        p.assert_is_here(NEEDED)

    def test_it_ends_at_any_moment_and_goes_on(self):
        def ends(p, number):
            p.hub.faults = {UNET: ["drip"], "text_encoder/model.fp16.safetensors": ["drip"]}
            process, part = p.start(), p.part(UNET)
            end = time.time() + 60
            while (not part.exists() or not part.stat().st_size) and time.time() < end:
                time.sleep(0.01)
            process.send_signal(number)
            _, told = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 130 if number == signal.SIGINT else -signal.SIGKILL, told)
            self.assertGreater(part.stat().st_size, 0)
            self.assertFalse((p.model / "snapshots").exists())
            self.assertIn("kadr pull owner/name goes on with it", p.kadr("models"))
            p.hub.faults, size = {}, part.stat().st_size
            p.hub.asked.clear()
            p.pull()
            self.assertIn((UNET, f"bytes={size}-", None), p.hub.asked)
            p.assert_is_here(NEEDED)

        self.each([signal.SIGINT, signal.SIGKILL], ends)

    def test_it_is_killed_again_and_again(self):
        p = Place(self, Hub(folder(unet=4_000_000)))
        chance = random.Random(3)
        for _ in range(200 if "KADR_LONG" in os.environ else 12):
            process = p.start()
            time.sleep(chance.uniform(0.01, 0.15))
            process.kill()
            process.communicate()
            p.assert_nothing_half()
            if (p.model / "snapshots" / COMMIT / UNET).exists() and chance.random() < 0.5:
                p.clear()
        p.pull()
        p.assert_is_here(NEEDED)

    def test_two_at_once_take_turns(self):
        p = Place(self)
        p.hub.faults = {UNET: ["drip"]}
        for process in [p.start() for _ in range(2)]:
            _, told = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, told)
        self.assertEqual(p.asked(UNET), [None])
        p.assert_is_here(NEEDED)

    def test_a_full_disk(self):
        p = Place(self)
        process = subprocess.run(["sh", "-c", f"ulimit -f 200; trap '' XFSZ; exec {KADR} pull owner/name"], env=p.environment(),
                                 capture_output=True, text=True, cwd=p.folder, timeout=60)
        self.assertEqual(process.returncode, 5, process.stderr)
        self.assertIn("cannot write", process.stderr)
        p.assert_nothing_half()


class Refusals(Case):
    def test_hostile_lists(self):
        good = {"sha": COMMIT, "siblings": [{"rfilename": n} for n in folder()]}

        def is_refused(p, listing):
            p.hub.listing = listing
            told = "nothing was downloaded" if isinstance(listing, dict) and len(listing.get("siblings", [])) == len(good["siblings"]) + 1 else ""
            p.pull(status=5, says=told)
            self.assertFalse(p.cache.exists())

        names = ("../x.safetensors", "/etc/x.safetensors", "a/../../x.safetensors", "a//b", "a\\..\\b", "", ".", "..", "a/.", "a\nb", "a\x1b[2J",
                 "a" * 300, "a/" * 300 + "a")
        self.each([good | {"siblings": good["siblings"] + [{"rfilename": n}]} for n in names] +
                  [b"", b"[]", b"{", b"[" * 100_000, b'{"a":1,"a":2}', b"\xff", b" " * (17 << 20), {"sha": "../../x", "siblings": []},
                   {"sha": "5" * 39, "siblings": []}, {"sha": COMMIT}, {"sha": COMMIT, "siblings": {}}, {"sha": COMMIT, "siblings": [1]},
                   {"sha": COMMIT, "siblings": [{"rfilename": "a"}] * 100_001}], is_refused)

    def test_hostile_answers(self):
        def is_refused(p, thing):
            heads, says, asked = thing
            p.hub.heads = {UNET: heads}
            p.pull(status=5, says=says)
            self.assertEqual(bool(p.asked(UNET)), asked)
            p.assert_nothing_half()

        self.each([({"X-Linked-Etag": '"../../../x"'}, "names no sum", False), ({"X-Linked-Etag": '"abc"'}, "names no sum", False),
                   ({"X-Linked-Size": "99999999999999999"}, "more than 1 TiB", False), ({"X-Linked-Size": "-1"}, "no size", False),
                   ({"X-Repo-Commit": OLDER}, "answers for commit", False),
                   ({"X-Linked-Size": str(1 << 39)}, "make room, or set HF_HOME.*Nothing was downloaded", False),
                   ({"X-Linked-Size": "1000"}, "another length", True), ({"X-Linked-Etag": f'"{"0" * 64}"'}, "its sum is", True)], is_refused)

    def test_a_token_stays_with_the_hub(self):
        p = Place(self, Hub(folder(), token=TOKEN))
        p.pull(status=3, says=f"owner asks for consent: open {p.hub.url}/owner/name .*HF_TOKEN")
        p.pull(status=3, says="has no access", HF_TOKEN="hf_other")
        p.pull(HF_TOKEN=TOKEN)
        p.assert_is_here(NEEDED)
        (p.folder / "tokens").mkdir()
        for name in ("t", "token"):
            (p.folder / "tokens" / name).write_text(TOKEN + "\n")
        for place in ({"HF_TOKEN_PATH": str(p.folder / "tokens/t")}, {"HF_HOME": str(p.folder / "tokens"), "HF_HUB_CACHE": ""}):
            p.clear()
            p.pull(**place)
            p.pull(status=3, HF_HUB_DISABLE_IMPLICIT_TOKEN="1", **place)
        p.pull(status=2, says="expected a token", HF_TOKEN="a\x01b")
        # Another name of the same machine is another host: it gets nothing, however the redirect looks.
        p.hub.redirects = {UNET: f"http://localhost:{p.hub.ports[0]}/owner/name/resolve/{COMMIT}/{UNET}"}
        p.clear()
        p.pull(status=5, says="status 401", HF_TOKEN=TOKEN)
        p.assert_nothing_half()

    def test_what_is_not_there(self):
        p = Place(self)
        p.pull("owner/other", status=3, says="no such model, or it is private: then set HF_TOKEN")
        p.pull("owner/other", status=3, says="the token in HF_TOKEN may not see it", HF_TOKEN=TOKEN)
        p.pull("owner/name@v9", status=3, says="no revision v9")
        for name in ("owner/name/x", "../x", "owner/..", "a--b/c", "https://x/y", "owner/na me", "owner/name@", "owner/name@a..b", "owner/name@/x", ""):
            p.pull(name, status=2)
        p.pull(status=5, says="[Cc]onnect", HF_ENDPOINT="http://127.0.0.1:9")
        for endpoint in ("http://example.invalid", "ftp://127.0.0.1", "no address", "https://user:password@127.0.0.1"):
            p.pull(status=2, says="expected https://", HF_ENDPOINT=endpoint)
        p.hub.api = [lambda r: r.answer(500, headers={"Retry-After": "0"}), lambda r: r.answer(429, headers={"Retry-After": "0"})]
        p.pull()

    def test_offline(self):
        p = Place(self)
        p.pull(status=3, says="HF_HUB_OFFLINE", HF_HUB_OFFLINE="1")
        p.pull()
        p.hub.close()
        self.assertEqual(p.pull(HF_HUB_OFFLINE="1"), f"{p.model}/snapshots/{COMMIT}\n")
        p.pull("owner/name", "--file", UNET, HF_HUB_OFFLINE="yes")
        p.pull("owner/name", "--file", "sd_xl_base.safetensors", status=3, says="not all of it is here", HF_HUB_OFFLINE="TRUE")
        p.pull("owner/name@v1", status=3, TRANSFORMERS_OFFLINE="1")

    @unittest.skipUnless(shutil.which("openssl"), "openssl is not installed")
    def test_certificates_are_checked(self):
        p = Place(self, Hub({"model.safetensors": b"x"}))
        key, paper = p.folder / "data" / "key", p.folder / "data" / "paper"
        key.parent.mkdir()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", paper,
                        "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(paper, key)
        front = p.hub.servers[0]
        front.socket = context.wrap_socket(front.socket, server_side=True)
        p.hub.url = p.hub.url.replace("http:", "https:")
        p.pull(status=5, says="[Cc]ertificate|CA cert|SSL")
        p.pull(SSL_CERT_FILE=str(paper))
        p.assert_is_here({"model.safetensors"})


@unittest.skipUnless(huggingface_hub, "huggingface_hub is not installed (tools/test-python)")
class Beside(Case):
    """One cache for both programs."""

    def python(self, p, code, *arguments):
        environment = p.environment(HF_HUB_DISABLE_PROGRESS_BARS="1", HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_XET="1")
        done = subprocess.run([sys.executable, "-c", "import json, sys, huggingface_hub as h\n" + code, *arguments], env=environment,
                              capture_output=True, text=True, cwd=p.folder, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def test_theirs_is_ours(self):
        p = Place(self, Hub(MINI_FILES))
        path = self.python(p, "print(h.snapshot_download('owner/name'))")
        p.hub.asked.clear()
        self.assertEqual(p.pull().strip(), path)
        self.assertEqual(p.hub.asked, [])
        theirs = [m for m in json.loads(p.kadr("models", "--json"))["models"] if m["name"] == "owner/name"][0]
        self.assertEqual((theirs["path"], theirs["usable"]), (path, True))
        p.kadr("plan", "x", "-m", "owner/name")

    def test_ours_is_theirs(self):
        p = Place(self)
        path = p.pull().strip()
        p.pull("owner/name@refs/pr/1")
        p.hub.asked.clear()
        found = json.loads(self.python(p, """
of = {'repo_id': 'owner/name', 'local_files_only': True}
model, = h.scan_cache_dir().repos
print(json.dumps([h.snapshot_download(**of), h.snapshot_download(revision='refs/pr/1', **of), h.hf_hub_download(filename=sys.argv[1], **of),
                  model.repo_id, model.size_on_disk, model.nb_files, len(h.scan_cache_dir().warnings), sorted(model.refs)]))
h.snapshot_download('owner/name')
""", UNET))
        sizes = {p.hub.sum_of(n): len(p.hub.files[n]) for n in NEEDED}
        self.assertEqual(found, [path, path, f"{path}/{UNET}", "owner/name", sum(sizes.values()), len(sizes), 0, ["main", "refs/pr/1"]])
        # They took the rest beside it, and loaded nothing twice.
        self.assertEqual({n for n, _, _ in p.hub.asked} & NEEDED, set())
        p.pull()
        p.assert_is_here(p.hub.files)

    def test_their_lock_is_heeded(self):
        p = Place(self)
        lock = p.cache / ".locks/models--owner--name" / f"{p.hub.sum_of(UNET)}.lock"
        lock.parent.mkdir(parents=True)
        holder = subprocess.Popen([sys.executable, "-c", "import sys, filelock\nwith filelock.FileLock(sys.argv[1]): print(flush=True); sys.stdin.read()",
                                   str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        holder.stdout.readline()
        process = p.start()
        time.sleep(1)
        self.assertEqual((p.asked(UNET), process.poll()), ([], None))
        holder.communicate("")
        _, told = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, told)
        p.assert_is_here(NEEDED)


def tests_of(suite):
    for each in suite:
        yield from tests_of(each) if isinstance(each, unittest.TestSuite) else [each]


def main():
    """All at once: most of it is waiting for a clock. Names on the command line choose."""
    def run(test):
        result = unittest.TestResult()
        begun = time.time()
        test.run(result)
        return result, time.time() - begun

    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    tests = [t for t in tests_of(suite) if not sys.argv[1:] or any(name in t.id() for name in sys.argv[1:])]
    failed = False
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for test, (result, seconds) in zip(tests, pool.map(run, tests)):
            wrong = result.failures + result.errors
            failed |= bool(wrong)
            print(f"{test.id():90} {'FAILED' if wrong else f'skipped: {result.skipped[0][1]}' if result.skipped else 'ok'} {seconds:.2f} s", flush=True)
            for which, text in wrong:
                print(which, text)
    sys.exit(failed)


if __name__ == "__main__":
    main()
