"""The memory promise, from outside: for many settings the plan's peak P holds the measured peak and is tight,
P - max(10 %, 16 MiB) <= measured <= P <= SIZE, and the budget never changes a pixel. Every setting is drawn without a
limit, with a roomy one, and with the least that the plan says is enough.

Needs only Python's standard library. KADR is the program, KADR_TEST_DATA the folder of test data.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import zlib

KADR = os.environ["KADR"]
DATA = pathlib.Path(os.environ["KADR_TEST_DATA"])
MINI = DATA.parents[1] / "models" / "mini"
PICTURES = DATA / "golden" / "mini" / "pictures"
MIB = 1 << 20

SIZES = [(192, 128), (128, 192), (256, 256), (384, 256), (512, 512), (768, 432)]
VARIANTS = {
    "plain": [],
    "no guidance": ["--guidance", "1"],
    "two pictures": ["--count", "2"],
    "img2img": ["--init", str(PICTURES / "init.png"), "--strength", "0.7"],
    "inpaint": ["--init", str(PICTURES / "init.png"), "--mask", str(PICTURES / "mask.png")],
    "lora": ["--lora", str(PICTURES / "kohya.safetensors") + ":0.5"],
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


class Memory(unittest.TestCase):
    def draw(self, folder, options, memory=None):
        """Report of the drawing and its first picture; the peak that the plan wanted when it is refused."""
        out = pathlib.Path(folder) / "out.png"
        limit = ["--memory", str(memory)] if memory else []
        done = subprocess.run([KADR, "generate", "a red fox in a forest", "-o", str(out), "--seed", "3", "--steps", "2",
                               "--json", "--quiet", *options, *limit], capture_output=True, text=True)
        if done.returncode == 4:
            return None, int(float(re.search(r"takes (\d+) MiB", done.stderr).group(1)))
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)["pictures"][-1]["report"]
        name = out if out.exists() else out.with_name("out-1.png")
        return report, pixels(name)

    def check(self, what, report):
        planned, measured = report["planned_peak_bytes"], report["measured_peak_bytes"]
        self.assertLessEqual(planned, report["budget_bytes"], what)
        self.assertLessEqual(measured, planned, what)
        self.assertGreaterEqual(measured, planned - max(planned // 10, 16 * MIB), what)

    def settings(self):
        models = [("mini", str(MINI)), ("tiny-a", str(DATA / "models" / "tiny-a"))]
        for name, model in models:
            for width, height in SIZES if name == "mini" else SIZES[:2]:
                for precision in ("f32", "bf16"):
                    yield f"{name} {width}x{height} {precision}", ["-m", model, "-W", str(width), "-H", str(height),
                                                                   "--precision", precision]
        for name, extra in VARIANTS.items():
            yield f"mini {name}", ["-m", str(MINI), "-W", "256", "-H", "192", *extra]

    def test_promise(self):
        drawn = 0
        for what, options in self.settings():
            with self.subTest(what), tempfile.TemporaryDirectory(prefix="kadr-memory-") as folder:
                free, picture = self.draw(folder, options)
                self.check(what, free)
                floor, least = self.draw(folder, options, "8M")
                self.assertIsNone(floor, what)
                for memory in ((least + 1) * MIB, (least + free["planned_peak_bytes"] // MIB) * MIB // 2):
                    report, again = self.draw(folder, options, memory)
                    if report is None:  # the refusal rounds down
                        report, again = self.draw(folder, options, memory + 2 * MIB)
                    self.check(f"{what} in {memory // MIB} MiB", report)
                    self.assertEqual(picture, again, f"{what} in {memory // MIB} MiB: other pixels")
                    drawn += 1
                drawn += 1
        print(f"{drawn} drawings", file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
