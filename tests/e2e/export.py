"""What boards become outside of kadr, read by programs that are not ours: poppler reads the PDF, ffprobe the film,
opentimelineio and its adapters the timelines, Python's own parsers XML and HTML.

KADR is the program. opentimelineio comes with tools/test-python; what is not installed is skipped by name.
"""

import html.parser
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree
import zlib

try:
    import opentimelineio
except ImportError:
    opentimelineio = None

KADR = os.environ["KADR"]
LONG = " ".join(f"w{i:04}" for i in range(700))  # more than a page holds beside a picture
RTL = "שלום עולם"
ARABIC = "مرحبا بالعالم"
HOSTILE = "a <b> & \"c\" 'd' ]]> --> \\ {0} %s\nsecond line"
LONGEST = "Donaudampfschifffahrt" * 20


def png(width, height, rgb):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    rows = (b"\0" + bytes(rgb) * width) * height
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


PANELS = [  # ms, picture's size, what it says
    (2500, (192, 128), {"number": "1", "shot": "wide", "camera": "pan left", "scene": "EXT. HARBOUR - DAY",
                        "action": "A fox stands on the pier.", "dialogue": f"ANNA: {RTL} and then {ARABIC}.", "notes": "light"}),
    (1333, (256, 96), {"number": "2", "scene": "EXT. HARBOUR - DAY", "action": HOSTILE, "dialogue": HOSTILE, "notes": HOSTILE}),
    (1, (96, 160), {"number": "12A", "camera": "zoom in", "action": LONG, "dialogue": "Ёлки, подождём!"}),
    (3000, None, {"number": "13", "action": LONGEST}),
    (777, (64, 64), {"number": "14", "action": "Конец."}),
]
FPS = 24


def frames():
    """Where each panel begins and ends: rounded sums, a frame at least."""
    at, total, result = 0, 0, []
    for ms, _, _ in PANELS:
        total += ms
        end = max(int(total * FPS / 1000 + 0.5), at + 1)
        result.append((at, end))
        at = end
    return result


def tool(name):
    if not shutil.which(name):
        raise unittest.SkipTest(f"{name} is not installed")
    return name


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.texts, self.pictures, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.pictures.append(dict(attributes))
        elif tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)


class Export(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="kadr-export-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.board = cls.folder / "a board"  # names have blanks
        cls.board.mkdir()
        boards = []
        for i, (ms, size, says) in enumerate(PANELS):
            panel = says | {"duration": ms}
            if size:
                url = f"panel {i + 1}.png"
                (cls.board / url).write_bytes(png(*size, (40 * i, 90, 200 - 40 * i)))
                panel["versions"] = [{"version": 1, "url": url, "hash": "0", "width": size[0], "height": size[1]}]
            boards.append(panel)
        document = {"kadr_board": 1, "title": "Гавань <1>", "script": "story.fountain", "fps": FPS, "boards": boards, "mine": 1}
        (cls.board / "board.json").write_text(json.dumps(document))
        cls.files = cls.kadr("board", "export", cls.board, "-o", cls.folder / "out").stdout.split("\n")[:-1]
        cls.out = cls.folder / "out"

    @classmethod
    def kadr(cls, *arguments, status=0):
        done = subprocess.run([KADR, *map(str, arguments)], capture_output=True, text=True, timeout=120)
        assert done.returncode == status, (arguments, done)
        return done

    def test_everything_is_made_and_told(self):
        names = {pathlib.Path(f).name for f in self.files}
        texts = {f"story.{e}" for e in ("pdf", "webp", "srt", "edl", "fcpxml", "otio", "storyboarder", "html")} | {"sheet.png"}
        self.assertEqual(names - {"story.mp4"}, texts)
        for name in names:
            self.assertGreater((self.out / name).stat().st_size, 100, name)
        one = json.loads(self.kadr("board", "export", self.board, "-o", self.folder / "one", "--srt", "--json").stdout)
        self.assertEqual(one, {"files": [str(self.folder / "one" / "story.srt")]})
        self.assertEqual([f.name for f in (self.folder / "one").iterdir()], ["story.srt"])

    # ---- PDF
    def words_of_pdf(self, layout, paper="a4"):
        out = self.folder / f"pdf-{layout}-{paper}"
        self.kadr("board", "export", self.board, "-o", out, "--pdf", "--layout", layout, "--paper", paper)
        text = subprocess.run([tool("pdftotext"), "-raw", out / "story.pdf", "-"], capture_output=True, text=True, check=True).stdout
        info = subprocess.run(["pdfinfo", out / "story.pdf"], capture_output=True, text=True, check=True).stdout
        return out / "story.pdf", text, info

    def test_pdf_loses_no_word(self):
        for layout, size in (("2x3", "595.28 x 841.89"), ("1x3", "595.28 x 841.89"), ("1x1", "841.89 x 595.28")):
            path, text, info = self.words_of_pdf(layout)
            self.assertIn(f"Page size:       {size} pts", info)
            words = re.findall(r"w\d{4}", text)
            self.assertEqual(words, LONG.split(), layout)  # all, in their order
            self.assertIn("12A", text)
            self.assertIn("(continued)", text)
            for piece in ("Ёлки, подождём!", "Конец.", "<b> & \"c\" 'd' ]]> --> \\ {0} %s", "second line", "EXT. HARBOUR - DAY"):
                self.assertIn(piece, text, layout)
            self.assertEqual(text.count("EXT. HARBOUR - DAY"), 1)  # where the scene begins
            self.assertEqual(re.sub(r"\(continued\)|[^a-zA-Z]", "", text).lower().count("donaudampfschifffahrt"), 20, layout)
            for letter in RTL.replace(" ", "") + "أبم"[1:]:
                self.assertIn(letter, text)
            pages = int(re.search(r"Pages: +(\d+)", info)[1])
            for page in range(1, pages + 1):
                self.assertIn(f"{page} / {pages}", text)
            images = subprocess.run(["pdfimages", "-list", path], capture_output=True, text=True, check=True).stdout
            self.assertEqual(images.count("jpeg"), 4, images)
            fonts = subprocess.run(["pdffonts", path], capture_output=True, text=True, check=True).stdout.splitlines()[2:]
            self.assertTrue(fonts)
            for font in fonts:
                self.assertRegex(font, r" yes yes (yes|no) +\d+ +\d+$")  # embedded, and only what is used

    def test_pdf_on_letter(self):
        self.assertIn("Page size:       612 x 792 pts (letter)", self.words_of_pdf("2x3", "letter")[2])

    # ---- Films
    def test_webp_lasts_as_long_as_the_panels(self):
        data = (self.out / "story.webp").read_bytes()
        self.assertEqual((data[:4], data[8:12]), (b"RIFF", b"WEBP"))
        at, lasts = 12, []
        while at < len(data):
            kind, size = data[at:at + 4], struct.unpack("<I", data[at + 4:at + 8])[0]
            if kind == b"ANMF":
                lasts.append(int.from_bytes(data[at + 20:at + 23], "little"))
            at += 8 + size + size % 2
        ends = [round(e * 1000 / FPS) for _, e in frames()]
        self.assertEqual(lasts, [b - a for a, b in zip([0] + ends, ends)])

    def probe(self, path):
        done = subprocess.run([tool("ffprobe"), "-v", "error", "-count_frames", "-show_streams", "-of", "json", path],
                              capture_output=True, text=True, check=True)
        return {s["codec_type"]: s for s in json.loads(done.stdout)["streams"]}

    def test_mp4_has_every_frame_and_the_captions(self):
        tool("ffmpeg")
        film = self.probe(self.out / "story.mp4")
        self.assertEqual(int(film["video"]["nb_read_frames"]), frames()[-1][1])
        self.assertEqual(film["video"]["r_frame_rate"], "24/1")
        self.assertEqual((film["video"]["width"] % 2, film["video"]["height"] % 2), (0, 0))
        spoken = subprocess.run(["ffmpeg", "-v", "error", "-i", self.out / "story.mp4", "-f", "srt", "-"], capture_output=True, text=True).stdout
        self.assertIn("Ёлки, подождём!", spoken)
        self.kadr("board", "export", self.board, "-o", self.folder / "burnt", "--animatic", "--captions", "burnt")
        self.assertEqual(set(self.probe(self.folder / "burnt" / "story.mp4")), {"video"})

    # ---- Texts
    def test_srt(self):
        text = (self.out / "story.srt").read_text()
        blocks = [b.split("\n") for b in text.strip().split("\n\n")]
        self.assertEqual([b[0] for b in blocks], ["1", "2", "3"])
        self.assertEqual(blocks[0][1], "00:00:00,000 --> 00:00:02,500")
        self.assertEqual("\n".join(blocks[1][2:]), HOSTILE)
        begin, end = frames()[2]
        stamp = [f"00:00:{f // FPS:02},{round(f % FPS * 1000 / FPS):03}" for f in (begin, end)]
        self.assertEqual(blocks[2][1], " --> ".join(stamp))

    def url(self, i):
        return "file://" + str(self.board.resolve()).replace(" ", "%20") + f"/panel%20{i + 1}.png"

    def check_clips(self, clips, names):
        self.assertEqual([c.name for c in clips], names)
        for i, (clip, (begin, end)) in enumerate(zip(clips, frames())):
            place = clip.range_in_parent()
            self.assertEqual((place.start_time.value, place.duration.value, place.duration.rate), (begin, end - begin, FPS), i)
            if PANELS[i][1]:
                self.assertEqual(clip.media_reference.target_url, self.url(i))
            else:
                self.assertIsInstance(clip.media_reference, opentimelineio.schema.MissingReference)

    @unittest.skipUnless(opentimelineio, "opentimelineio is not installed (tools/test-python)")
    def test_otio(self):
        timeline = opentimelineio.adapters.read_from_file(str(self.out / "story.otio"))
        self.assertEqual(timeline.name, "Гавань <1>")
        clips = list(timeline.find_clips())
        self.check_clips(clips, [p[2]["number"] for p in PANELS])
        self.assertEqual(clips[1].metadata["kadr"]["action"], HOSTILE)
        self.assertEqual(clips[1].markers[0].comment, HOSTILE)
        again = opentimelineio.adapters.otio_json.write_to_string(timeline)
        self.assertTrue(opentimelineio.adapters.otio_json.read_from_string(again).is_equivalent_to(timeline))

    @unittest.skipUnless(opentimelineio, "opentimelineio is not installed (tools/test-python)")
    def test_edl(self):
        timeline = opentimelineio.adapters.read_from_file(str(self.out / "story.edl"), rate=FPS)
        self.assertEqual(timeline.name, "Гавань <1>")
        names = [f"panel {i + 1}.png" if p[1] else p[2]["number"] for i, p in enumerate(PANELS)]
        self.check_clips(list(timeline.find_clips()), names)

    @unittest.skipUnless(opentimelineio, "opentimelineio is not installed (tools/test-python)")
    def test_fcpxml(self):
        timeline = opentimelineio.adapters.read_from_file(str(self.out / "story.fcpxml"))[0]
        clips = list(timeline.find_clips())
        seen = [i for i, p in enumerate(PANELS) if p[1]]
        self.assertEqual([c.name for c in clips], [PANELS[i][2]["number"] for i in seen])
        for clip, i in zip(clips, seen):
            begin, end = frames()[i]
            place = clip.range_in_parent()
            self.assertEqual((place.start_time.value, place.duration.value), (begin, end - begin))
            self.assertEqual(clip.media_reference.target_url, self.url(i))

    def test_fcpxml_says_what_it_was_told(self):
        root = xml.etree.ElementTree.parse(self.out / "story.fcpxml").getroot()
        self.assertEqual(root.find(".//project").get("name"), "Гавань <1>")
        clip = root.find(".//spine/clip[@name='2']")
        self.assertEqual(clip.find("note").text, HOSTILE + "\n" + HOSTILE)
        self.assertEqual(clip.find("marker").get("value"), HOSTILE)
        sizes = {(f.get("id")): (int(f.get("width")), int(f.get("height"))) for f in root.iter("format")}
        for asset in root.iter("asset"):
            i = int(asset.get("id")[1:]) - 1
            self.assertEqual(sizes[asset.get("format")], PANELS[i][1])
        self.assertEqual(sizes["f0"], (256, 160))

    def test_html_holds_everything(self):
        text = (self.out / "story.html").read_text()
        page = Page(text)
        self.assertEqual(page.open, ["html"][1:])
        said = "\n".join(page.texts)
        for _, _, says in PANELS:
            for part in ("action", "dialogue", "notes"):
                self.assertIn(says.get(part, ""), said)
        self.assertEqual([(int(p["width"]), int(p["height"])) for p in page.pictures], [p[1] for p in PANELS if p[1]])
        self.assertNotRegex(text, r"(src|href)=\"(?!data:)")

    def test_storyboarder_finds_its_pictures(self):
        file = json.loads((self.out / "story.storyboarder").read_text())
        self.assertEqual(len(file["boards"]), len(PANELS))
        self.assertEqual(file["mine"], 1)
        for board, (ms, size, says) in zip(file["boards"], PANELS):
            self.assertEqual((board["duration"], board["action"]), (ms, says["action"]))
            if size:
                self.assertTrue((self.out / "images" / board["url"]).is_file())
        self.kadr("board", "init", self.out / "story.storyboarder", "-o", self.folder / "back.json")
        back = json.loads((self.folder / "back.json").read_text())
        self.assertEqual([p["number"] for p in back["boards"]], [p[2]["number"] for p in PANELS])

    # ---- What is wrong
    def test_a_missing_picture_is_named(self):
        other = self.folder / "missing"
        shutil.copytree(self.board, other)
        (other / "panel 2.png").unlink()
        for flag in ("--pdf", "--sheet", "--animatic", "--fcpxml", "--html", "--storyboarder"):
            done = self.kadr("board", "export", other, "-o", self.folder / "none", flag, status=5)
            self.assertRegex(done.stderr, r"panel 2: .*panel 2\.png", flag)
        self.kadr("board", "export", other, "-o", self.folder / "texts", "--srt", "--edl", "--otio")
        self.assertEqual([f for f in (self.folder / "none").rglob("*") if f.is_file() and "images" not in f.parts], [])


if __name__ == "__main__":
    unittest.main()
