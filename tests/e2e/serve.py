"""kadr serve from outside: jobs, events, pictures, what is refused, ends and new starts.

Needs only Python's standard library; with the package selenium and a Chromium also a browser.
"""

import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

KADR = os.environ["KADR"]
TOKEN = "0123456789abcdef-test"
SMALL = {"prompt": "a red fox", "width": 64, "height": 64, "steps": 2, "seed": 5}


class Server:
    """A server in a folder of its own."""

    def __init__(self, folder, *flags, env=None, prefix=()):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KADR_")} | {
            "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache"), "XDG_DATA_HOME": str(folder / "data")} | (env or {})
        self.process = subprocess.Popen([*prefix, KADR, "serve", "--port", "0", "-t", "2", *flags], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, env=environment, cwd=folder)
        self.url = self.process.stdout.readline().strip().rstrip("/")
        if not self.url:
            raise RuntimeError(self.process.communicate()[1])
        self.port = int(self.url.rsplit(":", 1)[1])

    def ask(self, method, path, body=None, headers=None, timeout=60):
        """Status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        headers = dict(headers or {})
        if isinstance(body, dict):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, answer.headers, data

    def json(self, method, path, body=None, expect=200):
        status, _, data = self.ask(method, path, body)
        assert status == expect, (status, data)
        return json.loads(data)

    def raw(self, data):
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as s:
            s.sendall(data)
            s.settimeout(5)
            got = b""
            try:
                while part := s.recv(65536):
                    got += part
            except (TimeoutError, ConnectionResetError):
                pass
            return got

    def wait(self, job, seconds=120):
        end = time.time() + seconds
        while time.time() < end:
            found = self.json("GET", f"/api/v1/jobs/{job}")
            if found["state"] not in ("queued", "running"):
                return found
            time.sleep(0.1)
        raise AssertionError("the job does not end")

    def end(self, number=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.communicate(timeout=60)
        return self.process.returncode


class Case(unittest.TestCase):
    """Servers in a folder that is gone afterwards."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kadr-serve-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def start(self, *flags, env=None):
        server = Server(self.folder, *flags, env=env)
        self.addCleanup(server.end, signal.SIGKILL)
        return server


class Serve(Case):
    def test_a_job_becomes_pictures(self):
        s = self.start()
        job = s.json("POST", "/api/v1/jobs", SMALL | {"count": 2}, 201)
        job = s.wait(job["id"])
        self.assertEqual(job["state"], "done", job)
        self.assertEqual([p["seed"] for p in job["pictures"]], [5, 6])
        drawn = s.ask("GET", f"/api/v1/pictures/{job['pictures'][0]['id']}")
        self.assertEqual((drawn[0], drawn[1]["Content-Type"], drawn[2][:4]), (200, "image/png", b"\x89PNG"))
        # The same as the program draws without a server.
        alone = self.folder / "alone.png"
        subprocess.run([KADR, "generate", "-q", "-W", "64", "-H", "64", "--steps", "2", "-s", "5", "-o", alone, "a red fox"],
                       check=True, capture_output=True, env=os.environ | {"XDG_CACHE_HOME": str(self.folder / "cache")})
        self.assertEqual(alone.read_bytes(), drawn[2])
        found = json.loads(s.ask("POST", "/api/v1/inspect", drawn[2], {"Content-Type": "image/png"})[2])
        self.assertEqual((found["settings"]["prompt"], found["settings"]["seed"]), ("a red fox", 5))
        self.assertEqual(len(s.json("GET", "/api/v1/pictures?search=FOX")["pictures"]), 2)
        self.assertEqual(len(s.json("GET", "/api/v1/pictures?search=cat")["pictures"]), 0)
        self.assertIn("peak", json.dumps(s.json("POST", "/api/v1/plan", SMALL)))
        self.assertIn(b'kadr_jobs{state="done"} 1', s.ask("GET", "/api/v1/metrics")[2])
        self.assertEqual(s.end(), 0)

    def test_events_tell_it_all(self):
        s = self.start()
        connection = http.client.HTTPConnection("127.0.0.1", s.port, timeout=60)
        connection.request("GET", "/api/v1/events")
        stream = connection.getresponse()
        self.assertEqual(stream.headers["Content-Type"], "text/event-stream")
        job = s.json("POST", "/api/v1/jobs", SMALL, 201)["id"]
        kinds, numbers, kind = [], [], None
        while True:
            line = stream.readline().decode().strip()
            if line.startswith("id: "):
                numbers.append(int(line[4:]))
            elif line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: "):
                kinds.append(kind)
                if kind == "job" and json.loads(line[6:])["state"] == "done":
                    break
        connection.close()
        self.assertTrue({"job", "progress", "picture"} <= set(kinds), kinds)
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + len(numbers))))
        # What a page missed is told when it comes back.
        connection.request("GET", "/api/v1/events", headers={"Last-Event-ID": str(numbers[1])})
        self.assertEqual(connection.getresponse().readline().decode().strip(), f"id: {numbers[2]}")
        connection.close()
        self.assertEqual(s.wait(job)["state"], "done")

    def test_the_queue_survives(self):
        s = self.start()
        jobs = [s.json("POST", "/api/v1/jobs", SMALL | {"seed": n, "count": 2}, 201)["id"] for n in range(6)]
        s.wait(jobs[0])
        s.end(signal.SIGKILL)
        s = self.start()
        for n, job in enumerate(jobs):
            done = s.wait(job)
            self.assertEqual((done["state"], [p["seed"] for p in done["pictures"]]), ("done", [n, n + 1]))
        self.assertEqual(len(list((self.folder / "data/kadr/serve/pictures").iterdir())), 12)

    def test_jobs_are_cancelled_and_moved(self):
        s = self.start()
        long = s.json("POST", "/api/v1/jobs", SMALL | {"steps": 900, "width": 512, "height": 512}, 201)["id"]
        a, b = (s.json("POST", "/api/v1/jobs", SMALL, 201)["id"] for _ in range(2))
        s.json("POST", f"/api/v1/jobs/{b}/move", {"before": a})
        waiting = [j["id"] for j in s.json("GET", "/api/v1/jobs")["jobs"] if j["state"] == "queued"]
        self.assertEqual([j for j in waiting if j != long], [b, a])
        self.assertEqual(s.json("POST", f"/api/v1/jobs/{long}/cancel", {})["state"], "cancelled")
        self.assertEqual(s.wait(a)["state"], "done")
        self.assertEqual(s.json("GET", f"/api/v1/jobs/{long}")["state"], "cancelled")

    def test_wrong_requests_are_told(self):
        s = self.start()
        for wrong in ({}, {"prompt": ""}, SMALL | {"width": 0}, SMALL | {"width": 65}, SMALL | {"steps": "2"},
                      SMALL | {"count": 1000}, SMALL | {"output": "/x"}, SMALL | {"init": "/etc/passwd"},
                      SMALL | {"noise": "x"}, SMALL | {"model": "../x"}, SMALL | {"x": 1}, SMALL | {"steps": 1000},
                      SMALL | {"sampler": "lcm", "steps": 51}, SMALL | {"sampler": "tcd", "schedule": "karras"},
                      SMALL | {"sampler": "unipc", "schedule": "leading", "steps": 999}):
            for path in ("jobs", "plan"):
                status, _, data = s.ask("POST", "/api/v1/" + path, wrong)
                self.assertEqual(status, 400, (wrong, data))
                self.assertIn("message", json.loads(data)["error"])
        # One step less is taken (that it gives numbers: tests/unit/sample).
        for steps in ({"steps": 999}, {"sampler": "lcm", "steps": 50}, {"sampler": "unipc", "schedule": "leading", "steps": 998}):
            job = s.json("POST", "/api/v1/jobs", SMALL | steps, 201)
            s.json("POST", f"/api/v1/jobs/{job['id']}/cancel", {})
        api = s.json("GET", "/api/v1/openapi.json")["components"]["schemas"]
        self.assertEqual({api[name]["properties"]["steps"]["maximum"] for name in ("Request", "Overrides")}, {999})
        self.assertEqual(s.ask("POST", "/sdapi/v1/txt2img", {"prompt": "x", "steps": 1000, "width": 64, "height": 64})[0], 400)
        (self.folder / "here").mkdir()
        for model in ("nothing/there", "here", "/etc"):
            self.assertIn(s.ask("POST", "/api/v1/jobs", SMALL | {"model": model})[0], (400, 404))
        for body in (b"", b"[]", b"{", b'{"prompt":"a","prompt":"b"}', b"[" * 5000, b'{"prompt":"\xff"}'):
            self.assertEqual(s.ask("POST", "/api/v1/jobs", body, {"Content-Type": "application/json"})[0], 400)
        for body, status in ((b"", 400), (b"\0", 400), (b"[]", 400), (b"{}", 404)):
            for path in ("jobs", "pulls"):
                self.assertEqual(s.ask("POST", f"/api/v1/{path}/99/cancel", body, {"Content-Type": "application/json"})[0], status, body)
        self.assertEqual(s.ask("GET", "/api/v1/jobs/99")[0], 404)
        self.assertEqual(s.ask("DELETE", "/api/v1/jobs")[0], 405)
        for path in ("/..%2f..%2fetc/passwd", "/../../etc/passwd", "/api/v1/pictures/..%2f1", "/api/v1/pictures/1.png", "//"):
            self.assertEqual(s.ask("GET", path)[0], 404, path)
        self.assertEqual(len(s.json("GET", "/api/v1/jobs")["jobs"]), 3)

    def test_strangers_are_refused(self):
        s = self.start()
        host = f"127.0.0.1:{s.port}"
        body, kind = json.dumps(SMALL), {"Content-Type": "application/json"}
        for headers in ({"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example"}, {"Host": f"{host}@evil.example"},
                        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": f"http://{host}.evil.example"},
                        {"Sec-Fetch-Site": "cross-site"}):
            for method, path in (("POST", "/api/v1/jobs"), ("POST", "/api/v1/plan"), ("POST", "/v1/images/generations"),
                                 ("POST", "/api/v1/jobs/1/cancel"), ("DELETE", "/api/v1/pictures/1")):
                self.assertEqual(s.ask(method, path, body, kind | headers)[0], 403, (path, headers))
        self.assertEqual(s.ask("GET", "/", headers={"Host": "evil.example"})[0], 403)
        self.assertEqual(s.ask("POST", "/api/v1/jobs", body, {"Content-Type": "text/plain"})[0], 415)
        self.assertEqual(s.ask("POST", "/api/v1/jobs", body, kind | {"Origin": f"http://{host}"})[0], 201)
        status, headers, _ = s.ask("GET", "/")
        self.assertEqual((status, headers["X-Content-Type-Options"]), (200, "nosniff"))
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
        self.assertNotIn("Access-Control-Allow-Origin", headers)

    def test_smuggling_and_floods_are_refused(self):
        s = self.start()
        head = f"POST /api/v1/plan HTTP/1.1\r\nHost: localhost:{s.port}\r\nContent-Type: application/json\r\n".encode()
        for lines in (b"Content-Length: 2\r\nContent-Length: 2\r\n", b"Content-Length: 2\r\nContent-Length: 3\r\n",
                      b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", b"Content-Length: -2\r\n",
                      b"Content-Length: 99999999999\r\n", b"X: " + b"a" * 100000 + b"\r\n"):
            got = s.raw(head + lines + b"\r\n{}")
            self.assertTrue(not got or got.split(b" ", 2)[1][:1] == b"4", got[:100])
        for garbage in (b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02", b"GET / HTTP/1.1\r\n\r\n"):
            got = s.raw(garbage + b"\r\n\r\n")
            self.assertNotIn(b" 200 ", got[:20])
        self.assertEqual(s.json("GET", "/api/v1/health")["status"], "ok")

    def test_a_token_guards(self):
        failed = subprocess.run([KADR, "serve", "--bind", "0.0.0.0", "--port", "0", "--store", str(self.folder / "s")],
                                capture_output=True, text=True, timeout=60)
        self.assertEqual(failed.returncode, 2)
        self.assertIn("--token", failed.stderr)
        s = self.start("--bind", "0.0.0.0", env={"KADR_TOKEN": TOKEN})
        for wrong in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Bearer {TOKEN}x"}, {"Cookie": "kadr_token="}):
            for path in ("/api/v1/jobs", "/api/v1/metrics", "/api/v1/events", "/nothing"):
                self.assertEqual(s.ask("GET", path, headers=wrong)[0], 401, (path, wrong))
        self.assertEqual(s.ask("GET", "/api/v1/jobs", headers={"Authorization": f"Bearer {TOKEN}"})[0], 200)
        self.assertEqual(s.ask("GET", "/api/v1/jobs", headers={"Cookie": f"kadr_token={TOKEN}"})[0], 200)


if __name__ == "__main__":
    unittest.main(verbosity=2)
