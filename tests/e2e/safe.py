"""What kadr serve refuses and what it survives: strangers, malformed requests, paths, bombs, floods.

Needs only Python's standard library; slowhttptest and schemathesis are used where they are installed. KADR_LONG=1: with
the counts that docs/serve.md names. Nothing but 127.0.0.1 is spoken to.
"""

import binascii
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import zlib

import serve

LONG = "KADR_LONG" in os.environ
TOKEN = serve.TOKEN
MIB = 1 << 20
# Sanitizers have memory and time of their own.
SANITIZED = b"__asan_init" in pathlib.Path(serve.KADR).read_bytes()
SLOWER = 1 if LONG and not SANITIZED else 10  # the figures are for a machine with nothing else to do


def memory(server, key="VmRSS"):
    """Bytes, of Linux; None where that cannot be told."""
    try:
        lines = pathlib.Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) for line in lines if line.startswith(key + ":")) * 1024


class Safe(serve.Case):
    def status(self, s, data, seconds=20.0):
        """Sends bytes, closes this way when there is no answer, and reads: its status, 0 for none; and how long it took."""
        begin, got = time.time(), b""
        with socket.create_connection(("127.0.0.1", s.port), timeout=seconds) as c:
            try:
                c.sendall(data)
                c.settimeout(0.05)
                try:
                    got = c.recv(65536)
                except TimeoutError:
                    pass
                c.settimeout(seconds)
                c.shutdown(socket.SHUT_WR)
                while part := c.recv(65536):
                    got += part
            except (ConnectionResetError, BrokenPipeError, TimeoutError):
                pass
            except OSError as error:
                self.assertEqual(error.errno, 107)  # it has closed already
        words = got.split(b" ", 2)
        return int(words[1]) if len(words) > 2 and words[1].isdigit() else 0, time.time() - begin


class Strangers(Safe):
    OPEN = {("get", "/"), ("get", "/kadr.css"), ("get", "/js/{name}.js"), ("get", "/api/v1/health")}

    def test_every_route_refuses_strangers(self):
        s = self.start(env={"KADR_TOKEN": TOKEN, "KADR_RATE": "0"})
        key = {"Authorization": f"Bearer {TOKEN}"}
        paths = json.loads(s.ask("GET", "/api/v1/openapi.json", headers=key)[2])["paths"]
        count = 0
        for path, methods in paths.items():
            for method, about in methods.items():
                kinds = list(about.get("requestBody", {}).get("content", {})) or [None]
                # A path that changes nothing even if it were let in.
                url, body = path.replace("{number}", "999999").replace("{name}", "nobody"), b"{}" if kinds[0] else None
                own = key | ({"Content-Type": kinds[0]} if kinds[0] else {})
                for wrong, expected in (({"Host": "evil.example"}, 403), ({"Host": f"127.0.0.1.evil.example:{s.port}"}, 403),
                                        ({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403),
                                        ({"Authorization": "Bearer x"}, 401), ({"Content-Type": "text/plain"}, 415)):
                    if expected == 401 and (method, path) in self.OPEN:
                        continue
                    status = s.ask(method.upper(), url, body, own | wrong)[0]
                    self.assertEqual(status, expected, (method, path, wrong))
                    count += 1
        self.assertGreater(count, 6 * 60)
        # And without any of it: the token is asked for, whatever the address.
        self.assertEqual({s.ask("GET", p)[0] for p in ("/api/v1/jobs", "/nothing", "/sdapi/v1/options", "/v1/models")}, {401})
        self.assertEqual(s.json("GET", "/api/v1/health")["status"], "ok")

    def test_names_and_pages_that_are_let_in(self):
        token = self.folder / "token"
        token.write_text(TOKEN + "\n")
        s = self.start("--host", "kadr.home", "--cors", "https://tool.example", "--bind", "127.0.0.1", "--token-file", str(token))
        key = {"Authorization": f"Bearer {TOKEN}"}
        self.assertEqual(s.ask("GET", "/api/v1/jobs")[0], 401)
        self.assertEqual(s.ask("GET", "/api/v1/jobs", headers=key | {"Host": f"kadr.home:{s.port}"})[0], 200)
        self.assertEqual(s.ask("GET", "/api/v1/jobs", headers=key | {"Host": "kadr.home.evil"})[0], 403)
        for origin, allowed in (("https://tool.example", "https://tool.example"), ("https://tool.example.evil", None), ("null", None)):
            status, headers, _ = s.ask("GET", "/api/v1/jobs", headers=key | {"Origin": origin, "Sec-Fetch-Site": "cross-site"})
            self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (200 if allowed else 403, allowed), origin)
            status, headers, _ = s.ask("OPTIONS", "/api/v1/jobs", headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
            self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (204 if allowed else 403, allowed), origin)
        self.assertEqual(s.ask("POST", "/api/v1/jobs", serve.SMALL, key | {"Origin": "https://tool.example"})[0], 201)
        for wrong in ("*", "tool.example", "https://", "https://*.example", "null"):
            failed = subprocess.run([serve.KADR, "serve", "--cors", wrong, "--store", str(self.folder / "s")], capture_output=True,
                                    text=True, timeout=60)
            self.assertEqual((failed.returncode, "cors" in failed.stderr), (2, True), wrong)
        for wrong in ("short", "with blanks in it, and long enough"):
            token.write_text(wrong)
            failed = subprocess.run([serve.KADR, "serve", "--token-file", str(token), "--store", str(self.folder / "s")],
                                    capture_output=True, text=True, timeout=60)
            self.assertEqual((failed.returncode, "token" in failed.stderr), (2, True), failed.stderr)

    def test_one_client_cannot_ask_for_everything(self):
        s = self.start("--rate", "1")
        got = [s.ask("GET", "/api/v1/jobs") for _ in range(40)]
        self.assertEqual([g[0] for g in got[:10]], [200] * 10)
        self.assertIn(429, {g[0] for g in got[10:]})
        self.assertEqual(next(g[1]["Retry-After"] for g in got if g[0] == 429), "1")
        # Another address is another client.
        other = http.client.HTTPConnection("127.0.0.1", s.port, timeout=10, source_address=("127.0.0.2", 0))
        try:
            other.request("GET", "/api/v1/jobs")
        except OSError:
            self.skipTest("this system has no 127.0.0.2")
        self.assertEqual(other.getresponse().status, 200)
        other.close()
        time.sleep(1.1)
        self.assertEqual(s.ask("GET", "/api/v1/jobs")[0], 200)

    @unittest.skipUnless(LONG, "with KADR_LONG=1")
    def test_the_queue_is_shared(self):
        s = self.start("--rate", "0")
        s.json("POST", "/api/v1/jobs", serve.SMALL | {"steps": 900, "width": 512, "height": 512}, 201)
        codes = [s.ask("POST", "/api/v1/jobs", serve.SMALL)[0] for _ in range(505)]
        self.assertEqual((codes[:499], codes[500:]), ([201] * 499, [429] * 5))


class Paths(Safe):
    UP = ["..", "%2e%2e", ".%2e", "%2E.", "..%00", "%252e%252e", "..;", "%c0%ae%c0%ae", "%uff0e%uff0e", "....", ".%00.", "..%09"]
    SLASH = ["/", "%2f", "%5c", "\\", "//", "%252f", "%c0%af", "/./"]
    TARGETS = ["etc/passwd", "data/kadr/serve/kadr.db", "proc/self/environ"]
    BEFORE = ["/", "/js/", "/api/v1/pictures/", "/api/v1/casts/", "/api/v1/boards/1/panels/", "/sdapi/v1/"]

    def spellings(self, count):
        """All of these are different, and the first ones are the plain ones."""
        every = [before + (up + slash) * depth + target for depth in (1, 3, 8) for up in self.UP for slash in self.SLASH
                 for target in self.TARGETS for before in self.BEFORE]
        return every[:12] + random.Random(1).sample(every[12:], count - 12)

    def test_no_path_leads_outside(self):
        s = self.start("--rate", "0")
        folder = self.folder / "data/kadr/serve"
        before = sorted(p.name for p in folder.iterdir())
        for path in self.spellings(500):
            got = s.raw(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{s.port}\r\nConnection: close\r\n\r\n".encode())
            self.assertRegex(got[:13].decode(), "^HTTP/1.1 4|^$", path)
            self.assertNotIn(b"root:", got)
            self.assertNotIn(b"SQLite", got)
        # Names inside requests are no paths either.
        for name in ("../../etc/passwd", "/etc/passwd", "..", "mini/../../x", "~/x", "a\\..\\b", "%2e%2e%2fx", "\0", "x/../..", "C:\\x"):
            for field in ({"model": name}, {"init": name}, {"mask": name, "init": name}, {"lora": [name]}, {"cast": [name]},
                          {"cast": ["x@" + name]}, {"vae": name}, {"embedding": [name]}, {"output": name}, {"noise": name}):
                status = s.ask("POST", "/api/v1/jobs", serve.SMALL | field)[0]
                self.assertIn(status, (400, 404), (field, status))
            self.assertIn(s.ask("POST", "/sdapi/v1/txt2img", {"prompt": f"<lora:{name}:1>", "steps": 1})[0], (400, 404), name)
            self.assertIn(s.ask("POST", "/v1/images/generations", {"prompt": "a", "model": name})[0], (400, 404), name)
        self.assertEqual(sorted(p.name for p in folder.iterdir()), before)
        self.assertEqual(s.json("GET", "/api/v1/jobs")["jobs"], [])


class Malformed(Safe):
    PIECES = [b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"GET", b"POST", b"HTTP/1.1", b"HTTP/0.9", b"HTTP/1.0", b"Host: x", b"\xff\xfe",
              b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Transfer-Encoding: chunked",
              b"Transfer-Encoding: gzip", b"Expect: 100-continue", b"Connection: upgrade", b"Upgrade: h2c", b"0\r\n\r\n", b"ffffffffffffffff\r\n",
              b"5;x=y\r\nhello\r\n", b"%", b"%00", b"?" * 40, b"/" * 40, b"a" * 3000, b"{" * 40, b"[", b"\"", b"{\"prompt\":", b"--x", b"\xc3\x28",
              b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"Range: bytes=" + b"0-," * 50, b"Cookie: " + b"a=b;" * 50]

    def seeds(self, s):
        host = f"Host: 127.0.0.1:{s.port}\r\n".encode()
        def post(path, kind, body):
            return b"POST %s HTTP/1.1\r\n%sContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (path, host, kind, len(body), body)
        form = b'--boundary\r\nContent-Disposition: form-data; name="n"\r\n\r\n1\r\n--boundary\r\nContent-Disposition: form-data; ' \
               b'name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n' + picture(8, 8) + b"\r\n--boundary--\r\n"
        large = {"prompt": "a", "steps": 1, "width": 64, "height": 64}
        return [b"GET / HTTP/1.1\r\n" + host + b"\r\n", b"GET /api/v1/jobs?limit=5 HTTP/1.1\r\n" + host + b"Accept: */*\r\n\r\n",
                b"GET /api/v1/pictures?search=a&before=4 HTTP/1.1\r\n" + host + b"\r\n", b"DELETE /api/v1/pictures/1 HTTP/1.1\r\n" + host + b"\r\n",
                post(b"/api/v1/jobs/1/move", b"application/json", b'{"before": 0}'), post(b"/api/v1/inspect", b"image/png", picture(8, 8)),
                post(b"/api/v1/plan", b"application/json", json.dumps(large).encode()),
                post(b"/v1/images/edits", b"multipart/form-data; boundary=boundary", form),
                post(b"/sdapi/v1/png-info", b"application/json", b'{"image": "AAAA"}'), post(b"/sdapi/v1/options", b"application/json", b'{"a": 1}'),
                post(b"/api/v1/boards", b"application/json", b'{"title": "a"}'),
                b"POST /api/v1/plan HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"]

    def mutated(self, dice, seeds):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(len(data) + 1)
            end = min(len(data), at + dice.randrange(20))
            kind = dice.randrange(6)
            if kind == 0:
                data[at:end] = dice.choice(self.PIECES)
            elif kind == 1:
                data[at:at] = dice.choice(self.PIECES)
            elif kind == 2:
                del data[at:end]
            elif kind == 3 and at < len(data):
                data[at] ^= 1 << dice.randrange(8)
            elif kind == 4:
                data[at:at] = data[at:end] * dice.randrange(1, 30)
            else:
                del data[at + dice.randrange(200):]
        return bytes(data)

    def test_malformed_requests(self):
        s = self.start("--rate", "0")
        seeds, dice, slowest, codes = self.seeds(s), random.Random(7), 0.0, {}
        for n in range(10000 if LONG else 500):
            data = self.mutated(dice, seeds)
            status, seconds = self.status(s, data)
            codes[status] = codes.get(status, 0) + 1
            self.assertTrue(status < 500 or status == 505, (n, status, data))
            slowest = max(slowest, seconds)
            self.assertLess(seconds, 1.0 * SLOWER, (n, status, data))
        if LONG:
            print(f"\n{sum(codes.values())} malformed requests, slowest {slowest:.3f} s, answers {dict(sorted(codes.items()))}", file=sys.stderr)
        self.assertEqual(s.json("GET", "/api/v1/health")["status"], "ok")
        self.assertEqual(s.end(), 0)


def chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + binascii.crc32(kind + data).to_bytes(4, "big")


def picture(width, height, kind=2, extra=b"", depth=8):
    """A PNG of zeros, in few bytes."""
    rows, packer, packed = (width * {0: 1, 2: 3, 6: 4}[kind] * depth // 8 + 1), zlib.compressobj(9), b""
    for at in range(0, rows * height, MIB):
        packed += packer.compress(bytes(min(MIB, rows * height - at)))
    packed += packer.flush()
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((depth, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def jpeg_head(width, height, progressive):
    """What comes before the scans of a JPEG, and a scan that never ends."""
    frame = b"\x08" + height.to_bytes(2, "big") + width.to_bytes(2, "big") + b"\x03\x01\x22\x00\x02\x11\x00\x03\x11\x00"
    table = b"\x00" + bytes(64 * [1])
    codes = b"\x00" + bytes([0, 1] + [0] * 14) + b"\x00"
    segments = [(0xDB, table), (0xC2 if progressive else 0xC0, frame), (0xC4, codes), (0xC4, b"\x10" + codes[1:])]
    scan = (0xDA, b"\x03\x01\x00\x02\x00\x03\x00" + (b"\x00\x00\x00" if progressive else b"\x00\x3f\x00"))
    marked = lambda mark, data: b"\xff" + bytes([mark]) + (len(data) + 2).to_bytes(2, "big") + data
    body = b"".join(marked(*s) for s in segments)
    return b"\xff\xd8" + body + (marked(*scan) + bytes(400)) * (1000 if progressive else 1) + b"\xff\xd9"


def webp_head(width, height, animated=False):
    bits = (width - 1) | (height - 1) << 14
    lossless = b"VP8L" + (1000).to_bytes(4, "little") + b"\x2f" + bits.to_bytes(4, "little") + bytes(995)
    extended = b"VP8X" + (10).to_bytes(4, "little") + (b"\x02" if animated else b"\0") + bytes(3) + (width - 1).to_bytes(3, "little") + \
        (height - 1).to_bytes(3, "little")
    frame = bytes(6) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + bytes(4) + lossless
    anim = b"ANIM" + (6).to_bytes(4, "little") + bytes(6) + b"ANMF" + len(frame).to_bytes(4, "little") + frame
    body = b"WEBP" + (extended + anim if animated else lossless)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


class Bombs(Safe):
    def bombs(self):
        text = zlib.compress(bytes(8 * MIB - 100), 9)
        texts = b"".join(chunk(b"zTXt", b"k%d\0\0" % n + text) for n in range(200))
        return {"PNG of 900 Mpixels": ("png", picture(30000, 30000, 0, depth=8)), "PNG of 4 Mpixels with alpha": ("png", picture(2048, 2048, 6)),
                "PNG of 16 bits": ("png", picture(2000, 2000, 6, depth=16)), "PNG with 1.6 GB of texts": ("png", picture(16, 16, 2, texts)),
                "JPEG of 65500 x 65500": ("jpeg", jpeg_head(65500, 65500, False)), "JPEG of 4 Mpixels": ("jpeg", jpeg_head(2048, 2048, False)),
                "progressive JPEG of 4 Mpixels, 1000 scans": ("jpeg", jpeg_head(2048, 2048, True)),
                "progressive JPEG of 1 Mpixel, 1000 scans": ("jpeg", jpeg_head(1024, 1024, True)),
                "WebP of 16383 x 16383": ("webp", webp_head(16383, 16383)), "WebP of 4 Mpixels": ("webp", webp_head(2048, 2048)),
                "animated WebP of 4 Mpixels": ("webp", webp_head(2048, 2048, True))}

    def test_bombs_cost_little(self):
        import base64
        bombs = self.bombs()
        for name, (kind, data) in bombs.items():
            self.assertLess(len(data), 4 * MIB, name)
        s = self.start("--rate", "0")
        s.json("POST", "/api/v1/plan", serve.SMALL)  # what is touched once
        for name, (kind, data) in bombs.items():
            ways = [("/api/v1/uploads", data, {"Content-Type": f"image/{kind}"}), ("/api/v1/inspect", data, {"Content-Type": f"image/{kind}"}),
                    ("/sdapi/v1/png-info", {"image": base64.b64encode(data).decode()}, {})]
            for path, body, headers in ways:
                reset(s)
                before = memory(s, "VmHWM") or 0
                begin = time.time()
                status = s.ask("POST", path, body, headers)[0]
                self.assertLess(time.time() - begin, 5 * SLOWER, name)
                self.assertIn(status, (200, 201, 400, 413, 422), (name, path))
                # Beside the bytes that were sent, which are held as such.
                cost = (memory(s, "VmHWM") or 0) - before - 2 * len(data)
                if LONG:
                    print(f"\n{name} to {path}: {status}, {cost / 1e6:.1f} MB", file=sys.stderr, end="")
                if not SANITIZED:
                    self.assertLessEqual(cost, 16e6, (name, path))
        self.assertEqual(s.json("GET", "/api/v1/health")["status"], "ok")


def reset(server):
    """Has the highest size begin from the present one."""
    try:
        pathlib.Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
    except OSError:
        pass


class Floods(Safe):
    def poll(self, s, done, took):
        """Health by connections of their own, until done."""
        while not done.is_set():
            begin = time.time()
            try:
                ok = s.ask("GET", "/api/v1/health", timeout=10)[0] == 200
            except OSError:
                ok = False
            took.append(time.time() - begin if ok else 10.0)
            time.sleep(0.01)

    def polled(self, s, work):
        done, took = threading.Event(), []
        thread = threading.Thread(target=self.poll, args=(s, done, took))
        thread.start()
        try:
            work()
        finally:
            done.set()
            thread.join()
        return sorted(took)

    def test_many_connections(self):
        count = 1000 if LONG else 200
        s = self.start("--rate", "0", "-M", "2G")
        job = s.json("POST", "/api/v1/jobs", serve.SMALL | {"steps": 900, "width": 512, "height": 512}, 201)["id"]
        while not (s.json("GET", f"/api/v1/jobs/{job}")["state"] == "running" and s.ask("GET", f"/api/v1/jobs/{job}/preview")[0] == 200):
            time.sleep(0.2)
        before, held = memory(s), []
        head = f"HTTP/1.1\r\nHost: 127.0.0.1:{s.port}\r\n\r\n".encode()
        def open_all():
            for n in range(count):
                c = socket.create_connection(("127.0.0.1", s.port), timeout=20)
                c.sendall((b"GET /api/v1/events " if n % 2 else b"GET /api/v1/health ") + head)
                self.assertIn(b" 200 ", c.recv(4096))
                held.append(c)
            time.sleep(10 if LONG else 2)
        took = self.polled(s, open_all)
        each = ((memory(s) or 0) - (before or 0)) / count
        streams = [c for c in held[1::2]]
        for c in streams[:5]:
            self.assertTrue(c.recv(65536))  # they tell of the drawing
        p99 = took[int(len(took) * 0.99)]
        if LONG:
            print(f"\n{count} connections, {each / 1024:.1f} KiB each, health p99 {p99 * 1000:.1f} ms of {len(took)}", file=sys.stderr)
            self.assertLess(p99, 0.25)
        if before and not SANITIZED:
            self.assertLessEqual(each, 64 * 1024)
        self.assertEqual(s.json("GET", f"/api/v1/jobs/{job}")["state"], "running")
        for c in held:
            c.close()
        s.json("POST", f"/api/v1/jobs/{job}/cancel", {})
        self.assertEqual(s.end(), 0)

    def test_slow_clients(self):
        tool = shutil.which("slowhttptest")
        if not tool:
            self.skipTest("slowhttptest is not installed")
        s = self.start("--rate", "0")
        seconds, count = ("30", "1500") if LONG else ("3", "400")
        url = f"http://127.0.0.1:{s.port}"
        modes = {"headers": ["-H", "-u", url + "/", "-i", "2"], "body": ["-B", "-u", url + "/api/v1/plan", "-f", "application/json", "-i", "2", "-s", "8192"],
                 "reading": ["-X", "-u", url + "/js/words.js", "-w", "1", "-y", "16", "-n", "5", "-z", "8", "-k", "3"]}
        # One after the other, or where time counts all together.
        for group in ([m] for m in modes) if LONG else [list(modes)]:
            def run():
                running = [subprocess.Popen([tool, *modes[mode], "-c", count, "-r", "500", "-l", seconds, "-p", "2"], cwd=self.folder,
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for mode in group]
                for process in running:
                    process.wait(120)
            took = self.polled(s, run)
            if LONG:
                print(f"\nslow {group[0]}: {len(took)} answers meanwhile, slowest {took[-1] * 1000:.0f} ms", file=sys.stderr)
            self.assertGreater(len(took), 10, group)
            self.assertLess(took[-1], 2 * SLOWER, group)
        self.assertEqual(s.end(), 0)

    def test_the_server_is_in_the_plan(self):
        alone = json.loads(subprocess.run([serve.KADR, "plan", "-M", "800M", "-W", "64", "-H", "64", "--steps", "2", "--json", "a red fox"],
                                          capture_output=True, check=True, text=True).stdout)
        s = self.start("-M", "800M")
        served = s.json("POST", "/api/v1/plan", serve.SMALL)
        peak = lambda plan: next(v for k, v in flat(plan) if k == "peak_bytes")
        # An eighth of 800M is the server's.
        self.assertGreater(peak(served) - peak(alone), 95 * MIB)

    @unittest.skipIf(SANITIZED, "a sanitizer's memory is in no plan")
    def test_the_least_is_enough_each_time(self):
        """A server in the memory that it told to be the least draws one picture after the other."""
        small = serve.SMALL | {"precision": "f32"}
        s = self.start("-M", "40M")
        told = json.dumps(s.json("POST", "/api/v1/plan", small))
        s.end()
        s = self.start("-M", re.search(r"--memory (\d+M)", told)[1])
        for seed in range(4):
            job = s.wait(s.json("POST", "/api/v1/jobs", small | {"seed": seed}, 201)["id"])
            self.assertEqual(job["state"], "done", job)


def flat(value):
    if isinstance(value, dict):
        for k, v in value.items():
            yield k, v
            yield from flat(v)
    elif isinstance(value, list):
        for v in value:
            yield from flat(v)


class Described(Safe):
    def test_every_number_has_its_range(self):
        shown = subprocess.run([serve.KADR, "serve", "--openapi"], capture_output=True, check=True, text=True)
        described = json.loads(shown.stdout)
        s = self.start()
        self.assertEqual(s.json("GET", "/api/v1/openapi.json"), described)
        self.assertIn("width", described["components"]["schemas"]["Request"]["properties"])
        def check(value, place):
            if isinstance(value, dict):
                kinds = value.get("type")
                if any(kind in ("integer", "number") for kind in (kinds if isinstance(kinds, list) else [kinds])):
                    self.assertTrue("minimum" in value and "maximum" in value, place)
                for k, v in value.items():
                    check(v, place + [k])
            elif isinstance(value, list):
                for i, v in enumerate(value):
                    check(v, place + [i])
        check(described, [])

    def test_schemathesis(self):
        tool = pathlib.Path(sys.executable).with_name("schemathesis")
        if not tool.exists():
            self.skipTest("the package schemathesis is not installed")
        # With so little memory what is drawn without a size does not fit, and is told so at once.
        s = self.start("--rate", "0", "-M", "48M", env={"KADR_TOKEN": TOKEN})
        config = pathlib.Path(__file__).with_name("schemathesis.toml")
        counts = ["--max-examples", "20"] if LONG else ["--phases", "coverage", "--include-path-regex", "^/api/v1/(jobs|pictures|boards|casts|models/choose|workers)"]
        done = subprocess.run([tool, f"--config-file={config}", "run", f"{s.url}/api/v1/openapi.json", "-H", f"Authorization: Bearer {TOKEN}",
                               "--seed", "1", "--no-color", *counts], capture_output=True, text=True, cwd=self.folder)
        if LONG:
            print("\n" + "\n".join(done.stdout.splitlines()[-25:]), file=sys.stderr)
        self.assertEqual(done.returncode, 0, done.stdout[-6000:] + done.stderr[-2000:])
        self.assertEqual(s.json("GET", "/api/v1/health")["status"], "ok")


if __name__ == "__main__":
    unittest.main(verbosity=2)
