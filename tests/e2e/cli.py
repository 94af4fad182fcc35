"""The program as people and scripts use it: help, flags, configuration, files, pipes, Ctrl-C.

Needs only Python's standard library. KADR is the program, KADR_MODELS the folder of shipped models.
"""

import ctypes
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest
import xml.etree.ElementTree
import zlib

KADR = os.environ["KADR"]
COMMANDS = ["generate", "board", "tokens", "inspect", "plan", "bench", "doctor", "pack", "verify", "serve", "pull", "models", "config", "completion",
            "man", "help", "version"]


def can_load(library):
    try:
        return bool(ctypes.CDLL(library))
    except OSError:
        return False


def read_png(path):
    """Size, RGB bytes and texts of a PNG, every checksum checked."""
    data = pathlib.Path(path).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", path
    at, pixels, texts, size = 8, b"", {}, None
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0]
        at += 12 + length
        if kind == b"IHDR":
            size = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            pixels += body
        elif kind == b"tEXt":
            key, text = body.split(b"\0", 1)
            texts[key.decode("latin-1")] = text.decode("latin-1")
        elif kind == b"iTXt":
            key, rest = body.split(b"\0", 1)
            compressed, text = rest[0], rest[2:].split(b"\0", 2)[2]
            texts[key.decode("latin-1")] = (zlib.decompress(text) if compressed else text).decode()
    assert kind == b"IEND" and size[2:4] == (8, 2)
    width, height = size[:2]
    assert len(zlib.decompress(pixels)) == height * (1 + 3 * width)
    return width, height, zlib.decompress(pixels), texts


class Cli(unittest.TestCase):
    size = (96, 64) if "ASAN_OPTIONS" in os.environ else (192, 128)  # sanitized programs are slow

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kadr-cli-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("KADR")}
        for name in ("SANITIZER", "ASAN_OPTIONS", "UBSAN_OPTIONS"):
            if name in os.environ:
                self.environment[name] = os.environ[name]
        cache = pathlib.Path(tempfile.gettempdir()) / f"kadr-cache-{os.getpid()}"  # the machine is measured once
        self.environment |= {"HOME": str(self.folder), "XDG_CACHE_HOME": str(cache), "XDG_CONFIG_HOME": str(self.folder / "config"), "LC_ALL": "C.UTF-8"}

    def kadr(self, *arguments, status=0, **environment):
        done = subprocess.run(
            [KADR, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )
        self.assertEqual(done.returncode, status, f"{arguments}\n{done.stdout}\n{done.stderr}")
        return done

    def draw(self, *arguments, **more):
        """A picture in little time."""
        small = {"KADR_WIDTH": str(self.size[0]), "KADR_HEIGHT": str(self.size[1])}
        return self.kadr("generate", *arguments, "--steps", "2", **small, **more)


class Help(Cli):
    def test_every_command_has_help(self):
        overview = self.kadr("--help").stdout
        for name in COMMANDS:
            self.assertRegex(overview, rf"(?m)^  {name} ")
            text = self.kadr(name, "--help").stdout
            self.assertTrue(text.startswith(f"Usage: kadr {name}"))
            self.assertEqual(text, self.kadr("help", name).stdout)
            for line in text.splitlines():
                self.assertLessEqual(len(line), 80, line)
                self.assertEqual(line, line.rstrip())

    def test_flags_of_the_interface_are_there(self):
        text = self.kadr("generate", "--help").stdout
        for flag in """-m,--model -o,--output -W,--width -H,--height --aspect --steps --guidance --guidance-rescale
            --sampler --schedule --seed --rng --negative --count --clip-skip --precision --memory --vae --lora --embedding
            --init --strength --mask --threads --quiet --json --preset --noise --save-latents --save-embeds --from
            --preview --original-width --target-height --crop-top""".split():
            self.assertRegex(text, rf"(?m)^ +(-\w, )?{flag.replace(',', ', ')}\b")
        self.assertRegex(text, r"f32\|bf16\|int8\|auto")

    def test_version(self):
        self.assertRegex(self.kadr("--version").stdout, r"^kadr \d+\.\d+\.\d+\n$")
        self.assertEqual(self.kadr("version").stdout, self.kadr("--version").stdout)

    def test_manual_renders_without_warnings(self):
        page = self.kadr("man").stdout
        for name in COMMANDS:
            self.assertIn(f"kadr {name}", page)
        man = shutil.which("man")
        if not man:
            self.skipTest("no man here")
        (self.folder / "kadr.1").write_text(page)
        done = subprocess.run(
            [man, "--warnings", "-l", "kadr.1"], cwd=self.folder, capture_output=True, text=True, env=self.environment | {"MANWIDTH": "80"}
        )
        if "unrecognized option" in done.stderr or "illegal option" in done.stderr:
            self.skipTest("another man")
        self.assertEqual(done.stderr, "")
        for word in ("SYNOPSIS", "--guidance-rescale", "PRESETS", "EXIT STATUS", "130"):
            self.assertIn(word, re.sub("(.)\b", "", done.stdout))

    def test_completions_are_good_shell(self):
        for shell in ("bash", "zsh", "fish"):
            text = self.kadr("completion", shell).stdout
            self.assertIn("guidance", text)
            if shutil.which(shell):
                (self.folder / "completion").write_text(text)
                subprocess.run([shell, "-n", "completion"], cwd=self.folder, check=True)
        self.kadr("completion", "tcsh", status=2)

    @unittest.skipUnless(shutil.which("bash"), "no bash here")
    def test_bash_completes(self):
        (self.folder / "completion").write_text(self.kadr("completion", "bash").stdout)

        def complete(*words):
            script = 'source ./completion; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _kadr; printf "%s\\n" "${COMPREPLY[@]}"'
            done = subprocess.run(["bash", "-c", script, "bash", *words], cwd=self.folder, capture_output=True, text=True, check=True)
            return done.stdout.split()

        self.assertEqual(complete("kadr", "gen"), ["generate"])
        self.assertEqual(complete("kadr", "generate", "--guid"), ["--guidance", "--guidance-rescale", "--guidance-interval"])
        self.assertEqual(complete("kadr", "generate", "--precision", "b"), ["bf16"])
        self.assertEqual(complete("kadr", "tokens", "--pl"), ["--plain"])
        self.assertEqual(complete("kadr", "generate", "--pl"), [])


class Usage(Cli):
    def test_mistakes_are_told(self):
        for arguments, says in [
            ([], "expected a command"),
            (["generat", "x"], 'did you mean "generate"'),
            (["generate"], "expected a prompt"),
            (["generate", "a", "b"], "needs quotes"),
            (["generate", "x", "--widht", "8"], "did you mean --width"),
            (["generate", "x", "--plain"], "does not belong to `kadr generate`"),
            (["generate", "x", "--width"], "--width: expected PIXELS"),
            (["generate", "x", "--width=abc"], "--width: expected a whole number from 8 to 16384"),
            (["generate", "x", "-W", "100"], "width: expected a multiple of 8"),
            (["generate", "x", "--precision", "f16"], "f32|bf16|int8|auto"),
            (["generate", "x", "-Z"], "unknown option -Z"),
            (["generate", "x", "-qx"], "-q takes no value"),
            (["generate", "x", "-o", "x.jpg"], "ends in .png"),
            (["generate", "x", "--mask", "m.png"], "init"),
            (["generate", "x", "--prompt", "y"], "one prompt"),
            (["board"], "FILE after `kadr board`"),
            (["config", "sing"], "expected show, path or check"),
            (["help", "sing"], "unknown command"),
        ]:
            done = self.kadr(*arguments, status=2)
            self.assertIn(says, done.stderr)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_what_is_missing_has_its_status(self):
        self.assertIn("nowhere", self.kadr("generate", "x", "-m", "nowhere", status=3).stderr)
        self.assertIn("no/such", self.kadr("generate", "x", "-o", "no/such/x.png", status=5).stderr)
        self.assertIn("none.txt", self.kadr("board", "none.txt", status=5).stderr)
        self.assertIn("old.png", self.kadr("generate", "--from", "old.png", status=5).stderr)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_what_follows_two_dashes_is_an_argument(self):
        self.assertIn("--prompt", self.kadr("help", "--", "--prompt", status=2).stderr)


class Config(Cli):
    def show(self, *arguments, **more):
        return json.loads(self.kadr("config", "show", "--json", *arguments, **more).stdout)

    def test_every_value_has_its_place(self):
        (self.folder / "config/kadr").mkdir(parents=True)
        (self.folder / "config/kadr/kadr.ini").write_text("steps = 5\nguidance = 2\nseed = 1\n")
        (self.folder / "kadr.ini").write_text("; mine\nsteps = 6\nseed = 2\n[board]\nsteps = 9\n")
        shown = self.show("--seed", "4", "-W", "320", KADR_SEED="3", KADR_CLIP_SKIP="1")
        self.assertEqual(shown["seed"], {"value": "4", "from": "flag --seed"})
        self.assertEqual(shown["steps"], {"value": "6", "from": "kadr.ini:2"})
        self.assertEqual(shown["guidance"]["from"], f"{self.folder}/config/kadr/kadr.ini:2")
        self.assertEqual(shown["clip-skip"]["from"], "environment KADR_CLIP_SKIP")
        self.assertEqual(shown["width"], {"value": "320", "from": "flag --width"})
        self.assertEqual(shown["rng"]["from"], "fallback")
        self.assertEqual(shown["height"]["from"], "the model")
        paths = self.kadr("config", "path").stdout.splitlines()
        self.assertEqual(paths, ["kadr.ini", f"{self.folder}/config/kadr/kadr.ini"])

    def test_presets(self):
        for name, values in {
            "balanced": {"width": "768", "height": "768", "steps": "12", "guidance": "6.5", "identity-scale": "0.5"},
            "quality": {"width": "1024", "height": "1024", "steps": "20"},
            "fast": {"width": "768", "height": "768", "steps": "8"},
            "ultra-fast": {"width": "512", "height": "512", "guidance": "1"},
        }.items():
            shown = self.show("--preset", name)
            for key, value in values.items():
                self.assertEqual(shown[key], {"value": value, "from": f"preset {name}"})
        self.assertEqual(self.show("--preset", "quality", "--aspect", "1:1")["width"]["value"], "1024")
        wide = self.show("--preset", "balanced", "--aspect", "16:9")
        self.assertEqual((wide["width"]["value"], wide["height"]["value"]), ("1024", "576"))

    def test_show_for_people(self):
        text = self.kadr("config", "show", "--preset", "quality").stdout
        self.assertRegex(text, r"(?m)^  steps +20 +preset quality$")
        self.assertRegex(text, r"(?m)^  seed +random ")

    def test_check_names_the_place(self):
        (self.folder / "kadr.ini").write_text("steps = 6\n\nwidht = 8\n")
        for what in ("check", "show"):
            self.assertIn('kadr.ini:3: unknown key "widht", did you mean "width"?', self.kadr("config", what, status=2).stderr)
        (self.folder / "kadr.ini").write_text("width = wide\n")
        self.assertIn("kadr.ini:1: width: expected", self.kadr("config", "check", status=2).stderr)
        (self.folder / "kadr.ini").write_text("sampler = none-such\n")
        self.assertIn("none-such", self.kadr("config", "check", status=2).stderr)
        (self.folder / "kadr.ini").write_text("lora = none.safetensors:0.5\n")
        self.assertIn("none.safetensors", self.kadr("config", "check", status=5).stderr)
        (self.folder / "kadr.ini").unlink()
        self.assertIn("right", self.kadr("config", "check").stderr)
        self.assertIn("KADR_WIDHT", self.kadr("config", "check", KADR_WIDHT="8").stderr)


class Generate(Cli):
    def test_picture_and_what_is_beside_it(self):
        done = self.draw("a red fox", "-s", "5", "-o", "fox.png")
        self.assertEqual(done.stdout, "fox.png\n")
        self.assertNotIn("\r", done.stderr)
        self.assertNotIn("\033", done.stderr)
        width, height, pixels, texts = read_png(self.folder / "fox.png")
        self.assertGreater(len(set(pixels)), 8)
        settings = json.loads(texts["kadr"])
        self.assertEqual((settings["prompt"], settings["seed"], settings["steps"]), ("a red fox", 5, 2))
        self.assertEqual((settings["width"], settings["height"]), (width, height))
        self.assertEqual(settings["model"], "mini")
        self.assertTrue(texts["parameters"].startswith("a red fox\n"))
        self.assertRegex(texts["parameters"], rf"Steps: 2, .*Seed: 5, Size: {width}x{height}")
        self.assertNotIn(str(self.folder), "".join(texts.values()))
        sidecar = json.loads((self.folder / "fox.kadr.json").read_text())
        self.assertEqual(sidecar["settings"], settings)
        self.assertGreater(sidecar["report"]["seconds"], 0)
        self.assertGreater(sidecar["report"]["measured_peak_bytes"], 1 << 20)
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["fox.kadr.json", "fox.png"])

    def test_same_request_same_bytes(self):
        self.draw("a red fox", "--seed=5", "-o", "a.png", "-t", "1")
        self.draw("a red fox", "-s5", "-o", "b.png", "-t", "2")
        self.draw("a red fox", "-s6", "-o", "c.png")
        a, b, c = ((self.folder / f"{n}.png").read_bytes() for n in "abc")
        self.assertEqual(a, b)
        self.assertNotEqual(a, c)
        self.kadr("generate", "--from", "a.png", "-o", "d.png")
        self.assertEqual(a, (self.folder / "d.png").read_bytes())
        self.kadr("generate", "--from", "a.png", "-o", "e.png", "--seed", "6")
        self.assertEqual(c, (self.folder / "e.png").read_bytes())

    def test_names_never_overwrite(self):
        for expected in ("kadr-7.png", "kadr-7-2.png", "kadr-7-3.png"):
            self.assertEqual(self.draw("x", "-s", "7").stdout, expected + "\n")
        self.assertEqual(self.draw("x", "-s", "7", "-c", "2", "-o", "n.png").stdout, "n-1.png\nn-2.png\n")
        seeds = [json.loads(read_png(self.folder / f"n-{i}.png")[3]["kadr"])["seed"] for i in (1, 2)]
        self.assertEqual(seeds, [7, 8])
        (self.folder / "out").mkdir()
        self.assertEqual(self.draw("x", "-s", "7", "-o", "out").stdout, "out/kadr-7.png\n")

    def test_json_is_pure(self):
        done = self.draw("x", "--json", "-c", "2", "-s", "1")
        result = json.loads(done.stdout)
        self.assertEqual([p["picture"] for p in result["pictures"]], ["kadr-1.png", "kadr-2.png"])
        self.assertGreater(result["peak_bytes"], 1 << 20)
        self.assertGreater(result["seconds"], 0)
        self.assertEqual(self.draw("x", "--quiet", "-s", "9").stderr, "")

    def test_few_step_preset_warns(self):
        small = ("--preset", "ultra-fast", "-W", "64", "-H", "64")
        self.assertIn("few-step", self.draw("x", *small).stderr)
        self.assertNotIn("few-step", self.draw("x", "-p", "fast", "-W", "64", "-H", "64").stderr)

    def test_strange_prompts(self):
        for seed, prompt in enumerate(["", "лиса в снегу", "a (fox:1.3) BREAK [dog] \\(x\\)", "🦊" * 40, "-x", "a\nb"]):
            self.kadr("generate", "-s", seed, "--steps", "2", "-W", "96", "-H", "64", "--", prompt)
            texts = read_png(self.folder / f"kadr-{seed}.png")[3]
            self.assertEqual(json.loads(texts["kadr"])["prompt"], prompt)

    def test_init_and_mask(self):
        self.draw("x", "-s", "1", "-o", "a.png")
        self.draw("x", "-s", "2", "--init", "a.png", "--strength", "0.5", "-o", "b.png")
        self.draw("x", "-s", "2", "--init", "a.png", "--mask", "a.png", "-o", "c.png")
        for name in "bc":
            self.assertEqual(read_png(self.folder / f"{name}.png")[:2], read_png(self.folder / "a.png")[:2])
        self.assertIn("none.png", self.draw("x", "--init", "none.png", status=5).stderr)

    def test_too_little_memory_is_refused_before_drawing(self):
        done = self.kadr("generate", "x", "--memory", "64M", "-W", "2048", "-H", "2048", status=4)
        self.assertIn("MiB", done.stderr)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_unknown_sampler_lists_the_known(self):
        self.assertIn("euler", self.draw("x", "--sampler", "none-such", status=2).stderr)

    def test_models_are_listed(self):
        shutil.copytree(pathlib.Path(os.environ["KADR_MODELS"]) / "mini", self.folder / "data/kadr/models/own")
        (self.folder / "data/kadr/models/broken.safetensors").write_bytes(b"no")
        place = {"XDG_DATA_HOME": str(self.folder / "data"), "HF_HOME": str(self.folder / "hf")}
        listed = json.loads(self.kadr("models", "--json", **place).stdout)["models"]
        self.assertEqual([(m["name"], m["usable"]) for m in listed], [("mini", True), ("broken", False), ("own", True)])
        self.assertIn("broken.safetensors", listed[1]["why"])
        self.assertEqual({k: v for k, v in listed[0].items() if k in ("bytes", "kind", "width", "height")},
                         {k: v for k, v in listed[2].items() if k in ("bytes", "kind", "width", "height")})
        self.assertEqual(listed[2]["bytes"], sum(p.stat().st_size for p in (self.folder / "data/kadr/models/own").rglob("*") if p.is_file()))
        # What it needs is what a drawing gets along with. (A sanitized process is larger after it looked at models.)
        self.assertLess(listed[2]["least_bytes"], listed[2]["whole_bytes"])
        self.kadr("plan", "x", "-m", "own", "-M", str(listed[2]["least_bytes"] + (2 << 20)), **place)
        self.kadr("plan", "x", "-m", "own", "-M", str(listed[2]["least_bytes"] // 3), status=4, **place)
        table = self.kadr("models", **place).stdout
        self.assertRegex(table, r"own +diffusers folder +\S+ MiB +384x256 +\S+ MiB")
        self.assertIn("1 more that kadr cannot draw with", table)

    def test_full_standard_output_is_told(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        with open("/dev/full", "w") as full:
            done = subprocess.run([KADR, "help"], stdout=full, stderr=subprocess.PIPE, env=self.environment)
        self.assertEqual(done.returncode, 5)
        self.assertIn(b"standard output", done.stderr)


class Interrupt(Cli):
    def start(self, **more):
        program = subprocess.Popen(
            [KADR, "generate", "x", "--steps", "900", "-o", "x.png"], cwd=self.folder, env=self.environment, **more
        )
        self.addCleanup(program.kill)
        return program

    def test_ctrl_c_ends_within_a_second(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            program = self.start(stderr=subprocess.PIPE, stdout=subprocess.PIPE)
            time.sleep(2)
            self.assertIsNone(program.poll())
            began = time.monotonic()
            program.send_signal(number)
            said = program.communicate(timeout=60)[1]
            # The promise is a second; a loaded machine with sanitizers is given more.
            self.assertLess(time.monotonic() - began, 15)
            self.assertEqual(program.returncode, 130)
            self.assertIn(b"interrupted", said)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_progress_is_one_line_on_a_terminal(self):
        main, side = pty.openpty()
        self.environment["TERM"] = "xterm"
        program = self.start(stderr=side, stdout=subprocess.PIPE)
        os.close(side)
        said, until = b"", time.monotonic() + 60
        while said.count(b"step ") < 3 and time.monotonic() < until:
            said += os.read(main, 4096)
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=60)
        os.close(main)
        self.assertRegex(said.decode(), r"\r.*step \d+ of 900.*left\033\[K")


class Board(Cli):
    def setUp(self):
        super().setUp()
        self.environment |= {"KADR_WIDTH": str(self.size[0]), "KADR_HEIGHT": str(self.size[1])}

    def test_panels_sheet_and_summary(self):
        (self.folder / "story.txt").write_text("A red fox in a forest.\n\nA blue cat on a beach. [[seed: 70]]\n\n# note\nA dog at night.\n")
        done = self.kadr("board", "story.txt", "-s", "10", "--steps", "2")
        self.assertEqual(done.stdout.split(), [f"story-board/panel-00{i}.png" for i in (1, 2, 3)])
        board = self.folder / "story-board"
        names = sorted(p.name for p in board.iterdir())
        self.assertEqual(names, sorted(["board.json", "sheet.png"] + [f"panel-00{i}.{e}" for i in (1, 2, 3) for e in ("png", "kadr.json")]))
        settings = [json.loads(read_png(board / f"panel-00{i}.png")[3]["kadr"]) for i in (1, 2, 3)]
        self.assertEqual([s["seed"] for s in settings], [10, 70, 12])
        width, height = read_png(board / "sheet.png")[:2]
        self.assertGreater(width, settings[0]["width"])
        summary = json.loads((board / "board.json").read_text())
        self.assertEqual([p["url"] for p in summary["boards"]], [f"panel-00{i}.png" for i in (1, 2, 3)])
        self.assertIn("peak memory", done.stderr)
        self.kadr("generate", "--from", board / "panel-002.png", "-o", "again.png")
        self.assertEqual((self.folder / "again.png").read_bytes(), (board / "panel-002.png").read_bytes())
        # What did not change is not drawn again, what did becomes another version, and nothing is overwritten.
        before = {p.name: p.read_bytes() for p in board.glob("panel-*.png")}
        self.assertIn("nothing changed", self.kadr("board", "story.txt", "-s", "10", "--steps", "2").stderr)
        (self.folder / "story.txt").write_text("A red fox in a forest.\n\nA green cat on a beach. [[seed: 70]]\n\nA dog at night.\n")
        self.assertEqual(self.kadr("board", "draw", "story.txt", "-s", "10", "--steps", "2").stdout, "story-board/panel-002-v2.png\n")
        self.assertEqual({n: (board / n).read_bytes() for n in before}, before)
        # Another board's folder is left alone.
        (self.folder / "other").mkdir()
        (self.folder / "other/story.txt").write_text("A red fox.\n")
        (board / "board.json").write_text((board / "board.json").read_text().replace('"story.txt"', '"theirs.txt"'))
        self.assertIn("story-board-2/panel-001.png", self.kadr("board", "other/story.txt", "-s", "10", "--steps", "2").stdout)

    def test_versions_are_picked_and_revised(self):
        (self.folder / "story.fountain").write_text("Style: flat\n\nEXT. BEACH - DAY\n\nA red fox.\n\nA blue cat. [[number: 12A]]\n")
        self.assertEqual(self.kadr("board", "init", "story.fountain").stdout, "story.json\n")
        self.assertIn("story.json is there", self.kadr("board", "init", "story.fountain", status=2).stderr)
        told = self.kadr("board", "draw", "story.json", "-o", "out", "-s", "3", "--steps", "2").stdout
        self.assertEqual(told, "out/panel-001.png\nout/panel-012A.png\n")
        self.assertEqual(json.loads(read_png(self.folder / "out/panel-001.png")[3]["kadr"])["prompt"], "A red fox, beach, day, flat")
        # A panel put in does not change the others.
        story = json.loads((self.folder / "story.json").read_text())
        story["boards"].insert(0, {"number": "0A", "prompt": "a tree", "mine": 5})
        (self.folder / "story.json").write_text(json.dumps(story))
        self.assertEqual(self.kadr("board", "draw", "story.json", "-o", "out", "--steps", "2").stdout, "out/panel-000A.png\n")
        self.assertEqual(self.kadr("board", "revise", "out", "12A", "--seed", "9", "--steps", "2").stdout, "out/panel-012A-v2.png\n")
        self.kadr("board", "revise", "out", "1", "--strength", "0.5", "--prompt", "a green fox", "--steps", "2")
        self.assertIn("nothing changed", self.kadr("board", "draw", "out", "--steps", "2").stderr)
        self.kadr("board", "pick", "out", "12A", "v1")
        panel = json.loads((self.folder / "out/board.json").read_text())["boards"]
        self.assertEqual([p["url"] for p in panel], ["panel-000A.png", "panel-001-v2.png", "panel-012A.png"])
        self.assertEqual((panel[0]["mine"], panel[2]["approved"], panel[2]["seed"]), (5, 1, 9))
        self.assertIn("no version", self.kadr("board", "pick", "out", "12A", "v7", status=2).stderr)
        self.assertIn("number \"5\"", self.kadr("board", "draw", "out", "--panels", "5", status=2).stderr)
        # Drafts are half as large; the final pictures begin from them.
        size = ["-W", "256", "-H", "272", "--steps", "4"]
        self.kadr("board", "draw", "out", "--draft", "--panels", "0A", *size)
        self.assertEqual(read_png(self.folder / "out/panel-000A-v2.png")[:2], (128, 136))
        self.assertEqual(self.kadr("board", "draw", "out", "--final", "--strength", "0.5", *size).stdout, "out/panel-000A-v3.png\n")
        self.assertEqual(read_png(self.folder / "out/panel-000A-v3.png")[:2], (256, 272))
        # Too small to be halved.
        self.kadr("board", "draw", "out", "--draft", "--panels", "1", "-W", "248", "-H", "256", "--steps", "2")
        self.assertEqual(read_png(self.folder / "out/panel-001-v3.png")[:2], (248, 256))

    def test_a_killed_run_goes_on_with_the_same_bytes(self):
        (self.folder / "story.txt").write_text("\n\n".join(f"A red fox number {i}." for i in range(6)))
        whole = ["board", "story.txt", "-s", "10", "--steps", "4", "-t", "1"]
        self.kadr(*whole, "-o", "whole")
        for there in (0, 1, 3):
            program = subprocess.Popen([KADR, *whole, "-o", "cut"], cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while program.poll() is None and len(list(self.folder.glob("cut/*.png"))) < there:
                time.sleep(0.002)
            time.sleep(0.05)
            program.kill()
            program.wait()
        self.kadr(*whole, "-o", "cut")
        names = sorted(p.name for p in (self.folder / "whole").glob("*.png"))
        self.assertEqual(sorted(p.name for p in (self.folder / "cut").glob("*.png")), names)
        for name in names:
            self.assertEqual((self.folder / "cut" / name).read_bytes(), (self.folder / "whole" / name).read_bytes(), name)

    def test_mistakes_name_the_line_and_draw_nothing(self):
        (self.folder / "story.txt").write_text("A fox.\n\nA cat. [[steps: many]]\n")
        self.assertRegex(self.kadr("board", "story.txt", status=2).stderr, r"story\.txt:3")
        self.assertEqual([p.name for p in self.folder.iterdir()], ["story.txt"])


class Looking(Cli):
    def test_tokens(self):
        # Known from CLIP's vocabulary or the model's own: only the form is checked here.
        result = json.loads(self.kadr("tokens", "a (red:1.3) fox", "--json").stdout)
        self.assertEqual(len(result["encoders"]), 2)
        for encoder in result["encoders"]:
            self.assertEqual(len(encoder["ids"]), len(encoder["weights"]))
            self.assertIn(1.3, [round(w, 3) for w in encoder["weights"]])
        plain = json.loads(self.kadr("tokens", "a (red:1.3) fox", "--json", "--plain").stdout)
        self.assertGreater(len(plain["encoders"][0]["ids"]), len(result["encoders"][0]["ids"]))
        self.assertIn("encoder 1: 3 tokens", self.kadr("tokens", "a red fox").stdout)

    def test_inspect(self):
        model = json.loads(self.kadr("inspect", "mini", "--json").stdout)
        self.assertIn("unet", json.dumps(model))
        self.assertIn("unet", self.kadr("inspect", "mini").stdout)
        self.draw("a fox", "-s", "3", "-o", "a.png")
        self.assertIn("a fox", self.kadr("inspect", "a.png").stdout)
        json.loads(self.kadr("inspect", "a.png", "--json").stdout)
        self.kadr("inspect", "nothing-there", status=3)

    def test_plan(self):
        plan = json.loads(self.kadr("plan", "a fox", "--json").stdout)
        self.assertTrue(plan["fits"])
        self.assertEqual(plan["requests"][0]["alternatives"], [])
        self.assertIn("fits", self.kadr("plan", "a fox").stdout)

    def test_plan_that_does_not_fit_tells_what_would(self):
        small = json.loads(self.kadr("plan", "a fox", "-W", "1024", "-H", "512", "-M", "8M", "--json", status=4).stdout)
        memory = (small["requests"][0]["peak_bytes"] >> 20) + 8
        asked = ["a fox", "-W", "4096", "-H", "2048", "-M", f"{memory}M"]
        plan = json.loads(self.kadr("plan", *asked, "--json", status=4).stdout)
        self.assertFalse(plan["fits"])
        others = plan["requests"][0]["alternatives"]
        self.assertGreaterEqual(len(others), 2)
        for other in others:  # each can be pasted, and keeps its promise
            if "--memory" in other["options"] and "ASAN_OPTIONS" in os.environ:
                continue  # the sanitizer's own memory differs from run to run
            again = self.kadr("plan", *asked, *other["options"].split(), "--json").stdout
            self.assertTrue(json.loads(again)["fits"], other)
            self.assertLessEqual(other["peak_bytes"], other["memory_bytes"])
            if "--memory" not in other["options"]:
                self.assertIn(other["options"], self.kadr("generate", *asked, status=4).stderr)

    def test_plan_compares_and_draws(self):
        text = self.kadr("plan", "a fox", "--compare", "--svg", "plan.svg").stdout
        self.assertIn("all at once", text)
        tree = xml.etree.ElementTree.parse(self.folder / "plan.svg")
        titles = [t.text for t in tree.iter("{http://www.w3.org/2000/svg}title")]
        self.assertGreater(len(titles), 100)

    def test_doctor(self):
        report = json.loads(self.kadr("doctor", "--json").stdout)
        self.assertGreater(report["machine"]["f32_gflop_per_second"], 0)
        presets = {p["preset"]: p for p in report["presets"]}
        self.assertIn(report["recommended"], presets)
        self.assertGreater(presets["quality"]["seconds"], presets["balanced"]["seconds"])
        rows = {r["machine"]: r["preset"] for r in report["classes"]}
        self.assertEqual([rows[c] for c in ("8 GB", "16 GB", "24 GB")], ["balanced", "large", "quality"])
        self.assertIn("Recommended", self.kadr("doctor", "-m", "mini").stdout)

    def test_doctor_keeps_what_drawings_taught(self):
        """A correction is of the rates that it was learnt with: measuring again does not multiply the two."""
        self.kadr("doctor", "-m", "mini")
        machine = pathlib.Path(self.environment["XDG_CACHE_HOME"]) / "kadr" / "machine.json"
        known = json.loads(machine.read_text())
        known["f32 small"] |= {"product_flops": 1e9, "denoise": 2.0}
        machine.write_text(json.dumps(known))
        report = json.loads(self.kadr("doctor", "-m", "mini", "--json").stdout)
        self.assertGreater(report["machine"]["f32_gflop_per_second"], 1.5)
        self.assertEqual(json.loads(machine.read_text())["f32 small"], known["f32 small"])

    def test_blas(self):
        """A library for products in f32: refused by name, or told of; threads, budget and group do not change a bit."""
        for name, why in (("libnothing.so", "libnothing.so"), ("libm.so.6", "has no cblas_sgemm")):
            self.environment["KADR_BLAS"] = name
            self.assertIn(why, self.kadr("doctor", status=2).stderr)
        name = next((n for n in ("libopenblas.so.0", "libopenblas.dylib") if can_load(n)), None)
        if not name:
            self.skipTest("no OpenBLAS here")
        self.environment["KADR_BLAS"] = name
        report = json.loads(self.kadr("doctor", "--json").stdout)
        self.assertEqual(report["machine"]["multiplier"], name)
        self.assertIn(f"f32 products by {name}", self.kadr("doctor").stdout)
        drawn = []
        for options in ([], ["--threads", "1"], ["--threads", "3", "--memory", "60M", "--count", "2"]):
            self.draw("a fox", "-s", "3", "--precision", "f32", "-o", "a.png", *options)
            path = self.folder / "a.png"
            drawn.append(read_png(path if path.exists() else self.folder / "a-1.png")[2])
            for p in self.folder.glob("a*.png"):
                p.unlink()
        self.assertEqual(drawn[0], drawn[1])
        self.assertEqual(drawn[0], drawn[2])

    def test_bench(self):
        steps = json.loads(self.kadr("bench", "--step", "--steps", "3", "--json").stdout)
        self.assertEqual(len(steps["steps"]), 3)
        self.assertEqual(steps["seconds_per_step"], sorted(steps["steps"])[1])
        self.assertLessEqual(steps["tflop_per_step"], 1)
        kinds = {o["kind"]: o for o in steps["operations"]}
        self.assertTrue({"linear", "conv", "attention", "layer_norm"} <= set(kinds), kinds)
        self.assertAlmostEqual(sum(o["share"] for o in kinds.values()), 1)
        flops = sum(o["seconds"] * o.get("gflop_per_second", 0) for o in kinds.values())
        self.assertAlmostEqual(flops / 1e3 / steps["tflop_per_step"], 1, 2)
        mean = sum(steps["steps"]) / len(steps["steps"])
        self.assertLessEqual(sum(o["seconds"] for o in kinds.values()), mean)
        small = ["bench", "--steps", "1", "-W", "96", "-H", "64"]
        whole = json.loads(self.kadr(*small, "--json").stdout)
        self.assertTrue(whole["one_seconds"] > 0 and whole["six_seconds"] > 0, whole)
        self.assertIn("6 pictures", self.kadr(*small).stdout)

    def refuses_3x3_in_int8(self):
        """So packed files were before: nothing is drawn from one."""
        data, name = (self.folder / "mini.kadr").read_bytes(), b"unet.down_blocks.0.resnets.0.conv1.weight"
        item = name + rb'\":{\"form\":\"panels\",\"dtype\":\"'
        self.assertEqual(data.count(item + b"bf16"), 1)
        (self.folder / "old.kadr").write_bytes(data.replace(item + b"bf16", item + b"int8"))
        error = self.kadr("generate", "a fox", "-m", "old.kadr", "-o", "old.png", status=3).stderr
        self.assertRegex(error, rf"old\.kadr: {name.decode()} is packed in int8, .*pack the model again")
        self.assertFalse((self.folder / "old.png").exists())

    def test_packed_model_draws_the_same(self):
        model = pathlib.Path(os.environ["KADR_MODELS"]) / "mini"
        size = {}
        for weights, precision in (("int8", "int8"), ("f16", "f32"), ("f32", "f32")):
            self.kadr("pack", model, "-o", "mini.kadr", "--weights", weights)
            size[weights] = (self.folder / "mini.kadr").stat().st_size
            self.kadr("verify", "mini.kadr")
            self.draw("a fox", "-s", "3", "-o", "a.png", "--precision", precision)
            self.draw("a fox", "-s", "3", "-o", "b.png", "-m", "mini.kadr")
            self.assertEqual(read_png(self.folder / "a.png")[2], read_png(self.folder / "b.png")[2], weights)
            if weights == "int8":
                self.refuses_3x3_in_int8()
        self.assertLess(size["f16"], 0.62 * size["f32"])  # small tensors fill pages of 4096 bytes, too
        data = bytearray((self.folder / "mini.kadr").read_bytes())
        data[len(data) // 2] ^= 1
        (self.folder / "mini.kadr").write_bytes(data)
        self.assertIn("mini.kadr", self.kadr("verify", "mini.kadr", status=3).stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
