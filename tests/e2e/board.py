"""Boards as people work on them: killed in the middle of a panel and continued, casts that change or are missing,
drafts that are finished, characters that drift.

Needs only Python's standard library. KADR is the program, KADR_TEST_DATA the folder of test data.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

KADR = os.environ["KADR"]
PICTURES = pathlib.Path(os.environ["KADR_TEST_DATA"]) / "golden" / "mini" / "pictures"


class Board(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kadr-board-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.environment = os.environ | {"HOME": str(self.folder), "KADR_CAST_FOLDER": str(self.folder / "casts"),
                                         "XDG_CACHE_HOME": str(self.folder / "cache"), "LC_ALL": "C.UTF-8"}

    def kadr(self, *arguments, status=0):
        done = subprocess.run([KADR, *map(str, arguments)], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=240)
        self.assertEqual(done.returncode, status, f"{arguments}\n{done.stdout}\n{done.stderr}")
        return done

    def draw(self, board, *more, width=96, height=64, steps=2, status=0):
        return self.kadr("board", "draw", board, "-W", width, "-H", height, "--steps", steps, "-q", *more, status=status)

    def script(self, text, name="story.fountain"):
        (self.folder / name).write_text(text)
        return name

    def panels(self, folder):
        return json.loads((self.folder / folder / "board.json").read_text())["boards"]

    def cast(self, name, picture="init.png", *more):
        self.kadr("cast", "add", name, PICTURES / picture, "-q", *more)

    # ---- Together
    def test_panels_that_are_drawn_together_have_their_own_words(self):
        """Where reading weights is what takes the time, panels are drawn together, to the bytes that each has alone."""
        words = ["A fox in the forest.", "A cat on the beach (at night:1.3).", "Two owls."]
        script = self.script("\n\n".join(words), "story.txt")
        self.draw(script, "-s", 7, "-o", "alone")
        machine = self.folder / "cache/kadr/machine.json"
        machine.write_text(json.dumps(json.loads(machine.read_text()) | {"read_packed": 2e6, "read_converted": 2e6}))
        size = ["-W", 96, "-H", 64, "--steps", 2, "-M", "26M"]
        plan = json.loads(self.kadr("plan", "A fox", *size, "--count", 3, "--json").stdout)["requests"][0]
        self.assertEqual(plan["together"], 3)
        self.draw(script, "-s", 7, "-M", "26M", "-o", "together")
        for n in range(3):
            name = f"panel-{n + 1:03}.png"
            self.assertEqual((self.folder / "together" / name).read_bytes(), (self.folder / "alone" / name).read_bytes(), name)
        self.assertEqual(len({(self.folder / "alone" / f"panel-{n + 1:03}.png").read_bytes() for n in range(3)}), 3)

    # ---- Cut off
    def test_killed_within_a_panel_goes_on_to_the_same_bytes(self):
        script = self.script("A fox in the forest.\n\nA cat on the beach.\n", "story.txt")
        # Long enough for a second checkpoint behind the first: they are made once a second.
        size = {"width": 384, "height": 256, "steps": 96}
        self.draw(script, "-s", 7, "--sampler", "euler_a", "--precision", "f32", "-o", "whole", **size)
        command = [KADR, "board", script, "-o", "cut", "-W", "384", "-H", "256", "--steps", "96", "--precision", "f32", "-s", "7",
                   "--sampler", "euler_a", "-q"]
        for _ in range(2):  # within the first panel, and again where it had come to
            process = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL)
            state = self.folder / "cut" / "panel-001.checkpoint"
            before, end = state.stat().st_mtime_ns if state.exists() else 0, time.monotonic() + 120
            while time.monotonic() < end and process.poll() is None:
                if state.exists() and state.stat().st_mtime_ns != before:
                    break
                time.sleep(0.01)
            self.assertIsNone(process.poll(), "it was to be killed within the panel")
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.assertTrue(state.exists())
            self.assertFalse((self.folder / "cut" / "panel-001.png").exists())
        self.draw(script, "-s", 7, "--sampler", "euler_a", "--precision", "f32", "-o", "cut", **size)
        for name in ("panel-001.png", "panel-002.png"):
            self.assertEqual((self.folder / "cut" / name).read_bytes(), (self.folder / "whole" / name).read_bytes())
        self.assertEqual([f.name for f in (self.folder / "cut").iterdir() if f.suffix in (".checkpoint", ".part")], [])

    def test_a_damaged_or_strange_checkpoint_is_as_none(self):
        options = ["generate", "a fox", "-W", "96", "-H", "64", "--steps", "3", "--seed", "5", "-q"]
        self.kadr(*options, "-o", "a.png")
        for content in (b"", b"kadr checkpoint\0" + bytes(200), os.urandom(5000)):
            (self.folder / "state").write_bytes(content)
            self.kadr(*options, "-o", "b.png", "--checkpoint", "state")
            self.assertEqual((self.folder / "a.png").read_bytes(), (self.folder / "b.png").read_bytes())
            self.assertFalse((self.folder / "state").exists())
            (self.folder / "b.png").unlink()

    # ---- Casts
    def test_another_cast_of_that_name_is_another_content(self):
        script = self.script("EXT. BEACH - DAY\n\nThe character waves. [[cast: ANNA]]\n\nThe sea.\n")
        self.cast("anna")
        self.draw(script, "-s", 3, "-o", "out")
        self.draw(script, "-s", 3, "-o", "out")
        self.assertEqual([len(p["versions"]) for p in self.panels("out")], [1, 1])
        self.kadr("cast", "remove", "anna")
        self.cast("anna", "plain_0.png")
        self.draw(script, "-s", 3, "-o", "out")
        self.assertEqual([len(p["versions"]) for p in self.panels("out")], [2, 1])

    def test_a_missing_cast_draws_nothing(self):
        script = self.script("EXT. BEACH - DAY\n\nThe sea.\n\nThe character waves. [[cast: BOB]]\n")
        done = self.draw(script, "-o", "out", status=2)
        self.assertRegex(done.stderr, r"panel 2: .*bob|panel 2: .*BOB")
        self.assertFalse((self.folder / "out").exists())

    def test_a_character_that_drifted_is_drawn_again(self):
        script = self.script("EXT. BEACH - DAY\n\nThe character waves. [[cast: anna]]\n\nThe sea.\n")
        self.cast("anna", "init.png", "--drift-threshold", "0.99")
        done = self.draw(script, "-s", 3, "-o", "out", "--retry-drift", "2", "--json")
        panels = self.panels("out")
        versions = panels[0]["versions"]
        self.assertEqual([len(p["versions"]) for p in panels], [3, 1])
        self.assertEqual(len(json.loads(done.stdout)["pictures"]), 4)
        self.assertTrue(all(v["drifted"] for v in versions))
        self.assertEqual(len({v["seed"] for v in versions}), 3)
        best = max(versions, key=lambda v: v["likeness"])
        self.assertEqual(panels[0]["url"], best["url"])
        self.assertNotIn("likeness", panels[1]["versions"][0])
        self.draw(script, "-s", 3, "-o", "out", "--retry-drift", "2")  # the content is drawn
        self.assertEqual([len(p["versions"]) for p in self.panels("out")], [3, 1])

    # ---- Draft and final
    def test_final_begins_from_the_draft(self):
        script = self.script("A fox in the forest.\n\nA cat on the beach.\n", "story.txt")
        size = {"width": 256, "height": 256, "steps": 4}
        self.draw(script, "-s", 3, "-o", "out", "--draft", **size)
        self.draw(script, "-s", 3, "-o", "out", "--final", "--strength", "0.5", "--panels", "1", **size)
        first, second = self.panels("out")
        self.assertEqual([v["width"] for v in first["versions"]], [128, 256])
        draft, final = first["versions"]
        self.assertEqual((draft["draft"], draft["latents"]), (True, "panel-001.safetensors"))
        self.assertEqual((final["from"], first["url"]), ("panel-001.png", final["url"]))
        settings = json.loads(self.kadr("inspect", self.folder / "out" / final["url"], "--json").stdout)
        self.assertIn("panel-001.safetensors", json.dumps(settings))
        self.assertEqual(len(second["versions"]), 1)
        (self.folder / "out" / second["versions"][0]["latents"]).unlink()  # then its picture serves
        self.draw(script, "-s", 3, "-o", "out", "--final", "--panels", "2", **size)
        self.assertEqual(len(self.panels("out")[1]["versions"]), 2)

    def test_latents_that_are_none_are_refused(self):
        (self.folder / "x.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
        done = self.kadr("generate", "a fox", "--init", "x.safetensors", "-o", "x.png", "-W", 96, "-H", 64, status=2)
        self.assertIn('expected a tensor "latents"', done.stderr)
        self.assertFalse((self.folder / "x.png").exists())


if __name__ == "__main__":
    unittest.main()
