"""Many machines on one queue: kadr serve and kadr work on a PostgreSQL of the test's own.

Needs PostgreSQL's programs; without them, or where kadr was built without libpq, all is skipped. With KADR_LONG=1 the
figures of docs/many-machines.md: 500 panels of the mini model, and leases as users have them.
"""

import collections
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import postgres
from serve import KADR, SMALL, Server

LONG = "KADR_LONG" in os.environ
LEASE = 30 if LONG else 3
UNIT = pathlib.Path(os.environ["KADR_BUILD"]) / "tests/unit/store/test_store_store"


def reason_to_skip():
    if not postgres.programs():
        return "PostgreSQL is not installed"
    said = subprocess.run([KADR, "work", "--store", "postgresql://127.0.0.1:1/x"], capture_output=True, text=True, timeout=60)
    return said.stderr.strip() if "libpq" in said.stderr else None


class Many(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        reason = reason_to_skip()
        if reason:
            raise unittest.SkipTest(reason)
        cls.postgres = postgres.Postgres(durable=LONG)
        # Of all tests: how fast the machine is, is measured once.
        cls.cache = pathlib.Path(tempfile.mkdtemp(prefix="kadr-many-cache-"))
        cls.addClassCleanup(shutil.rmtree, cls.cache)
        cls.addClassCleanup(cls.postgres.close)

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kadr-many-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.database = "test_" + self.id().rsplit("_", 1)[1]
        self.postgres.sql(f"CREATE DATABASE {self.database}")
        self.logs = []
        self.addCleanup(self.look_for_passwords)
        self.env = {"KADR_STORE": self.postgres.url(self.database), "KADR_TEST_LEASE": str(LEASE), "HOME": str(self.folder),
                    "XDG_CACHE_HOME": str(self.cache)}

    def look_for_passwords(self):
        for log in self.logs:
            self.assertNotIn(self.postgres.password, log.read_text())

    def serve(self, *flags):
        server = Server(self.folder, "--no-draw", *flags, env=self.env)
        self.addCleanup(server.end, signal.SIGKILL)
        return server

    def work(self, *flags, env=None):
        """A worker that has said that it draws."""
        log = self.folder / f"worker-{len(self.logs)}.log"
        self.logs.append(log)
        with open(log, "w") as errors:
            p = subprocess.Popen([KADR, "work", "-t", "1", *flags], stdout=subprocess.PIPE, stderr=errors, text=True,
                                 cwd=self.folder, env={k: v for k, v in os.environ.items() if not k.startswith("KADR_")} |
                                 self.env | (env or {}))
        self.addCleanup(self.end, p)
        p.name = p.stdout.readline().split(" ")[0]
        self.assertTrue(p.name, log.read_text())
        return p

    def end(self, process, number=signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(number)
        process.stdout.close()
        return process.wait(60)

    def sql(self, text):
        return self.postgres.sql(text, self.database)

    def until(self, what, seconds=120):
        end = time.time() + seconds
        while time.time() < end:
            if what():
                return
            time.sleep(0.05)
        self.fail("waited in vain")

    def test_store(self):
        """The store's own tests, on PostgreSQL."""
        if not UNIT.exists():
            self.skipTest("was not built")
        done = subprocess.run([UNIT], env=os.environ | {"KADR_TEST_POSTGRES": self.postgres.url(self.database)},
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("processes_hear_each_other", done.stdout)

    def test_pictures_travel(self):
        """One job's pictures are drawn by several, from a picture that was sent; they are those of one machine."""
        s = self.serve()
        workers = [self.work(), self.work()]
        first = s.wait(s.json("POST", "/api/v1/jobs", SMALL, 201)["id"])["pictures"][0]["id"]
        _, _, png = s.ask("GET", f"/api/v1/pictures/{first}")
        sent = json.loads(s.ask("POST", "/api/v1/uploads", png, {"Content-Type": "image/png"})[2])["id"]
        wish = SMALL | {"count": 8, "steps": 3, "init": sent, "strength": 0.9}
        job = s.wait(s.json("POST", "/api/v1/jobs", wish, 201)["id"])
        self.assertEqual([p["seed"] for p in job["pictures"]], list(range(5, 13)), job)
        alone = Server(self.folder, "--store", str(self.folder / "alone"), env={"XDG_CACHE_HOME": str(self.cache)})
        self.addCleanup(alone.end, signal.SIGKILL)
        sent = json.loads(alone.ask("POST", "/api/v1/uploads", png, {"Content-Type": "image/png"})[2])["id"]
        twin = alone.wait(alone.json("POST", "/api/v1/jobs", wish | {"init": sent}, 201)["id"])

        def pixels(server, picture):
            data = server.ask("GET", f"/api/v1/pictures/{picture['id']}")[2]
            at, idat = 8, b""
            while at < len(data):
                size = int.from_bytes(data[at:at + 4], "big")
                idat += data[at + 8:at + 8 + size] if data[at + 4:at + 8] == b"IDAT" else b""
                at += size + 12
            return idat
        for a, b in zip(job["pictures"], twin["pictures"], strict=True):
            self.assertEqual(pixels(s, a), pixels(alone, b))
        used = {p["settings"]["init"] for p in job["pictures"]}
        self.assertEqual(len(used), 1)
        self.assertNotIn("/", used.pop())
        # What a worker is not drawing any more is not kept by it.
        for w in workers:
            self.assertEqual(self.end(w, signal.SIGTERM), 0)
        self.assertEqual(s.end(), 0)
        self.assertEqual(list((self.cache / "kadr/stores").iterdir()), [])
        self.assertEqual(self.sql("SELECT count(*) FROM kadr.workers"), [["0"]])

    def test_a_shared_folder(self):
        shared = self.folder / "shared"
        shared.mkdir()
        s = self.serve("--pictures", str(shared))
        self.work("--pictures", str(shared))
        job = s.wait(s.json("POST", "/api/v1/jobs", SMALL, 201)["id"])
        self.assertEqual(len(list((shared / "pictures").iterdir())), 1)
        self.assertEqual(self.sql("SELECT count(*) FROM kadr.files"), [["0"]])
        self.assertEqual(s.ask("GET", f"/api/v1/pictures/{job['pictures'][0]['id']}")[0], 200)
        (self.folder / "other").mkdir()
        for flags in ([], ["--pictures", str(self.folder / "other")]):
            done = subprocess.run([KADR, "work", *flags], env=os.environ | self.env, capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("folder", done.stderr)

    def test_what_happens_is_told(self):
        """Progress and previews come from where it is drawn, and a cancel gets there."""
        s = self.serve()
        self.work()
        events = collections.Counter()

        def listen():
            try:
                connection = http.client.HTTPConnection("127.0.0.1", s.port, timeout=120)
                connection.request("GET", "/api/v1/events")
                with connection.getresponse() as stream:
                    for line in stream:
                        if line.startswith(b"event: "):
                            events[line[7:].strip().decode()] += 1
            except (OSError, http.client.HTTPException):
                pass
        threading.Thread(target=listen, daemon=True).start()
        self.until(lambda: events["alive"])
        self.until(lambda: s.json("GET", "/api/v1/workers")["workers"])
        worker, = s.json("GET", "/api/v1/workers")["workers"]
        self.assertLess(worker["seconds"], 10)
        self.assertEqual(worker["about"]["threads"], 1)
        long = s.json("POST", "/api/v1/jobs", SMALL | {"steps": 900, "width": 512, "height": 512}, 201)["id"]
        self.until(lambda: events["progress"] >= 3)
        self.until(lambda: s.ask("GET", f"/api/v1/jobs/{long}/preview")[0] == 200)
        self.assertEqual(s.ask("GET", f"/api/v1/jobs/{long}/preview")[2][:8], b"\x89PNG\r\n\x1a\n")
        self.assertEqual(s.json("POST", f"/api/v1/jobs/{long}/cancel", {})["state"], "cancelled")
        begun = time.time()
        s.wait(s.json("POST", "/api/v1/jobs", SMALL, 201)["id"])
        self.assertLess(time.time() - begun, 120)  # the long one would take minutes
        self.until(lambda: events["picture"] >= 1 and events["job"] >= 4)
        self.assertEqual(s.json("GET", f"/api/v1/jobs/{long}")["state"], "cancelled")
        # What emerges elsewhere is streamed here.
        _, _, stream = s.ask("POST", "/v1/images/generations", {"prompt": "a red fox", "size": "768x768", "stream": True,
                                                                "partial_images": 1})
        kinds = [line[7:] for line in stream.decode().splitlines() if line.startswith("event: ")]
        self.assertEqual(kinds, ["image_generation.partial_image", "image_generation.completed"])

    def test_each_takes_what_fits(self):
        s = self.serve()
        small = self.work("-M", "64M")
        large = s.json("POST", "/api/v1/jobs", SMALL | {"width": 2048, "height": 2048, "steps": 1}, 201)["id"]
        fits = s.json("POST", "/api/v1/jobs", SMALL, 201)["id"]
        self.assertEqual(s.wait(fits)["state"], "done")  # though it stands behind
        told = s.json("GET", f"/api/v1/jobs/{large}")
        self.assertEqual(told["state"], "queued")
        self.assertIn("MiB", told["waits"])
        other = s.json("POST", "/api/v1/jobs", SMALL | {"model": "mini"}, 201)["id"]
        self.assertEqual(s.wait(other)["state"], "done")
        self.sql("UPDATE kadr.jobs SET created = created - 61000")  # a minute later
        told = s.wait(large)
        self.assertEqual(told["state"], "failed")
        self.assertIn("no worker can draw it", told["error"])
        self.assertIsNone(small.poll())
        status = pathlib.Path(f"/proc/{small.pid}/status")
        if status.exists():  # libpq and all, it has kept its promise
            peak = int(status.read_text().split("VmHWM:")[1].split()[0])
            self.assertLess(peak, 64 << 10)

    def test_signals_and_idleness(self):
        s = self.serve()
        w = self.work()
        job = s.json("POST", "/api/v1/jobs", SMALL | {"steps": 900, "width": 256, "height": 256}, 201)["id"]
        self.until(lambda: s.json("GET", f"/api/v1/jobs/{job}")["state"] == "running")
        self.assertEqual(self.end(w, signal.SIGTERM), 0)  # as Slurm does
        self.assertEqual(s.json("GET", f"/api/v1/jobs/{job}")["state"], "queued")  # at once, not after the lease
        s.json("POST", f"/api/v1/jobs/{job}/cancel", {})
        self.assertEqual(self.work("--idle", "1").wait(90), 0)

    def test_refusals(self):
        """What is wrong is told, with the right status, and without the password."""
        ask = lambda *a, **env: subprocess.run([KADR, *a], env=os.environ | self.env | env, capture_output=True, text=True, timeout=60)
        wrong = self.postgres.url(self.database, password="another-secret")
        for store, status, said in ((wrong, 5, "password authentication failed"), ("postgresql://h:another-secret@x@y/z", 2, "%40"),
                                    (self.postgres.url("nothing", password=None), 5, "does not exist"), ("/var/tmp", 2, "postgresql://"),
                                    ("postgresql://kadr:another-secret@127.0.0.1:1/x", 5, "Connection refused")):
            done = ask("work", KADR_STORE=store)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn(said, done.stderr)
            for secret in ("another-secret", "it's-a-secret", "it%27s"):
                self.assertNotIn(secret, done.stderr + done.stdout)
        self.serve().end()
        self.sql("UPDATE kadr.version SET number = 99")
        done = ask("work")
        self.assertEqual(done.returncode, 2)
        self.assertIn("newer kadr", done.stderr)

    def test_everybody_dies(self):
        """Workers are killed, the database is stopped without a warning: every panel is drawn once."""
        panels, workers, every, stops = (500, 4, 3.0, 5) if LONG else (24, 3, 0.7, 1)
        wish = {"width": 192, "height": 128, "steps": 2} if LONG else {"width": 96, "height": 96, "steps": 8}
        s = self.serve()
        ids = [s.json("POST", "/api/v1/jobs", wish | {"prompt": "a red fox", "seed": n % 10}, 201)["id"] for n in range(panels)]
        team = [self.work() for _ in range(workers)]
        lost, back = {}, []  # (part, attempt) -> job, when its worker was killed; seconds until somebody else had it
        began = next_kill = time.time()
        next_stop, kills, stopped = began + (2 if LONG else 1), 0, 0
        done = away = 0
        while done < panels or stopped < stops:
            self.assertLess(time.time() - began, 1500 if LONG else 240, (done, lost))
            now = time.time()
            if stopped < stops and now >= next_stop:
                self.postgres.stop("immediate")
                time.sleep(0.5)
                self.postgres.start()
                stopped += 1
                away = max(away, time.time() - now)
                next_stop = time.time() + (25 if LONG else 2)
            elif now >= next_kill and done < panels - workers:
                victim = team.pop(0)
                self.end(victim)
                kills += 1
                for part, attempt, job in self.sql("SELECT id, attempt, job FROM kadr.parts "
                                                   f"WHERE worker = '{victim.name}' AND lease IS NOT NULL"):
                    lost[int(part), int(attempt)] = job, now
                team.append(self.work())
                next_kill = max(next_kill + every, now + every / 2)
            there = {(int(p), int(a)) for p, a in self.sql("SELECT id, attempt FROM kadr.parts")}
            for gone in [k for k in lost if k not in there]:
                job, killed = lost.pop(gone)
                # By the database's clock: when the picture was there, or else when we saw that it is being drawn.
                drawn = self.sql(f"SELECT created FROM kadr.pictures WHERE job = {job}")
                back.append((int(drawn[0][0]) / 1000 if drawn else time.time()) - killed)
            done = int(self.sql("SELECT count(*) FROM kadr.jobs WHERE state = 'done'")[0][0])
            time.sleep(0.1)
        seconds = time.time() - began
        self.assertEqual(self.sql("SELECT state, count(*) FROM kadr.jobs GROUP BY 1"), [["done", str(panels)]])
        self.assertEqual(self.sql("SELECT count(*), count(DISTINCT job) FROM kadr.pictures"), [[str(panels)] * 2])
        self.assertEqual(self.sql("SELECT count(*) FROM kadr.files"), [[str(panels)]])
        self.assertEqual(self.sql("SELECT count(*) FROM kadr.parts"), [["0"]])
        # The same seed is the same picture, whoever drew it, and however often it was begun.
        seen = collections.defaultdict(set)
        for n, job in enumerate(ids):
            picture = s.json("GET", f"/api/v1/jobs/{job}")["pictures"][0]
            self.assertEqual(picture["seed"], n % 10)
            seen[n % 10].add(hashlib.sha256(s.ask("GET", f"/api/v1/pictures/{picture['id']}")[2]).hexdigest())
        self.assertEqual([len(v) for v in seen.values()], [1] * 10)
        self.assertEqual(len(set().union(*seen.values())), 10)
        self.assertGreaterEqual(kills, 1)
        self.assertEqual(stopped, stops)
        self.assertLessEqual(max(back, default=0), LEASE + 5 + away)
        attempts = int(self.sql("SELECT sum(attempt) FROM kadr.jobs")[0][0])
        print(sorted(round(b, 1) for b in back)[-8:])
        print(f"{panels} panels in {seconds:.0f} s: {kills} workers killed, database stopped {stopped} times, {attempts} attempts, "
              f"{len(back)} leases lost, the longest for {max(back, default=0):.1f} s, database away up to {away:.1f} s")


if __name__ == "__main__":
    unittest.main(verbosity=2)
