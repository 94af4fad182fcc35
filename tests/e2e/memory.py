"""The memory promise, from outside: for many settings the plan's peak P holds the measured peak and is tight,
P - max(10 %, 16 MiB) <= measured <= P <= SIZE, and the budget never changes a pixel. Every setting, identity lock on
and off among them, is drawn without a limit, with a roomy one, and with the least that the plan says is enough, and
where a memory cgroup can be made (as root) inside one of exactly that size, without swap: nothing is killed, and what
the group's processes hold stays below.

Needs only Python's standard library. KADR is the program, KADR_TEST_DATA the folder of test data. What is true of a model
of SDXL's size is looked at in memory_full.py.
"""

import ctypes
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import zlib

KADR = os.environ["KADR"]
DATA = pathlib.Path(os.environ["KADR_TEST_DATA"])
MINI = DATA.parents[1] / "models" / "mini"
PICTURES = DATA / "golden" / "mini" / "pictures"
LONG = "KADR_LONG" in os.environ
MIB = 1 << 20

SIZES = [(192, 128), (128, 192), (256, 256), (384, 256), (512, 512)]
LONG_SIZES = [(768, 432), (768, 768), (1024, 1024), (1024, 576)]
VARIANTS = {
    "plain": [],
    "no guidance": ["--guidance", "1"],
    "two pictures": ["--count", "2"],
    "step cache": ["--step-cache", "2"],
    "guidance interval": ["--guidance-interval", "0.2,0.6", "--count", "2"],
    "int8": ["--precision", "int8"],
    "int8, branches in turn": ["--precision", "int8", "--guidance-interval", "0.2,0.6", "--cast", "fox:0.6@left"],
    "img2img": ["--init", str(PICTURES / "init.png"), "--strength", "0.7"],
    "inpaint": ["--init", str(PICTURES / "init.png"), "--mask", str(PICTURES / "mask.png")],
    "lora": ["--lora", str(PICTURES / "kohya.safetensors") + ":0.5"],
    "identity": ["--cast", "fox:0.6@left"],
    "identity off": ["--cast", "fox:0.6@left", "--identity-lock", "off"],
    "drift": ["--cast", "fox", "--retry-drift", "1"],
}


def pixels(path):
    """The picture's compressed data, unpacked: equal for equal pixels."""
    data, at, body = path.read_bytes(), 8, b""
    while at < len(data):
        length = int.from_bytes(data[at:at + 4], "big")
        if data[at + 4:at + 8] == b"IDAT":
            body += data[at + 8:at + 8 + length]
        at += 12 + length
    return zlib.decompress(body)


class Group:
    """A memory cgroup of a size, version 1 or 2; what its processes held at most, looked at each few ms."""

    ROOTS = ((pathlib.Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", ("total_rss", "total_mapped_file")),
             (pathlib.Path("/sys/fs/cgroup"), "memory.max", ("anon", "file_mapped")))

    def __init__(self, size):
        self.most, self.folder = 0, None
        for root, limit, self.keys in self.ROOTS:
            folder = root / f"kadr-test-{os.getpid()}"
            try:
                folder.mkdir()
                self.folder = folder
                (folder / limit).write_text(str(size))
                for swap in ("memory.memsw.limit_in_bytes", "memory.swap.max"):
                    if (folder / swap).exists():
                        (folder / swap).write_text("0" if swap.endswith("max") else str(size))
                return
            except OSError:
                self.close()

    def join(self):
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def held(self):
        lines = (self.folder / "memory.stat").read_text().splitlines()
        stat = dict(line.split() for line in lines)
        return sum(int(stat.get(key, 0)) for key in self.keys)

    def watch(self, done):
        while not done.is_set():
            self.most = max(self.most, self.held())
            time.sleep(0.003)

    def close(self):
        if self.folder:
            self.folder.rmdir()
        self.folder = None


class Promise(unittest.TestCase):
    """Draws within a size and looks whether the plan held."""

    grouped = 0  # runs in a cgroup of their own
    held = 0  # bytes that the last one's processes held at most
    steps = "2"

    @classmethod
    def setUpClass(cls):
        casts = tempfile.TemporaryDirectory(prefix="kadr-casts-")
        cls.addClassCleanup(casts.cleanup)
        cls.casts = pathlib.Path(casts.name)
        os.environ["KADR_CAST_FOLDER"] = casts.name

    def run_in(self, command, memory):
        """Runs it inside a group of that size, where one can be made."""
        group = Group(memory)
        if not group.folder:
            return subprocess.run(command, capture_output=True, text=True)
        done = threading.Event()
        watcher = threading.Thread(target=group.watch, args=(done,))
        watcher.start()
        try:
            result = subprocess.run(command, capture_output=True, text=True, preexec_fn=group.join)
        finally:
            done.set()
            watcher.join()
            group.close()
        self.assertGreaterEqual(result.returncode, 0, "killed")
        self.assertLessEqual(group.most, memory)
        self.grouped += 1
        self.held = group.most
        return result

    def draw(self, folder, options, memory=None):
        """Report of the drawing and its first picture; the peak that the plan wanted when it is refused."""
        out = pathlib.Path(folder) / "out.png"
        limit = ["--memory", str(memory)] if memory else []
        command = [KADR, "generate", "a red fox in a forest", "-o", str(out), "--seed", "3", "--steps", self.steps, "--json",
                   "--quiet", *options, *limit]
        done = self.run_in(command, memory) if memory else subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 4:
            return None, int(re.search(r"--memory (\d+)M", done.stderr).group(1))
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)["pictures"][-1]["report"]
        name = out if out.exists() else out.with_name("out-1.png")
        return report, pixels(name)

    def check(self, what, report):
        planned, measured = report["planned_peak_bytes"], report["measured_peak_bytes"]
        self.assertLessEqual(planned, report["budget_bytes"], what)
        self.assertLessEqual(measured, planned, what)
        self.assertGreaterEqual(measured, planned - max(planned // 10, 16 * MIB), what)


class Memory(Promise):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.of = {weights: cls.casts / f"{weights}.kadr" for weights in ("f32", "f16", "bf16", "int8")}
        for weights, path in cls.of.items():
            subprocess.run([KADR, "pack", str(MINI), "-o", str(path), "--weights", weights, "-q"], check=True)
        subprocess.run([KADR, "cast", "add", "fox", str(PICTURES / "init.png"), "-m", str(MINI), "-q",
                        "--drift-threshold", "0.99"], check=True)

    def settings(self):
        models = [("mini", str(MINI)), ("tiny-a", str(DATA / "models" / "tiny-a"))]
        for name, model in models:
            for width, height in SIZES + (LONG_SIZES if LONG else []) if name == "mini" else SIZES[:2]:
                for precision in ("f32", "bf16"):
                    yield f"{name} {width}x{height} {precision}", ["-m", model, "-W", str(width), "-H", str(height),
                                                                   "--precision", precision]
        yield "packed mini with a LoRA", ["-m", str(self.of["f32"]), "-W", "256", "-H", "192", *VARIANTS["lora"]]
        for weights in ("f16", "bf16", "int8"):
            yield f"mini packed in {weights}", ["-m", str(self.of[weights]), "-W", "256", "-H", "192"]
        for name, extra in VARIANTS.items():
            yield f"mini {name}", ["-m", str(MINI), "-W", "256", "-H", "192", *extra]

    def test_promise(self):
        drawn = 0
        for what, options in self.settings():
            with self.subTest(what), tempfile.TemporaryDirectory(prefix="kadr-memory-") as folder:
                free, picture = self.draw(folder, options)
                self.check(what, free)
                floor, least = self.draw(folder, options, 8 * MIB)
                self.assertIsNone(floor, what)
                for memory in (least * MIB, (least + free["planned_peak_bytes"] // MIB) * MIB // 2):
                    report, again = self.draw(folder, options, memory)
                    self.assertIsNotNone(report, what)
                    self.check(f"{what} in {memory // MIB} MiB", report)
                    self.assertEqual(picture, again, f"{what} in {memory // MIB} MiB: other pixels")
                    drawn += 1
                drawn += 1
        print(f"{drawn} drawings, {self.grouped} in a cgroup of their own", file=sys.stderr)

    def test_blas(self):
        """What a library takes that multiplies in place of kadr is in the plan."""
        os.environ["KADR_BLAS"] = "libopenblas.so.0"
        self.addCleanup(os.environ.pop, "KADR_BLAS")
        try:
            ctypes.CDLL(os.environ["KADR_BLAS"])
        except OSError:
            self.skipTest("no OpenBLAS here")
        for size in ((192, 128), (512, 512)):
            options = ["-m", str(MINI), "-W", str(size[0]), "-H", str(size[1]), "--precision", "f32"]
            with tempfile.TemporaryDirectory(prefix="kadr-memory-") as folder:
                free, picture = self.draw(folder, options)
                self.check(f"{size}", free)
                _, least = self.draw(folder, options, 8 * MIB)
                report, again = self.draw(folder, options, least * MIB)
                self.check(f"{size} in {least} MiB", report)
                self.assertEqual(picture, again)

    def test_lora_on_a_packed_model(self):
        """A LoRA is merged into the panels of a packed model as they are read: the pixels of the model that it was
        packed from, and of one that was packed with the LoRA."""
        with tempfile.TemporaryDirectory(prefix="kadr-memory-") as folder:
            with_it = pathlib.Path(folder) / "with.kadr"
            subprocess.run([KADR, "pack", str(MINI), "-o", str(with_it), "--weights", "f32", "-q", *VARIANTS["lora"]],
                           check=True)
            size = ["-W", "128", "-H", "128"]
            pictures = [self.draw(folder, ["-m", str(model), *size, *extra])[1] for model, extra in (
                (MINI, [*VARIANTS["lora"], "--precision", "f32"]), (self.of["f32"], VARIANTS["lora"]), (with_it, []),
                (self.of["f16"], VARIANTS["lora"]), (self.of["f32"], []))]
            for picture in pictures[1:4]:
                self.assertEqual(pictures[0], picture)
            self.assertNotEqual(pictures[0], pictures[4])

    def test_pictures_share_each_reading(self):
        """On a disk that is slower than the processor, six pictures read at most a quarter of what six runs read, and are
        the same pictures. (A fifth at SDXL's size, where weights are larger beside what a picture holds.)"""
        with tempfile.TemporaryDirectory(prefix="kadr-memory-") as name:
            folder = pathlib.Path(name)
            environment = os.environ | {"XDG_CACHE_HOME": name}

            def kadr(*arguments):
                command = [KADR, *arguments]
                return subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder, env=environment).stdout

            kadr("pack", str(MINI), "-o", "mini.kadr", "--weights", "f32")
            kadr("doctor", "-m", "mini.kadr")
            machine = folder / "kadr" / "machine.json"
            slow = json.loads(machine.read_text()) | {"read_packed": 1e6}
            pixels_of, bytes_of = {}, {}
            # Room for the states of six pictures beside the narrowest plan of one, and not for the weights.
            options = ["a red fox", "-m", "mini.kadr", "-W", "128", "-H", "64", "--steps", "8"]
            plan = [KADR, "plan", *options, "-M", "8M", "--json"]
            least = json.loads(subprocess.run(plan, capture_output=True, text=True, cwd=folder, env=environment).stdout)
            memory = least["requests"][0]["peak_bytes"] // MIB + 4
            for count in (1, 6):
                machine.write_text(json.dumps(slow))
                out = kadr("generate", *options, "-s", "1", "-c", str(count), "-o", "a.png", "-M", f"{memory}M",
                           "--json", "-q")
                reports = json.loads(out)["pictures"]
                bytes_of[count] = sum(p["report"]["weight_bytes_read"] for p in reports)
                pixels_of[count] = [pixels(folder / p["picture"]) for p in reports]
                for p in reports:
                    self.check(f"{count} pictures", p["report"])
            self.assertLessEqual(bytes_of[6], 6 * bytes_of[1] / 4)
            self.assertEqual(pixels_of[6][0], pixels_of[1][0])
            print(f"six pictures read {bytes_of[6] / bytes_of[1]:.2f} times what one reads", file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
