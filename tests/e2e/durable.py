"""What kadr serve was told and what it drew survives it: killed at every call that writes, at any moment, with a full
disk, a read-only one, a locked database.

Needs strace for the first, and leave to mount a small file system (as root, or in a namespace of its own) for full and
read-only disks; what is not there is skipped. KADR_LONG=1: every call, 200 moments.
"""

import errno
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
import unittest

from serve import Server

KADR = os.environ["KADR"]
TINY = pathlib.Path(os.environ["KADR_TEST_DATA"]) / "models/micro"
LONG = "KADR_LONG" in os.environ
SMALL = {"prompt": "a red fox", "width": 64, "height": 64, "steps": 2, "seed": 5}
CALLS = "write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,ftruncate"
FAILURES = (OSError, AssertionError, json.JSONDecodeError)  # of a server that is being killed


def can_trace():
    return bool(shutil.which("strace")) and subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode == 0


class Base(unittest.TestCase):
    """A server's folder, and what must be true of it."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kadr-durable-", dir="/var/tmp"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.store = self.folder / "store"
        self.kept = {}  # what was seen done: job -> its pictures
        self.first = None

    def start(self):
        s = Server(self.folder, "-m", str(TINY), "--store", str(self.store), "--rate", "0")
        self.addCleanup(s.end, signal.SIGKILL)
        return s

    def submit(self, s, count=1):
        return s.json("POST", "/api/v1/jobs", SMALL | {"count": count}, 201)["id"]

    def settle(self, s, accepted=()):
        """Waits until the queue is empty, and looks through all that was ever drawn."""
        end = time.time() + 120
        while True:
            jobs = s.json("GET", "/api/v1/jobs?limit=500")["jobs"]
            if all(j["state"] not in ("queued", "running") for j in jobs):
                break
            self.assertLess(time.time(), end, [j for j in jobs if j["state"] in ("queued", "running")][:3])
            time.sleep(0.02)
        there = {j["id"]: j for j in jobs}
        self.assertEqual({j["state"] for j in jobs} - {"done"}, set(), jobs[:3])
        self.assertLessEqual(set(accepted), set(there))
        files = set()
        for j in jobs:
            pictures = [(p["id"], p["number"], p["seed"]) for p in j["pictures"]]
            self.assertEqual([p[1:] for p in pictures], [(n, 5 + n) for n in range(j["count"])])
            self.assertEqual(self.kept.setdefault(j["id"], pictures), pictures)  # once seen, they stay
        with sqlite3.connect(f"file:{self.store}/kadr.db?mode=ro", uri=True) as db:
            self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            self.assertEqual(db.execute("SELECT count(*) FROM parts").fetchall(), [(0,)])
            for name, number in db.execute("SELECT file, number FROM pictures"):
                files.add(name)
                digest = hashlib.sha256((self.store / "pictures" / name).read_bytes()).hexdigest()
                if number == 0:  # the same request is the same file, however often it was begun
                    self.first = self.first or digest
                    self.assertEqual(digest, self.first, name)
        db.close()
        return files


class Killed(Base):
    def thread(self, s, name):
        end = time.time() + 30
        while time.time() < end:  # it says its name when it begins to run
            for task in pathlib.Path(f"/proc/{s.process.pid}/task").iterdir():
                if (task / "comm").read_text().strip() == name:
                    return task.name
            time.sleep(0.01)
        self.fail(f"no thread {name}")

    def trace(self, s, name, *flags):
        """strace at one thread of the server; it has begun."""
        log = self.folder / "trace"
        tracer = subprocess.Popen(["strace", "-p", self.thread(s, name), "-o", str(log), "-e", f"trace={CALLS}", *flags],
                                  stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.let_go, tracer)
        self.assertIn("attached", tracer.stderr.readline())
        return tracer, log

    def let_go(self, tracer):
        if tracer.poll() is None:
            tracer.terminate()
        tracer.wait(10)
        tracer.stderr.close()

    @unittest.skipUnless(can_trace(), "strace is not there, or may not trace")
    def test_killed_at_every_call(self):
        s = self.start()
        s.wait(self.submit(s))
        totals = {}
        for name in ("kadr-desk", "kadr-draw"):  # which take the job in, and draw it
            tracer, log = self.trace(s, name)
            s.wait(self.submit(s))
            self.settle(s)
            self.let_go(tracer)
            totals[name] = sum(line.startswith(tuple(CALLS.split(","))) for line in log.read_text().splitlines())
        self.assertGreater(totals["kadr-desk"], 3)
        self.assertGreater(totals["kadr-draw"], 12)
        killed, accepted_all = dict.fromkeys(totals, 0), 0
        for name, total in totals.items():
            for n in range(1, total + 1, 1 if LONG else 1 + total // 5):
                tracer, _ = self.trace(s, name, "-e", f"inject={CALLS}:signal=SIGKILL:when={n}")
                accepted = []
                try:
                    accepted.append(self.submit(s))
                    s.wait(accepted[0])
                    time.sleep(0.1)
                except FAILURES:
                    pass
                self.let_go(tracer)
                killed[name] += s.process.poll() == -signal.SIGKILL
                accepted_all += len(accepted)
                s.end(signal.SIGKILL)
                s = self.start()
                files = self.settle(s, accepted)
        # A sweep at the start deletes what a kill left, and nothing else.
        self.assertEqual(s.end(), 0)
        s = self.start()
        self.assertEqual({p.name for p in (self.store / "pictures").iterdir()}, files)
        # Some calls are not made for every job: those of a checkpoint.
        self.assertGreater(sum(killed.values()), 0.5 * (sum(totals.values()) if LONG else 10))
        print(f"killed at {killed} of {totals} calls; {accepted_all} jobs were accepted, {len(self.kept)} are there")

    def test_killed_at_any_moment(self):
        rounds, chance, accepted = 200 if LONG else 6, random.Random(7), []
        for _ in range(rounds):
            s = self.start()
            end = time.time() + chance.uniform(0, 0.5)
            try:
                for _ in range(2):  # there is always something to be killed
                    accepted.append(self.submit(s, chance.randint(1, 3)))
                    time.sleep(max(0, end - time.time()) * chance.random())
                time.sleep(max(0, end - time.time()))
            except FAILURES:
                pass
            s.end(signal.SIGKILL)
        s = self.start()
        self.settle(s, accepted)
        # In the order in which they were asked for.
        jobs = {j["id"]: j["finished"] for j in s.json("GET", "/api/v1/jobs?limit=500")["jobs"]}
        ends = [jobs[i] for i in sorted(jobs)]
        self.assertEqual(ends, sorted(ends))
        print(f"killed {rounds} times, {len(accepted)} jobs")

    def test_a_locked_database(self):
        """By another program, for longer than is waited for: the client is told, what is being drawn waits."""
        seconds, status, said = (13, 503, b"locked") if LONG else (1.5, 201, b"queued")
        s = self.start()
        job = self.submit(s, 3)
        db = sqlite3.connect(self.store / "kadr.db", isolation_level=None, timeout=30, check_same_thread=False)
        db.execute("BEGIN IMMEDIATE")
        release = threading.Timer(seconds, db.execute, ["COMMIT"])
        release.start()
        got, _, body = s.ask("POST", "/api/v1/jobs", SMALL)
        self.assertEqual(got, status, body)
        self.assertIn(said, body)
        release.join()
        db.close()
        self.assertEqual(s.wait(job)["state"], "done")
        self.settle(s, [job])


class SmallDisk(Base):
    """A disk of 3 MiB, mounted for the server alone."""

    def mounted(self, options, command):
        self.store.mkdir(exist_ok=True)
        own = ["unshare", "-m"] if os.getuid() == 0 else ["unshare", "-rm"]
        return [*own, "sh", "-c", f'mount -t tmpfs -o {options} none "{self.store}" && exec "$@"', "sh", *command]

    def setUp(self):
        super().setUp()
        if not shutil.which("unshare") or subprocess.run(self.mounted("size=1m", ["true"]), capture_output=True).returncode:
            self.skipTest("no leave to mount")

    def test_a_full_disk(self):
        s = Server(self.folder, "-m", str(TINY), "--store", str(self.store), prefix=self.mounted("size=3m", []))
        self.addCleanup(s.end, signal.SIGKILL)
        inside = pathlib.Path(f"/proc/{s.process.pid}/root{self.store}")
        self.assertEqual(s.wait(self.submit(s))["state"], "done")

        def fill():
            with open(inside / "filler", "wb", buffering=0) as f:
                try:
                    while True:
                        f.write(b"x" * 4096)
                except OSError as e:
                    self.assertEqual(e.errno, errno.ENOSPC)
        waiting = self.submit(s, 60)
        while len(s.json("GET", f"/api/v1/jobs/{waiting}")["pictures"]) < 3:
            time.sleep(0.01)
        fill()
        told = []
        for _ in range(5):
            status, _, body = s.ask("POST", "/api/v1/jobs", SMALL)
            told.append((status, body.decode()))
        self.assertEqual(s.ask("GET", "/api/v1/health")[0], 200)
        for status, body in told:
            self.assertTrue(status == 201 or (status == 503 and "full" in body), body)
        time.sleep(1)
        (inside / "filler").unlink()
        found = s.wait(waiting)
        if found["state"] == "failed":
            self.assertRegex(found["error"], "No space left|full")
        accepted = [json.loads(body)["id"] for status, body in told if status == 201]
        for job in accepted:
            found = s.wait(job)
            self.assertTrue(found["state"] == "done" or "No space left" in found["error"] or "full" in found["error"], found)
        self.assertEqual(s.wait(self.submit(s))["state"], "done")  # and goes on
        for j in s.json("GET", "/api/v1/jobs")["jobs"]:
            for p in j["pictures"]:
                status, _, png = s.ask("GET", f"/api/v1/pictures/{p['id']}")
                self.assertEqual((status, png[:4], png[-8:-4]), (200, b"\x89PNG", b"IEND"))
        copy = self.folder / "copy.db"
        for end in ("", "-wal"):
            if (inside / ("kadr.db" + end)).exists():
                copy.with_name(copy.name + end).write_bytes((inside / ("kadr.db" + end)).read_bytes())
        with sqlite3.connect(copy) as db:
            self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        db.close()

    def test_a_read_only_disk(self):
        done = subprocess.run(self.mounted("ro,size=1m", [KADR, "serve", "--port", "0", "--store", str(self.store)]),
                              capture_output=True, text=True, timeout=60, env=os.environ | {"HOME": str(self.folder)})
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertIn("Read-only file system", done.stderr)
        self.assertIn(str(self.store), done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
