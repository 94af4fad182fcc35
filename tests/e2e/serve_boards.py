"""Boards, casts and models over HTTP: written, planned, drawn, revised, exported; nothing is drawn twice or lost.

Needs only Python's standard library; pdftotext checks pages where it is installed.
"""

import http.client
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
import unittest
import xml.etree.ElementTree

import postgres
from serve import Server

KADR = os.environ["KADR"]
MODELS = pathlib.Path(os.environ["KADR_MODELS"])
SCRIPT = "A fox in the snow.\n\nThe fox looks at the moon. [[shot: close-up; duration: 1.5]]\n\nMorning. The fox sleeps.\n"
SMALL = {"width": 64, "height": 64, "steps": 2}


class Boards(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kadr-boards-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def start(self, *flags):
        server = Server(self.folder, *flags)
        self.addCleanup(server.end, signal.SIGKILL)
        return server

    def board(self, s, script=SCRIPT, overrides=None):
        made = s.json("POST", "/api/v1/boards", {"title": "Лиса & moon", "script": script}, 201)
        s.json("PATCH", f"/api/v1/boards/{made['id']}", {"overrides": overrides or SMALL})
        return f"/api/v1/boards/{made['id']}"

    def draw(self, s, path, **wish):
        jobs = s.json("POST", path + "/draw", wish, 201)["jobs"]
        for job in jobs:
            found = s.wait(job)
            self.assertEqual(found["state"], "done", found)
        return len(jobs)

    def panels(self, s, path):
        return s.json("GET", path)["board"]["boards"]

    def test_only_what_changed_is_drawn(self):
        s = self.start()
        path = self.board(s)
        panels = self.panels(s, path)
        self.assertEqual([p["number"] for p in panels], ["1", "2", "3"])
        self.assertEqual((panels[1]["shot"], panels[1]["duration"]), ("close-up", 1500))
        plan = s.json("POST", path + "/plan", {})
        self.assertTrue(plan["fits"])
        self.assertEqual(plan["panels"], [p["uid"] for p in panels])
        self.assertGreater(plan["peak_bytes"], 1 << 20)
        self.assertEqual(self.draw(s, path), 3)
        self.assertEqual(self.draw(s, path), 0)
        self.assertEqual(s.json("POST", path + "/plan", {})["panels"], [])
        before = self.panels(s, path)
        second = f"{path}/panels/{before[1]['uid']}"
        s.json("PATCH", second, {"prompt": "a blue fox", "dialogue": "FOX: Hello", "notes": None})
        self.assertEqual(s.json("POST", path + "/plan", {})["panels"], [before[1]["uid"]])
        self.assertEqual(self.draw(s, path), 1)
        after = self.panels(s, path)
        self.assertEqual(after[0], before[0])
        self.assertEqual([len(p["versions"]) for p in after], [1, 2, 1])
        self.assertEqual(after[1]["picture"], after[1]["versions"][1]["picture"])
        s.json("POST", second + "/pick", {"picture": after[1]["versions"][0]["picture"]})
        self.assertEqual(self.panels(s, path)[1]["picture"], after[1]["versions"][0]["picture"])
        # What only stands beside the picture changes nothing of it.
        s.json("PATCH", second, {"duration": 3000})
        self.assertEqual(self.draw(s, path), 0)
        self.assertEqual(s.end(), 0)

    def test_the_same_as_the_program_draws(self):
        """The panels of a server's board have the bytes that `kadr board` gives the same board."""
        s = self.start()
        path = self.board(s)
        self.draw(s, path)
        board = s.json("GET", path)["board"]
        drawn = [s.ask("GET", f"/api/v1/pictures/{panel['picture']}")[2] for panel in board["boards"]]
        self.assertEqual(self.program(board), drawn)
        self.assertEqual(s.end(), 0)

    def program(self, board, *flags, out="out", **env):
        """The pictures that `kadr board` draws of that board, which has none yet."""
        bare = json.loads(json.dumps(board))
        for panel in bare["boards"]:
            panel.pop("versions", None)
        (self.folder / "story.json").write_text(json.dumps(bare))
        done = subprocess.run([KADR, "board", "story.json", "-q", "-o", out, *flags], cwd=self.folder, capture_output=True, text=True,
                              env=os.environ | {"HOME": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "cache")} | env)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [(self.folder / out / f"panel-{n + 1:03}.png").read_bytes() for n in range(len(board["boards"]))]

    def test_shapes_are_those_of_the_program(self):
        """What nobody said is usual for a board there and here; what was said for all, or for one panel, counts the same."""
        size = lambda png: (int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big"))
        s, own = self.start(), ({}, {"width": 128, "height": 96}, {"aspect": "1:1"}, {"width": 192})
        for n, (overrides, wish, flags, sizes) in enumerate((
                ({}, {}, (), [(384, 256), (128, 96), (312, 312), (192, 256)]),
                ({"aspect": "16:9"}, {}, (), [(416, 232), (128, 96), (312, 312), (192, 112)]),
                ({"width": 288, "height": 256, "aspect": "1:1"}, {"draft": True}, ("--draft",), [(144, 128), (128, 96), (136, 136), (192, 256)]))):
            made = s.json("POST", "/api/v1/boards", {"script": "A fox.\n\nAn owl.\n\nA cat.\n\nA bear.\n"}, 201)
            path = f"/api/v1/boards/{made['id']}"
            s.json("PATCH", path, {"overrides": {"steps": 1} | overrides})
            for panel, said in zip(self.panels(s, path), own):
                s.json("PATCH", f"{path}/panels/{panel['uid']}", {"overrides": said})
            self.draw(s, path, **wish)
            board = s.json("GET", path)["board"]
            drawn = [s.ask("GET", f"/api/v1/pictures/{panel['picture']}")[2] for panel in board["boards"]]
            self.assertEqual([size(png) for png in drawn], sizes, overrides)
            self.assertEqual(self.program(board, *flags, out=f"out{n}"), drawn, overrides)
        self.assertEqual(s.end(), 0)
        # Where the configuration has a shape, that one; and what it has for boards is for the server's, too.
        (self.folder / "kadr.ini").write_text("aspect = 4:3\n[board]\nsteps = 1\n[generate]\nsteps = 2\n")
        s = self.start()
        path = f"/api/v1/boards/{s.json('POST', '/api/v1/boards', {'script': 'A fox.'}, 201)['id']}"
        self.draw(s, path)
        board = s.json("GET", path)["board"]
        drawn = [s.ask("GET", f"/api/v1/pictures/{panel['picture']}")[2] for panel in board["boards"]]
        self.assertEqual([size(png) for png in drawn], [(360, 272)])
        self.assertEqual(s.json("GET", "/api/v1/pictures")["pictures"][0]["settings"]["steps"], 1)
        self.assertEqual(self.program(board, out="out9"), drawn)
        self.assertEqual(s.end(), 0)

    def pixels(self, png):
        at, idat = 8, b""
        while at < len(png):
            size = int.from_bytes(png[at:at + 4], "big")
            idat += png[at + 8:at + 8 + size] if png[at + 4:at + 8] == b"IDAT" else b""
            at += size + 12
        return idat

    def test_finals_begin_from_latents(self):
        """As `kadr board draw --final` draws them; where a draft has lost its latents, from its picture, and it is said."""
        s = self.start()
        path = self.board(s, "A fox.\n\nAn owl.\n\nA cat.\n", SMALL | {"steps": 8})
        self.draw(s, path, draft=True)
        self.draw(s, path, final=True, panels=[p["uid"] for p in self.panels(s, path)[:2]])
        panels = self.panels(s, path)
        self.assertEqual([[v.get("draft", False) for v in p["versions"]] for p in panels], [[True, False]] * 2 + [[True]])
        board = s.json("GET", path)["board"]
        for panel in board["boards"]:
            panel.pop("versions")
        (self.folder / "story.json").write_text(json.dumps(board))
        for how in ("--draft", "--final"):
            subprocess.run([KADR, "board", "draw", "story.json", "-q", "-o", "out", how], cwd=self.folder, check=True, capture_output=True,
                           env=os.environ | {"HOME": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "cache")})
        for n in range(2):
            drawn = s.ask("GET", f"/api/v1/pictures/{panels[n]['picture']}")[2]
            self.assertEqual(self.pixels(drawn), self.pixels((self.folder / "out" / f"panel-{n + 1:03}-v2.png").read_bytes()), n)
        draft = panels[2]["picture"]
        self.assertEqual(s.json("GET", f"/api/v1/pictures?limit=1")["pictures"][0]["settings"]["init"], f"latents:{panels[1]['versions'][0]['picture']}")
        for wrong in (f"latents:{panels[1]['picture']}", "latents:", "latents:../1", "latents:99"):
            self.assertEqual(s.ask("POST", "/api/v1/jobs", {"prompt": "x", "init": wrong} | SMALL)[0], 400, wrong)
        self.lose_latents(s, draft)
        told = s.json("POST", path + "/draw", {"final": True}, 201)
        self.assertEqual(len(told["jobs"]), 1)
        self.assertIn("panel 3", told["notes"][0])
        done = s.wait(told["jobs"][0])
        self.assertEqual((done["state"], done["pictures"][0]["settings"]["init"]), ("done", draft), done)
        s.json("DELETE", f"/api/v1/pictures/{panels[0]['versions'][0]['picture']}")
        self.assertEqual(s.ask("POST", "/api/v1/jobs", {"prompt": "x", "init": f"latents:{panels[0]['versions'][0]['picture']}"} | SMALL)[0], 400)
        self.assertEqual(s.end(), 0)

    def lose_latents(self, s, picture):
        files = list((self.folder / "data/kadr/serve/latents").iterdir())
        self.assertEqual(len(files), 3)
        job = next(p for p in s.json("GET", "/api/v1/pictures")["pictures"] if p["id"] == picture)["job"]
        next(f for f in files if f.name.startswith(f"{job}-")).unlink()

    def test_panels_are_put_in_moved_and_taken_out(self):
        s = self.start()
        path = self.board(s)
        uids = [p["uid"] for p in self.panels(s, path)]
        self.draw(s, path)
        new = s.json("POST", path + "/panels", {"panel": {"prompt": "an owl"}, "before": uids[1]}, 201)["panel"]
        self.assertEqual(new["number"], "1A")
        last = s.json("POST", path + "/panels", {}, 201)["panel"]
        self.assertEqual(last["number"], "4")
        s.json("POST", f"{path}/panels/{uids[0]}/move", {"before": None})
        s.json("DELETE", f"{path}/panels/{uids[2]}")
        self.assertEqual([p["number"] for p in self.panels(s, path)], ["1A", "2", "4", "1"])
        # Numbers may become whole again; what is drawn stays as it is drawn.
        s.json("POST", path + "/renumber", {})
        panels = self.panels(s, path)
        self.assertEqual([p["number"] for p in panels], ["1", "2", "3", "4"])
        self.assertEqual(s.json("POST", path + "/plan", {})["panels"], [new["uid"]])
        # Another script: panels of the same number keep their pictures.
        s.json("POST", path + "/script", {"script": "An owl.\n\nA fox.\n"})
        board = s.json("GET", path)["board"]
        self.assertEqual([(p["number"], len(p.get("versions", []))) for p in board["boards"]], [("1", 0), ("2", 1)])
        self.assertIn(uids[0], [p["uid"] for p in board["removed"]])
        s.json("DELETE", path)
        s.json("GET", path, expect=404)
        self.assertEqual(s.json("GET", "/api/v1/boards")["boards"], [])
        self.assertEqual(len(s.json("GET", "/api/v1/pictures")["pictures"]), 3)
        self.assertEqual(s.end(), 0)

    def test_revised(self):
        s = self.start()
        path = self.board(s, "A fox.\n\nAn owl.\n")
        self.draw(s, path, draft=True)
        first = self.panels(s, path)[0]
        self.assertTrue(first["versions"][0]["draft"])
        self.assertEqual(self.draw(s, path, final=True), 2)
        panel = self.panels(s, path)[0]
        self.assertEqual(panel["versions"][1]["from"], first["picture"])
        where = f"{path}/panels/{panel['uid']}/revise"
        white = s.ask("GET", f"/api/v1/pictures/{panel['picture']}")[2]
        mask = json.loads(s.ask("POST", "/api/v1/uploads", white, {"Content-Type": "image/png"})[2])["id"]
        s.wait(s.json("POST", where, {"strength": 0.5, "mask": mask}, 201)["jobs"][0])
        s.wait(s.json("POST", where, {"seed": 99}, 201)["jobs"][0])
        panel = self.panels(s, path)[0]
        self.assertEqual([v.get("from") for v in panel["versions"]],
                         [None, first["picture"], panel["versions"][1]["picture"], None])
        self.assertEqual((panel["versions"][3]["seed"], panel["seed"]), (99, 99))
        self.assertEqual(panel["versions"][2]["mask"], mask)
        s.json("POST", where, {"strength": 0.5, "mask": "0" * 32}, 400)
        self.assertEqual(self.draw(s, path), 0)
        self.assertEqual(s.end(), 0)

    def test_a_kill_loses_nothing(self):
        s = self.start()
        path = self.board(s, "\n\n".join(f"Fox {n}." for n in range(6)), SMALL | {"steps": 6})
        jobs = s.json("POST", path + "/draw", {}, 201)["jobs"]
        s.wait(jobs[1])
        s.json("PATCH", f"{path}/panels/{self.panels(s, path)[0]['uid']}", {"notes": "kept"})
        s.end(signal.SIGKILL)
        s = self.start()
        self.assertEqual(s.json("POST", path + "/draw", {}, 201)["jobs"], [])
        for job in jobs:
            self.assertEqual(s.wait(job)["state"], "done")
        panels = self.panels(s, path)
        self.assertEqual([len(p["versions"]) for p in panels], [1] * 6)
        self.assertEqual(panels[0]["notes"], "kept")
        self.assertEqual(s.end(), 0)

    def first_step(self, s):
        """The first step of a picture that this server told of."""
        connection = http.client.HTTPConnection("127.0.0.1", s.port, timeout=120)
        self.addCleanup(connection.close)
        connection.request("GET", "/api/v1/events", headers={"Last-Event-ID": "0"})
        with connection.getresponse() as stream:
            for line in stream:
                if line.startswith(b"data: ") and b'"denoise"' in line and (step := json.loads(line[6:])["step"]):
                    return step
        return None

    def test_a_killed_picture_goes_on_where_it_was(self):
        s = self.start()
        states = self.folder / "data/kadr/serve/states"
        wish = {"prompt": "a fox", "seed": 5, "width": 192, "height": 128, "steps": 20, "sampler": "euler_a"}

        def begin():
            """Whether its state is kept before it is done."""
            job = s.json("POST", "/api/v1/jobs", wish, 201)["id"]
            while not (states / f"{job}.checkpoint").exists():
                if s.json("GET", f"/api/v1/jobs/{job}")["state"] == "done":
                    return None
                time.sleep(0.02)
            return job
        while not (job := begin()):  # so many steps that there is time to kill it
            wish["steps"] = min(2 * wish["steps"], 999)
        wish["steps"] = min(2 * wish["steps"], 999)
        # One that is given up leaves nothing.
        s.json("POST", f"/api/v1/jobs/{job}/cancel", {})
        s.wait(s.json("POST", "/api/v1/jobs", {"prompt": "x"} | SMALL, 201)["id"])
        self.assertEqual(list(states.iterdir()), [])
        pictures = []
        for number in (signal.SIGKILL, signal.SIGTERM, None):
            if number:
                job = begin()
                s.end(number)
                self.assertEqual([f.name for f in states.iterdir()], [f"{job}.checkpoint"])
                s = self.start()
                self.assertGreater(self.first_step(s), 1)
            else:  # at one go
                job = s.json("POST", "/api/v1/jobs", wish, 201)["id"]
            done = s.wait(job)
            self.assertEqual((done["state"], list(states.iterdir())), ("done", []))
            pictures.append(s.ask("GET", f"/api/v1/pictures/{done['pictures'][0]['id']}")[2])
        self.assertEqual(pictures[:2], pictures[2:] * 2)
        self.assertEqual(s.end(), 0)

    def slow_disk(self, s):
        """The machine's speed as kadr has it, with a disk so slow that drawing together pays."""
        path = self.folder / "cache/kadr/machine.json"
        done = s.wait(s.json("POST", "/api/v1/jobs", {"prompt": "x"} | SMALL, 201)["id"])
        if done["state"] == "failed" and "takes at least" in done["error"]:  # what is built with sanitizers takes more
            self.skipTest("does not fit into so little memory")
        s.end()
        known = json.loads(path.read_text()) | {"read_packed": 2e6, "read_converted": 2e6}
        path.write_text(json.dumps(known))

    def read_by(self, s):
        return int(pathlib.Path(f"/proc/{s.process.pid}/io").read_text().split()[1])

    def test_panels_are_drawn_together(self):
        """Where weights are read again in every step, six panels cost one reading; each is a job of its own still."""
        self.slow_disk(self.start("-M", "50M"))
        s = self.start("-M", "50M")
        path = self.board(s, "\n\n".join(f"Fox {n}." for n in range(6)))
        before = self.read_by(s) if os.path.exists("/proc/self/io") else None
        jobs = s.json("POST", path + "/draw", {}, 201)["jobs"]
        done = [s.wait(job) for job in jobs]
        self.assertEqual([j["state"] for j in done], ["done"] * 6)
        together = self.read_by(s) - before if before else 0
        pictures = [s.ask("GET", f"/api/v1/pictures/{j['pictures'][0]['id']}")[2] for j in done]
        # The bytes of each are those that it has when it is drawn alone.
        for n in (0, 5):
            before = self.read_by(s) if before else None
            alone = s.wait(s.json("POST", "/api/v1/jobs", done[n]["request"], 201)["id"])
            self.assertEqual(s.ask("GET", f"/api/v1/pictures/{alone['pictures'][0]['id']}")[2], pictures[n])
        if before:
            self.assertLess(together, 3 * (self.read_by(s) - before))
        self.assertEqual(s.end(), 0)

    def test_cancelled_and_killed_together(self):
        """One of those that are drawn together drops out; a kill loses none of the others."""
        self.slow_disk(self.start("-M", "50M"))
        s = self.start("-M", "50M", "--rate", "0")
        path = self.board(s, "\n\n".join(f"Fox {n}." for n in range(6)), SMALL | {"steps": 60})
        jobs = s.json("POST", path + "/draw", {}, 201)["jobs"]
        states = lambda: [s.json("GET", f"/api/v1/jobs/{j}")["state"] for j in jobs]
        end = time.time() + 120
        while states() != ["running"] * 6:
            self.assertLess(time.time(), end, states())
            time.sleep(0.05)
        while s.ask("GET", f"/api/v1/jobs/{jobs[4]}/preview")[0] != 200:
            self.assertLess(time.time(), end)
            time.sleep(0.05)
        seen = [s.ask("GET", f"/api/v1/jobs/{j}/preview")[2] for j in jobs]
        self.assertGreater(len(set(seen)), 3)  # each its own
        s.json("POST", f"/api/v1/jobs/{jobs[1]}/cancel", {})
        self.assertEqual(states()[0], "running")
        s.end(signal.SIGKILL)
        s = self.start("-M", "50M", "--rate", "0")
        self.assertEqual([s.wait(j)["state"] for j in jobs], ["done", "cancelled"] + ["done"] * 4)
        self.assertEqual([len(p.get("versions", [])) for p in self.panels(s, path)], [1, 0, 1, 1, 1, 1])
        # All are cancelled: the drawing ends.
        jobs = s.json("POST", path + "/draw", {}, 201)["jobs"]
        self.assertEqual(len(jobs), 1)
        s.json("PATCH", path, {"overrides": SMALL | {"steps": 999, "seed": 3, "width": 192, "height": 192}})
        jobs = s.json("POST", path + "/draw", {}, 201)["jobs"]
        end = time.time() + 120
        while "running" not in states():
            self.assertLess(time.time(), end)
            time.sleep(0.05)
        for j in jobs:
            s.json("POST", f"/api/v1/jobs/{j}/cancel", {})
        begun = time.time()
        s.wait(s.json("POST", "/api/v1/jobs", {"prompt": "x"} | SMALL, 201)["id"])
        self.assertLess(time.time() - begun, 120)  # all steps would take longer
        self.assertEqual(s.end(), 0)

    def test_one_of_them_fails(self):
        """Those beside it are drawn, and it says why."""
        self.slow_disk(self.start("-M", "50M"))
        s = self.start("-M", "50M")
        picture = (MODELS.parent / "examples" / "mira.png").read_bytes()
        ref = json.loads(s.ask("POST", "/api/v1/uploads", picture, {"Content-Type": "image/png"})[2])["id"]
        s.wait(s.json("POST", "/api/v1/casts", {"name": "mira", "references": [ref]}, 201)["id"])
        path = self.board(s, "A fox.\n\nAn owl.\n\nA cat.\n")
        long = s.json("POST", "/api/v1/jobs", {"prompt": "x"} | SMALL | {"steps": 50}, 201)["id"]
        s.json("PATCH", f"{path}/panels/{self.panels(s, path)[1]['uid']}", {"cast": ["mira"]})
        jobs = s.json("POST", path + "/draw", {}, 201)["jobs"]
        s.json("DELETE", "/api/v1/casts/mira")
        self.assertEqual(s.wait(long)["state"], "done")
        done = [s.wait(j) for j in jobs]
        self.assertEqual([j["state"] for j in done], ["done", "failed", "done"])
        self.assertIn("mira", done[1]["error"])
        self.assertEqual(s.end(), 0)

    def test_casts(self):
        s = self.start()
        picture = (MODELS.parent / "examples" / "mira.png").read_bytes()
        ref = json.loads(s.ask("POST", "/api/v1/uploads", picture, {"Content-Type": "image/png"})[2])["id"]
        job = s.json("POST", "/api/v1/casts", {"name": "Мира", "references": [ref]}, 201)
        done = s.wait(job["id"])
        self.assertEqual(done["state"], "done", done)
        self.assertEqual([c["name"] for c in s.json("GET", "/api/v1/casts")["casts"]], ["Мира"])
        self.assertEqual(s.ask("GET", "/api/v1/casts/%D0%9C%D0%B8%D1%80%D0%B0/thumbnail")[2][:4], b"\x89PNG")
        s.json("POST", "/api/v1/casts", {"name": "Мира", "references": [ref]}, 400)
        path = self.board(s, "A fox.\n\nAn owl.\n")
        uid = self.panels(s, path)[0]["uid"]
        self.draw(s, path)
        s.json("PATCH", f"{path}/panels/{uid}", {"cast": ["Мира:0.7@left"]})
        self.assertEqual(s.json("POST", path + "/plan", {})["panels"], [uid])
        self.assertEqual(self.draw(s, path), 1)
        settings = s.json("GET", "/api/v1/pictures")["pictures"][0]["settings"]
        self.assertEqual(settings["cast"], ["Мира:0.7@left"])
        # The cast plays: without it the same panel is another picture.
        one = self.panels(s, path)[0]["versions"]
        self.assertNotEqual(*(s.ask("GET", f"/api/v1/pictures/{v['picture']}")[2] for v in one))
        for bad in (["/etc/passwd"], ["../x"], ["a.cast"], ["Мира@mask.png"], ["Мира@/etc/passwd"], "Мира", [7]):
            status = s.ask("POST", "/api/v1/jobs", {"prompt": "x", "cast": bad})[0]
            self.assertEqual(status, 400, bad)
        s.json("POST", "/api/v1/jobs", {"prompt": "x", "cast": ["nobody"]} | SMALL, 201)
        s.json("DELETE", "/api/v1/casts/%D0%9C%D0%B8%D1%80%D0%B0")
        self.assertEqual(s.json("GET", "/api/v1/casts")["casts"], [])
        self.assertEqual(s.end(), 0)

    def test_casts_that_the_program_made(self):
        """What `kadr cast add` put into the server's folder is a character like others; a broken file is told."""
        s = self.start()
        folder = self.folder / "data/kadr/serve/casts"
        subprocess.run([KADR, "cast", "add", "мира", MODELS.parent / "examples" / "mira.png", "--cast-folder", folder, "-q"], check=True,
                       capture_output=True, env=os.environ | {"HOME": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "cache")})
        whole, name = (folder / "мира.cast").read_bytes(), "%D0%BC%D0%B8%D1%80%D0%B0"
        for file, data in (("text.cast", b"no cast"), ("half.cast", whole[:len(whole) // 2]), ("empty.cast", b""), ("a b.cast", whole),
                           ("мира.txt", whole), (".cast", whole)):
            (folder / file).write_bytes(data)
        (folder / "folder.cast").mkdir()
        casts = {c["name"]: c for c in s.json("GET", "/api/v1/casts")["casts"]}
        self.assertEqual(sorted(casts), ["empty", "folder", "half", "text", "мира"])
        self.assertEqual([n for n, c in casts.items() if "error" not in c], ["мира"])
        self.assertLess(abs(casts["мира"]["changed"] / 1000 - time.time()), 3600)
        self.assertNotIn(str(self.folder), json.dumps(casts))
        self.assertEqual(s.ask("GET", f"/api/v1/casts/{name}/thumbnail")[2][:4], b"\x89PNG")
        for broken in ("text", "half", "empty", "folder"):
            self.assertEqual(s.ask("GET", f"/api/v1/casts/{broken}/thumbnail")[0], 404, broken)
        # The name is taken.
        picture = (MODELS.parent / "examples" / "mira.png").read_bytes()
        ref = json.loads(s.ask("POST", "/api/v1/uploads", picture, {"Content-Type": "image/png"})[2])["id"]
        s.json("POST", "/api/v1/casts", {"name": "мира", "references": [ref]}, 400)
        path = self.board(s, "A fox.\n\nAn owl.\n")
        first, second = (p["uid"] for p in self.panels(s, path))
        s.json("PATCH", f"{path}/panels/{first}", {"cast": ["мира@left"]})
        self.assertEqual(self.draw(s, path), 2)
        s.json("PATCH", f"{path}/panels/{second}", {"cast": ["half"]})
        job = s.wait(s.json("POST", path + "/draw", {}, 201)["jobs"][0])
        told = json.loads(s.ask("POST", "/api/v1/plan", SMALL | {"prompt": "x", "cast": ["half"]})[2])["error"]["message"]
        self.assertEqual((job["state"], job["error"], told[:17]), ("failed", told, "casts/half.cast: "))
        for gone in (name, "text"):
            s.json("DELETE", f"/api/v1/casts/{gone}")
            s.json("DELETE", f"/api/v1/casts/{gone}", expect=404)
        self.assertFalse((folder / "мира.cast").exists())
        self.assertEqual(sorted(c["name"] for c in s.json("GET", "/api/v1/casts")["casts"]), ["empty", "folder", "half"])
        self.assertTrue((folder / "a b.cast").exists())
        # One that was made here, and whose file is gone, says so.
        s.wait(s.json("POST", "/api/v1/casts", {"name": "bo", "references": [ref]}, 201)["id"])
        self.assertNotIn("error", s.json("GET", "/api/v1/casts")["casts"][0])
        (folder / "bo.cast").unlink()
        self.assertIn("error", s.json("GET", "/api/v1/casts")["casts"][0])
        self.assertEqual(s.end(), 0)

    def test_exports(self):
        s = self.start()
        path = self.board(s)
        self.draw(s, path)
        got = {}
        for kind in ("pdf", "sheet", "webp", "srt", "edl", "fcpxml", "otio", "storyboarder", "html"):
            status, headers, got[kind] = s.ask("GET", f"{path}/export?format={kind}", timeout=120)
            self.assertEqual(status, 200, (kind, got[kind][:300]))
            self.assertIn("attachment; filename*=UTF-8''%D0%9B%D0%B8%D1%81%D0%B0%20%26%20moon.", headers["Content-Disposition"])
        self.assertEqual((got["pdf"][:5], got["sheet"][:4], got["webp"][:4]), (b"%PDF-", b"\x89PNG", b"RIFF"))
        if shutil.which("pdftotext"):
            text = subprocess.run(["pdftotext", "-", "-"], input=got["pdf"], check=True, capture_output=True).stdout.decode()
            self.assertIn("The fox looks at the moon.", text)
        self.assertEqual(len(json.loads(got["storyboarder"])["boards"]), 3)
        xml.etree.ElementTree.fromstring(got["fcpxml"])
        # Nobody learns where this server keeps its files; beside the timelines in the archive lie their pictures.
        self.assertNotIn(str(self.folder).encode(), b"".join(got.values()))
        with tarfile.open(fileobj=io.BytesIO(s.ask("GET", path + "/export?format=all", timeout=120)[2])) as archive:
            archive.extractall(self.folder / "taken")
        taken = self.folder / "taken/board-1"
        self.assertEqual(sorted(p.name for p in taken.iterdir()), ["board.edl", "board.fcpxml", "board.json", "board.otio", "board.pdf",
                                                                   "board.srt", "board.storyboarder", "images"])
        for panel in s.json("GET", path)["board"]["boards"]:
            self.assertEqual((taken / "images" / panel["url"]).read_bytes(), s.ask("GET", f"/api/v1/pictures/{panel['picture']}")[2])
        clips = [c["media_references"]["DEFAULT_MEDIA"]["target_url"] for c in json.loads((taken / "board.otio").read_text())["tracks"]["children"][0]["children"]]
        self.assertEqual([(taken / c).is_file() for c in clips], [True] * 3)
        self.assertEqual([(taken / "images" / b["url"]).is_file() for b in json.loads((taken / "board.storyboarder").read_text())["boards"]], [True] * 3)
        subprocess.run([KADR, "board", "export", taken, "--sheet", "-q"], check=True, capture_output=True)
        self.assertEqual(list(self.folder.glob("**/exports/*")), [])
        for bad in ("", "?format=exe", "?format=pdf&paper=a5", "?format=pdf&layout=2x", "?format=../x"):
            self.assertEqual(s.ask("GET", path + "/export" + bad)[0], 400, bad)
        self.assertEqual(s.end(), 0)

    def test_models(self):
        s = self.start()
        told = s.json("GET", "/api/v1/models")
        self.assertEqual((told["model"], told["models"][0]["name"]), ("mini", "mini"))
        self.assertGreater(told["models"][0]["least_bytes"], 1 << 20)
        self.assertNotIn("path", told["models"][0])
        s.json("POST", "/api/v1/models/choose", {"model": "nobody/nothing"}, 404)
        # Another model, used without a new start.
        other = self.folder / "data/kadr/models/other"
        shutil.copytree(MODELS / "mini", other)
        self.assertEqual([m["name"] for m in s.json("GET", "/api/v1/models")["models"]], ["mini", "other"])
        s.json("POST", "/api/v1/models/choose", {"model": "other"})
        job = s.json("POST", "/api/v1/jobs", {"prompt": "a fox"} | SMALL, 201)
        self.assertEqual(s.wait(job["id"])["pictures"][0]["settings"]["model"], "other")
        self.assertEqual(s.end(), 0)
        s = self.start()
        self.assertEqual(s.json("GET", "/api/v1/models")["model"], "other")
        s.json("POST", "/api/v1/models/choose", {"model": None})
        self.assertEqual(s.json("GET", "/api/v1/models")["model"], "mini")
        self.assertIn("presets", s.json("GET", "/api/v1/doctor"))
        self.assertEqual(s.json("POST", "/api/v1/pulls", {"name": "no name"}, 201)["state"], "queued")
        end = time.time() + 120
        while s.json("GET", "/api/v1/pulls")["pulls"][0]["state"] in ("queued", "running"):
            self.assertLess(time.time(), end)
            time.sleep(0.05)
        pull = s.json("GET", "/api/v1/pulls")["pulls"][0]
        self.assertEqual(pull["state"], "failed", pull)
        self.assertIn("OWNER/NAME", pull["error"])
        self.assertNotIn("seconds_left", pull)  # which nobody knows
        self.assertEqual(s.end(), 0)

    def test_more_panels_than_may_wait(self):
        """All or none; what was drawn before counts no more."""
        s = self.start()
        path = self.board(s, "\n\n".join(f"Fox {n}." for n in range(501)))
        status, headers, body = s.ask("POST", path + "/draw", {})
        self.assertEqual((status, headers["Retry-After"]), (429, "1"))
        self.assertIn("these 501 there would be more than 500: draw fewer panels", json.loads(body)["error"]["message"])
        self.assertEqual(s.json("GET", "/api/v1/jobs")["jobs"], [])
        panels = [p["uid"] for p in self.panels(s, path)]
        self.assertEqual(len(s.json("POST", path + "/draw", {"panels": panels[:3]}, 201)["jobs"]), 3)
        s.end(signal.SIGKILL)

    def test_refused(self):
        s = self.start()
        path = self.board(s)
        uid = self.panels(s, path)[0]["uid"]
        for method, where, body, status in (
                ("POST", "/api/v1/boards", {"script": 5}, 400), ("POST", "/api/v1/boards", {"script": ""}, 400),
                ("POST", "/api/v1/boards", {"board": {"boards": []}}, 400), ("POST", "/api/v1/boards", {"board": 7}, 400),
                ("PATCH", path, {"what": 1}, 400), ("PATCH", path, {"title": 5}, 400),
                ("PATCH", path, {"overrides": {"lora": ["/etc/passwd"]}}, 404), ("PATCH", path, {"overrides": {"vae": "x"}}, 400),
                ("PATCH", path, {"overrides": {"model": "/etc/passwd"}}, 400), ("PATCH", path, {"fps": -1}, 400),
                ("PATCH", path + "/panels/" + uid, {"duration": -1}, 400), ("PATCH", path + "/panels/" + uid, {"number": "2"}, 400),
                ("PATCH", path + "/panels/" + uid, {"url": "../x"}, 400), ("PATCH", path + "/panels/XXXXX", {}, 404),
                ("PATCH", path + "/panels/..%2Fx", {}, 404), ("POST", path + "/panels", {"before": "XXXXX"}, 400),
                ("POST", path + "/draw", {"panels": ["XXXXX"]}, 400), ("POST", path + "/draw", {"draft": 1}, 400),
                ("POST", path + "/draw", {"panels": 7}, 400), ("POST", path + "/draw", {"panel": [uid]}, 400),
                ("PATCH", path + "/panels/" + uid, {"cast": ["a", 5]}, 400), ("PATCH", path, {"overrides": {"steps": 2.5}}, 400),
                ("PATCH", path, {"overrides": {"steps": 1000}}, 400), ("PATCH", path, {"overrides": {"sampler": "magic"}}, 400), ("POST", "/api/v1/models/choose", {}, 400), ("POST", path + "/draw", {"draft": True, "final": True}, 400),
                ("POST", f"{path}/panels/{uid}/pick", {"picture": 77}, 400), ("GET", "/api/v1/boards/77", None, 404),
                ("POST", f"{path}/panels/{uid}/revise", {"strength": 0.5}, 400), ("POST", "/api/v1/boards/77/draw", {}, 404),
                ("POST", "/api/v1/casts", {"name": "../x", "references": []}, 400), ("GET", "/api/v1/casts/x/thumbnail", None, 404),
                ("POST", "/api/v1/casts", {"name": "x", "references": ["/etc/passwd"]}, 400), ("DELETE", "/api/v1/casts/x", None, 404)):
            got, _, data = s.ask(method, where, body)
            self.assertEqual(got, status, (method, where, body, data))
            self.assertIn("message", json.loads(data)["error"])
        self.assertEqual([p["number"] for p in self.panels(s, path)], ["1", "2", "3"])
        said = json.loads(s.ask("POST", path + "/panels", {"panel": {"cast": ["a", 5]}})[2])["error"]["message"]
        self.assertEqual(said, "panel.cast[1]: expected string")
        # A panel that names nobody's cast is told by its number, and nothing is drawn.
        s.json("PATCH", path + "/panels/" + uid, {"cast": ["nobody"]})
        status, _, data = s.ask("POST", path + "/draw", {})
        self.assertEqual(status, 400, data)
        self.assertIn("panel 1: cast nobody", json.loads(data)["error"]["message"])
        # So are settings that only together are wrong.
        s.json("PATCH", path + "/panels/" + uid, {"cast": None})
        s.json("PATCH", path, {"overrides": {"sampler": "lcm", "steps": 51}})
        for what in ("/plan", "/draw"):
            status, _, data = s.ask("POST", path + what, {})
            self.assertEqual((status, json.loads(data)["error"]["message"]), (400, "panel 1: steps: expected 1 to 50 with sampler lcm, got 51"))
        self.assertEqual(s.json("GET", "/api/v1/jobs")["jobs"], [])
        self.assertEqual(s.end(), 0)


@unittest.skipUnless(os.environ.get("KADR_LONG") and postgres.programs(), "the same on PostgreSQL: with KADR_LONG=1, where it is installed")
class OnPostgres(Boards):
    """The same in a store of many machines."""

    @classmethod
    def setUpClass(cls):
        cls.database, cls.number = postgres.Postgres(), 0
        cls.addClassCleanup(cls.database.close)

    def setUp(self):
        super().setUp()
        type(self).number += 1
        self.database.sql(f"CREATE DATABASE boards{self.number}")

    test_a_killed_picture_goes_on_where_it_was = None  # there it begins anew
    test_casts_that_the_program_made = None  # files travel through the database: there is no such folder

    def start(self, *flags):
        return super().start("--store", self.database.url(f"boards{self.number}"), *flags)

    def lose_latents(self, s, picture):
        self.database.sql(f"DELETE FROM kadr.files WHERE name = (SELECT replace('latents/' || file, '.png', '.safetensors') "
                          f"FROM kadr.pictures WHERE id = {picture})", f"boards{self.number}")


if __name__ == "__main__":
    unittest.main()
