"""The page in a real browser: from an empty page to a downloaded PDF, a reload while something is drawn, two tabs, a
narrow screen, keys alone. Needs Chromium with its driver and the package selenium; without them it is skipped.

With KADR_SCREENSHOTS=FOLDER it also takes a picture of every view, light and dark, in English and Russian, for a desk
and a phone.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from pull import MINI_FILES, Hub
from serve import Server

try:
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select, WebDriverWait
except ImportError:
    webdriver = None

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
EXAMPLES = pathlib.Path(os.environ["KADR_MODELS"]).parent / "examples"
SMALL = {"width": 64, "height": 64, "steps": 2}
LONG = {"width": 192, "height": 128, "steps": 900}
FOUNTAIN = """Title: The pier

EXT. PIER - DAY

A red fox waves. [[shot: wide; duration: 1.5]]

FOX
Good morning!

A blue cat looks at the sea.
"""
# Drops files on an element, as a person would.
DROP = """
const [target, name, type, base64] = arguments, done = arguments[arguments.length - 1];
const data = new DataTransfer(), bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
data.items.add(new File([bytes], name, {type}));
for (const kind of ["dragenter", "dragover", "drop"])
  target.dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
done();
"""


def start_browser(language="en", folder=None):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                     f"--lang={language}", "--window-size=1360,900"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"intl.accept_languages": language, "download.default_directory": str(folder or "/tmp")})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))


def resize(browser, width, height):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})


class Browsing(unittest.TestCase):
    """Looking and doing; self.browser and self.server are there."""

    def go(self, where=""):
        self.browser.get(self.server.url + "/" + where)

    def all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def find(self, what):
        """`what` is a selector, of which the first that is shown counts, or a function."""
        return what() if callable(what) else next((e for e in self.all(what) if e.is_displayed()), None)

    def wait(self, what, seconds=60):
        """Until it is there, or true."""
        def ready(_):
            try:
                return self.find(what)
            except Exception as error:  # elements come and go
                self.last = error
                return None
        return WebDriverWait(self.browser, seconds, poll_frequency=0.05).until(ready, f"{what}: {getattr(self, 'last', '')}")

    def act(self, what, do):
        """`do(element)`, the element found anew until that works: the page may put another in its place in between."""
        self.wait(lambda: do(self.find(what)) or True)

    def click(self, what):
        def press(element):
            if not element.is_enabled():
                raise ValueError("it is disabled")
            element.click()
        self.act(what, press)

    def type(self, what, text):
        self.act(what, lambda e: e.send_keys(text))

    def write(self, what, text):
        """In place of what is there."""
        self.act(what, lambda e: (e.send_keys(Keys.CONTROL + "a"), e.send_keys(text)))

    def choose(self, what, value):
        self.act(what, lambda e: Select(e).select_by_value(value))

    def press(self, text, inside="body"):
        """The button, link or summary that says so."""
        self.click(lambda: next(e for e in self.all(f"{inside} :is(button, a, summary)") if e.is_displayed() and e.is_enabled()
                                and text in (e.text, e.get_attribute("aria-label"))))

    def drag(self, what, x, y):
        self.act(what, lambda e: self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", e))
        self.act(what, lambda e: webdriver.ActionChains(self.browser).move_to_element(e).click_and_hold().move_by_offset(x, y).release().perform())

    def inside(self, n, selector):
        """Something in the n-th card, to be found."""
        return lambda: self.all(".card")[n].find_element(By.CSS_SELECTOR, selector)

    def field(self, n, name):
        return self.inside(n, f"[name={name}]")

    def plan_says(self, text):
        return self.wait(lambda: text in self.all(".plan-text")[0].text and self.all(".plan-text")[0].text)

    def drawn(self, count):
        """As many cards have pictures, and nothing waits."""
        self.wait(lambda: len(self.all(".card.drawn")) == count and not self.board().get("busy"), 180)

    def board(self, number=1):
        board = self.server.json("GET", f"/api/v1/boards/{number}")["board"]
        board["busy"] = any(panel.get("jobs") for panel in board["boards"])
        return board

    def prepare(self, script, overrides=None):
        made = self.server.json("POST", "/api/v1/boards", {"script": script}, 201)
        self.server.json("PATCH", f"/api/v1/boards/{made['id']}", {"overrides": overrides or SMALL})
        self.go()
        self.wait(".card")

    def drop(self, selector, path, kind):
        import base64
        data = base64.b64encode(path.read_bytes()).decode()
        self.act(selector, lambda e: self.browser.execute_async_script(DROP, e, path.name, kind, data))


class Page(Browsing):
    @classmethod
    def setUpClass(cls):
        cls.downloads = pathlib.Path(tempfile.mkdtemp(prefix="kadr-downloads-"))
        cls.browser = start_browser(folder=cls.downloads)

    @classmethod
    def tearDownClass(cls):
        cls.browser.quit()
        shutil.rmtree(cls.downloads)

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kadr-page-"))
        self.addCleanup(shutil.rmtree, self.folder)
        resize(self.browser, 1360, 900)

    def start(self, *flags, env=None):
        self.server = Server(self.folder, *flags, env=env)
        self.addCleanup(self.server.end, signal.SIGKILL)
        return self.server

    def tearDown(self):
        """Nothing was refused by the page's own policy, nothing failed unseen."""
        # Servers end, tokens are asked for, what emerged is done when it is looked at.
        expected = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "status of 401", "/preview?")
        told = [line["message"] for line in self.browser.get_log("browser") if line["level"] == "SEVERE"]
        self.assertEqual([line for line in told if not any(e in line for e in expected)], [])
        self.browser.get("about:blank")

    # ---- The whole way
    def test_from_an_empty_page_to_a_pdf(self):
        self.start()
        self.go()
        self.plan_says("Write what a panel shows")
        self.write(self.field(0, "action"), "a red fox on the pier")
        self.plan_says("1 panel to draw")
        self.click("#draw")  # nothing configured: the model that comes with kadr draws at once
        self.drawn(1)
        self.press("Settings")
        for label, value in (("Width", "64"), ("Height", "64"), ("Steps", "2")):
            self.write(lambda: next(l for l in self.all("dialog label") if l.text.startswith(label)).find_element(By.TAG_NAME, "input"), value + Keys.TAB)
        self.press("Close", "dialog")
        # A character from a picture, in the second panel, on the left.
        self.press("Characters")
        self.wait(".drop-area")
        self.type(lambda: self.all(".drop-area input[type=file]")[0], str(EXAMPLES / "mira.png"))
        self.press("Make the character")
        self.wait(".cast-list img", 60)
        self.press("Board", "nav")
        self.press("Add a panel")
        self.wait(lambda: len(self.all(".card")) == 2)
        self.write(self.field(1, "action"), "mira waves")
        self.write(self.field(1, "shot"), "wide")
        self.write(self.field(1, "duration"), "1.5")
        self.choose(self.field(1, "who"), "mira")
        self.choose(self.field(1, "region"), "left")
        self.click(self.inside(1, "summary"))
        self.write(self.field(1, "dialogue"), "MIRA: Hello there!")
        self.plan_says("2 panels to draw")
        self.click("#draw")
        self.wait(lambda: len(self.board()["boards"][0].get("versions", [])) == 2, 60)
        self.drawn(2)
        panel = self.board()["boards"][1]
        self.assertEqual((panel["shot"], panel["duration"], panel["cast"], panel["dialogue"]), ("wide", 1500, ["mira@left"], "MIRA: Hello there!"))
        settings = self.server.json("GET", "/api/v1/pictures")["pictures"][0]["settings"]
        self.assertEqual((settings["prompt"], settings["cast"]), ("wide shot of mira waves", ["mira@left"]))
        self.plan_says("All panels are drawn")
        # Another version of the first panel: by a painted mask, then back to the one before.
        self.click(self.inside(0, ".frame"))
        self.wait(lambda: len(self.all(".strip .thumb")) == 2)
        self.wait("dialog.panel .stage img")
        self.click(lambda: next(l for l in self.all("dialog .check") if l.text == "Paint what is drawn again"))
        self.drag(".mask", 40, 20)
        self.press("Draw", "dialog .revise")
        self.wait(lambda: len(self.all(".strip .thumb")) == 3, 60)
        versions = self.board()["boards"][0]["versions"]
        self.assertEqual((versions[2]["from"], len(versions[2]["mask"])), (versions[1]["picture"], 32))
        self.click(lambda: self.all(".strip .thumb")[0])
        self.press("Use this version")
        self.wait(lambda: self.board()["boards"][0].get("approved") == versions[0]["picture"])
        self.assertEqual(self.wait("dialog select[name=compare]").text.split(), ["none", "2", "3"])
        self.choose("dialog select[name=compare]", str(versions[2]["picture"]))
        self.wait("dialog .over")
        self.press("Close", "dialog")
        # Played with its caption, and taken home.
        self.press("Play")
        self.wait(".player img")
        self.browser.execute_script("const line = document.querySelector('.player input[type=range]'); line.value = 2.5; line.dispatchEvent(new Event('input'))")
        self.wait(lambda: self.all(".caption")[0].text == "MIRA: Hello there!")
        self.press("Close", "dialog")
        self.press("Export")
        self.click("[data-format=pdf]")
        pdf = self.wait(lambda: next(self.downloads.glob("*.pdf"), None), 60)
        self.wait(lambda: pdf.read_bytes()[:5] == b"%PDF-")
        if shutil.which("pdftotext"):
            text = subprocess.run(["pdftotext", pdf, "-"], check=True, capture_output=True).stdout.decode()
            self.assertIn("a red fox on the pier", text)
            self.assertIn("Hello there!", text)
        self.assertEqual(self.server.end(), 0)

    # ---- Boards
    def test_scripts_and_pictures_are_dropped(self):
        self.start()
        self.go()
        self.wait(".card")
        (self.folder / "pier.fountain").write_text(FOUNTAIN)
        self.drop("main", self.folder / "pier.fountain", "text/plain")
        self.wait(lambda: len(self.all(".card")) == 2)
        board = self.board(2)
        self.assertEqual(board["title"], "The pier")
        self.assertEqual((board["boards"][0]["shot"], board["boards"][0]["dialogue"]), ("wide", "FOX: Good morning!"))
        job = self.server.json("POST", "/api/v1/jobs", SMALL | {"prompt": "an owl at night", "seed": 77}, 201)
        picture = self.server.wait(job["id"])["pictures"][0]["id"]
        (self.folder / "owl.png").write_bytes(self.server.ask("GET", f"/api/v1/pictures/{picture}")[2])
        self.drop("main", self.folder / "owl.png", "image/png")
        self.wait(lambda: len(self.all(".card")) == 3)
        panel = self.board(2)["boards"][2]
        self.assertEqual((panel["action"], panel["seed"], panel["overrides"]["steps"]), ("an owl at night", 77, 2))
        # Drawn again it is the same picture, byte for byte.
        self.server.json("POST", "/api/v1/boards/2/draw", {"panels": [panel["uid"]]}, 201)
        self.wait(lambda: self.board(2)["boards"][2].get("picture"))
        again = self.server.ask("GET", f"/api/v1/pictures/{self.board(2)['boards'][2]['picture']}")[2]
        self.assertEqual(again, (self.folder / "owl.png").read_bytes())
        # Found in the gallery by its words.
        self.press("Gallery", "nav")
        self.wait(lambda: len(self.all(".pictures img")) == 2)
        self.type("input[type=search]", "fox")
        self.wait(lambda: not self.all(".pictures img"))
        # Another script for the board.
        self.press("Board", "nav")
        self.press("Script")
        self.write("textarea.script", "A fox.\n\nAn owl.\n\nA cat.\n\nA dog.")
        self.press("Make panels of it")
        self.wait(lambda: [e.get_attribute("value") for e in self.all(".card [name=action]")] == ["A fox.", "An owl.", "A cat.", "A dog."])

    def test_keys_alone(self):
        self.start()
        self.prepare("One.\n\nTwo.\n\nThree.")
        order = lambda: [e.get_attribute("value") for e in self.all(".card [name=action]")]
        self.type(".card .grip", Keys.ARROW_DOWN)
        self.wait(lambda: order() == ["Two.", "One.", "Three."])
        self.wait(lambda: self.browser.switch_to.active_element.get_attribute("class") == "grip sign")
        self.type(lambda: self.browser.switch_to.active_element, Keys.ARROW_DOWN)
        self.wait(lambda: order() == ["Two.", "Three.", "One."])
        self.assertEqual([p["action"] for p in self.board()["boards"]], ["Two.", "Three.", "One."])
        # What can be reached says what it is, in every view and dialog.
        def check(what):
            nodes = self.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
            roles = {"button", "link", "textbox", "combobox", "spinbutton", "slider", "checkbox", "radio", "searchbox", "image", "dialog"}
            for node in nodes:
                if not node.get("ignored") and node.get("role", {}).get("value") in roles:
                    self.assertTrue(node.get("name", {}).get("value"), (what, node.get("role"), node.get("properties")))
        for view in ("board", "gallery", "casts", "models", "queue"):
            self.go("#/" + view)
            self.wait(f"main.{view} > *")
            check(view)
        self.go("#/board")
        for name in ("Script", "Settings", "Export"):
            self.press(name)
            self.wait("dialog")
            check(name)
            self.type(lambda: self.browser.switch_to.active_element, Keys.ESCAPE)
            self.wait(lambda: not self.all("dialog"))

    def test_what_does_not_fit(self):
        self.start("-M", "160M")
        self.prepare("A fox.", {"width": 2048, "height": 2048, "steps": 1, "precision": "f32"})
        self.plan_says("Does not fit")
        self.wait(lambda: not self.all("#draw")[0].is_enabled())
        self.wait(".others code")
        self.click(".others .other:last-of-type")
        self.plan_says("1 panel to draw")
        self.assertLess(self.board()["overrides"]["width"], 2048)

    # ---- The queue, and more than one page
    def test_reload_in_the_middle(self):
        self.start()
        self.prepare("A fox.\n\nAn owl.\n\nA cat.", LONG)
        preview = lambda: any("/preview?step=" in (e.get_attribute("src") or "") for e in self.all(".card img"))
        self.click("#draw")
        self.wait(".card progress")
        self.wait(preview)
        self.browser.refresh()
        self.wait(lambda: any("step" in e.text for e in self.all(".card .state")))
        self.wait(preview)
        # The order is changed, one is cancelled.
        self.go("#/queue")
        rows = lambda: self.all(".jobs:not(.lately) li")
        names = lambda: [e.find_element(By.TAG_NAME, "p").text for e in rows()]
        self.wait(lambda: names() == ["A fox.", "An owl.", "A cat."])
        if [j["state"] for j in self.server.json("GET", "/api/v1/jobs")["jobs"]].count("queued") == 2:
            self.click(lambda: rows()[-1].find_element(By.CSS_SELECTOR, "[aria-label=Earlier]"))
            self.wait(lambda: names() == ["A fox.", "A cat.", "An owl."])
        self.click(lambda: next(e for e in rows()[-1].find_elements(By.TAG_NAME, "button") if e.text == "Cancel"))
        self.wait(lambda: any(j["state"] == "cancelled" for j in self.server.json("GET", "/api/v1/jobs")["jobs"]))
        self.wait(lambda: len(rows()) == 2)
        # All that the board still has to draw is given up.
        self.go("#/board")
        self.press("Cancel", ".plan")
        self.wait(lambda: not self.board()["busy"])
        self.plan_says("3 panels to draw")
        # What is drawn while the page is loaded again comes to be seen.
        self.server.json("PATCH", "/api/v1/boards/1", {"overrides": LONG | {"steps": 20}})
        self.click("#draw")
        self.wait(lambda: self.board()["busy"])
        self.browser.refresh()
        self.drawn(3)
        # A server that ends and comes back is met again, and told what was written meanwhile.
        port = self.server.port
        self.server.end(signal.SIGKILL)
        self.wait(lambda: "Connection lost" in self.all("#told")[0].text)
        self.write(self.field(0, "action"), "A fox at night.")
        self.wait(lambda: "Connection lost" in self.all("#told")[0].text)
        self.start("--port", str(port))
        self.wait(lambda: self.board()["boards"][0]["action"] == "A fox at night.")
        self.wait(lambda: len(self.all(".card.drawn")) == 3)
        self.assertEqual(self.field(0, "action")().get_attribute("value"), "A fox at night.")

    def test_nothing_is_taken_from_under_a_hand(self):
        """What has the focus, is pressed or is written in stays the same element, whatever the server tells meanwhile."""
        self.start()
        s = self.server
        picture = json.loads(s.ask("POST", "/api/v1/uploads", (EXAMPLES / "mira.png").read_bytes(), {"Content-Type": "image/png"})[2])["id"]
        cast = lambda name: s.wait(s.json("POST", "/api/v1/casts", {"name": name, "references": [picture]}, 201)["id"])
        cast("mira"), cast("bo")
        self.prepare("A fox.\n\nAn owl.\n\nA cat.")
        panels = [p["uid"] for p in self.board()["boards"]]
        patch = lambda n, fields: s.json("PATCH", f"/api/v1/boards/1/panels/{panels[n]}", fields)

        def hold(what):
            self.act(what, lambda e: self.browser.execute_script("window.held = arguments[0]; held.focus()", e))

        def held(why):
            self.assertTrue(self.browser.execute_script("return held.isConnected && document.activeElement === held"), why)
        patch(1, {"cast": ["mira@left"]})
        for name in ("who", "region"):
            self.wait(self.field(1, name))
            hold(self.field(1, name))
            patch(1, {"notes": name, "cast": ["mira@right" if name == "who" else "mira@left"]})
            self.wait(lambda: self.field(1, "notes")().get_attribute("value") == name)
            held(name)
        cast("ann")  # another one to choose from
        self.wait(lambda: "ann" in self.field(1, "who")().text)
        held("a new character")
        s.json("POST", f"/api/v1/boards/1/panels/{panels[2]}/move", {"before": panels[0]})
        self.wait(lambda: self.field(0, "action")().get_attribute("value") == "A cat.")
        held("panels in another order")
        jobs = s.json("POST", "/api/v1/boards/1/draw", {}, 201)["jobs"]
        self.drawn(3)
        held("pictures")
        # What another page chose is seen where nobody is at it, and where somebody was.
        self.assertEqual(Select(self.field(2, "region")()).first_selected_option.get_attribute("value"), "right")
        self.click("h1, .title")
        self.wait(lambda: Select(self.field(2, "region")()).first_selected_option.get_attribute("value") == "left")
        # A panel's dialog: versions come while one is chosen and while a mask is painted.
        self.click(self.inside(0, ".frame"))
        s.wait(s.json("POST", f"/api/v1/boards/1/panels/{panels[2]}/revise", {"seed": 7}, 201)["jobs"][0])
        hold("dialog select[name=compare]")
        s.wait(s.json("POST", f"/api/v1/boards/1/panels/{panels[2]}/revise", {"seed": 8}, 201)["jobs"][0])
        self.wait(lambda: len(self.all(".strip .thumb")) == 3)
        held("a choice of versions")
        self.press("Draw", "dialog .revise")
        self.click(lambda: next(l for l in self.all("dialog .check") if l.text == "Paint what is drawn again"))
        self.drag(".mask", 20, 10)
        hold(".mask")
        self.wait(lambda: len(self.all(".strip .thumb")) == 4)
        held("a mask")
        self.press("Close", "dialog")
        # The queue.
        job = s.json("POST", "/api/v1/jobs", LONG | {"prompt": "An owl."}, 201)["id"]
        self.go("#/queue")
        cancel = lambda: next(e for e in self.all(".jobs:not(.lately) button") if e.text == "Cancel")
        hold(cancel)
        other = s.json("POST", "/api/v1/jobs", SMALL | {"prompt": "A cat."}, 201)["id"]
        self.wait(lambda: len(self.all(".jobs:not(.lately) li")) == 2)
        self.wait(".jobs .running img")
        held("the queue")
        self.browser.switch_to.active_element.send_keys(Keys.ENTER)
        self.assertEqual(s.wait(job)["state"], "cancelled")
        self.assertEqual(s.wait(other)["state"], "done")

    def test_two_tabs(self):
        self.start()
        self.prepare("A fox.\n\nAn owl.")
        first = self.browser.current_window_handle
        self.browser.switch_to.new_window("tab")
        second = self.browser.current_window_handle

        def close():
            self.browser.switch_to.window(second)
            self.browser.close()
            self.browser.switch_to.window(first)
        self.addCleanup(close)
        self.go()
        self.type(self.field(1, "action"), " At night.")
        self.wait(lambda: self.board()["boards"][1]["action"] == "An owl. At night.")
        self.browser.switch_to.window(first)
        self.wait(lambda: self.field(1, "action")().get_attribute("value") == "An owl. At night.")
        # Both write at once, into different panels: nothing is lost.
        self.type(self.field(0, "action"), " In snow.")
        self.server.json("PATCH", "/api/v1/boards/1/panels/" + self.board()["boards"][1]["uid"], {"notes": "mine"})
        self.wait(lambda: (self.board()["boards"][0]["action"], self.board()["boards"][1].get("notes")) == ("A fox. In snow.", "mine"))
        # What was typed last is not lost when the page is left at once.
        self.type(self.field(0, "action"), " Still.")
        self.browser.get("about:blank")
        self.wait(lambda: self.board()["boards"][0]["action"] == "A fox. In snow. Still.")
        self.go()
        self.press("Add a panel")
        self.browser.switch_to.window(second)
        self.wait(lambda: len(self.all(".card")) == 3)
        self.click("#draw")
        self.drawn(2)
        self.browser.switch_to.window(first)
        self.drawn(2)

    def test_a_narrow_screen(self):
        self.start()
        self.prepare("A fox waves on the pier and looks at the sea for a long time.\n\nAn owl.")
        self.click("#draw")
        self.drawn(2)
        resize(self.browser, 360, 740)
        box = lambda of: self.browser.execute_script("const d = document.querySelector('dialog'); return " + of)
        wide = lambda: self.browser.execute_script("return document.scrollingElement.scrollWidth") - 360
        for view in ("board", "gallery", "casts", "models", "queue"):
            self.go("#/" + view)
            self.wait(f"main.{view} > *")
            self.assertLessEqual(wide(), 0, view)
        self.go("#/board")
        for name in ("Script", "Settings", "Export", "Play"):
            self.press(name)
            self.wait("dialog")
            self.assertLessEqual(box("d.getBoundingClientRect().right"), 361, name)
            self.assertLessEqual(box("d.scrollWidth - d.clientWidth"), 0, name)
            self.press("Close", "dialog")
        self.click(self.inside(0, ".frame"))
        self.wait("dialog.panel .thumb")
        self.assertLessEqual(box("d.scrollWidth - d.clientWidth"), 0)
        self.press("Close", "dialog")

    def test_a_model_is_downloaded_and_drawn_with(self):
        hub = Hub(MINI_FILES)
        self.addCleanup(hub.close)
        hub.faults["vae/diffusion_pytorch_model.safetensors"] = ["drip"]
        self.start(env={"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(self.folder / "hub")})
        self.go("#/models")
        self.type("form.pull input", "owner/none" + Keys.ENTER)
        self.wait(".jobs .failed")
        self.type("form.pull input", "owner/name" + Keys.ENTER)
        self.wait(".jobs progress")
        self.wait(lambda: any(e.text.startswith("owner/name") for e in self.all(".models-list li")), 60)
        self.press("Draw with this")
        self.wait(lambda: self.all(".models-list .used")[0].text.startswith("owner/name"))
        self.prepare("A fox.")
        self.click("#draw")
        self.drawn(1)
        self.assertEqual(self.server.json("GET", "/api/v1/pictures")["pictures"][0]["settings"]["model"], "owner/name")

    def test_a_token_is_asked_for(self):
        self.start("--token", "0123456789abcdef-page")
        self.go()
        self.type("dialog.token input", "0123456789abcdef-page" + Keys.ENTER)
        self.addCleanup(self.browser.delete_all_cookies)
        self.wait(".card")
        self.assertNotIn("dialog", [e.tag_name for e in self.all("dialog")])


@unittest.skipUnless(os.environ.get("KADR_SCREENSHOTS"), "KADR_SCREENSHOTS is not set")
class Screenshots(Browsing):
    """Pictures of every view, to be looked at."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kadr-page-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.server = s = Server(self.folder)
        self.addCleanup(s.end, signal.SIGKILL)
        mira = json.loads(s.ask("POST", "/api/v1/uploads", (EXAMPLES / "mira.png").read_bytes(), {"Content-Type": "image/png"})[2])["id"]
        s.wait(s.json("POST", "/api/v1/casts", {"name": "mira", "references": [mira]}, 201)["id"])
        s.json("POST", "/api/v1/boards", {"script": (EXAMPLES / "mira.fountain").read_text()}, 201)
        jobs = s.json("POST", "/api/v1/boards/1/draw", {}, 201)["jobs"]
        for job in jobs:
            s.wait(job)
        panels = s.json("GET", "/api/v1/boards/1")["board"]["boards"]
        s.wait(s.json("POST", f"/api/v1/boards/1/panels/{panels[1]['uid']}/revise", {"seed": 5}, 201)["jobs"][0])
        s.json("PATCH", f"/api/v1/boards/1/panels/{panels[2]['uid']}", {"duration": 3500})

    def shoot(self, name):
        time.sleep(0.4)
        self.browser.save_screenshot(str(pathlib.Path(os.environ["KADR_SCREENSHOTS"]) / (name + ".png")))

    def views(self, kind, word):
        for view in ("board", "gallery", "casts", "models", "queue"):
            self.go("#/" + view)
            self.wait(f"main.{view} > *")
            time.sleep(0.5)
            self.shoot(f"{view}-{kind}")
        self.go("#/board")
        for name, key in (("script", word["script"]), ("settings", word["settings"]), ("export", word["export"]), ("player", word["play"])):
            self.press(key)
            self.wait("dialog")
            self.shoot(f"{name}-{kind}")
            self.press(word["close"], "dialog")
        self.click(self.inside(1, ".frame"))
        self.wait("dialog.panel .thumb")
        self.click(lambda: self.all("dialog .check input[type=checkbox]")[1])
        self.drag(".mask", 50, 10)
        self.shoot(f"panel-{kind}")
        self.press(word["close"], "dialog")

    def test_views(self):
        words = {"en": {"script": "Script", "settings": "Settings", "export": "Export", "play": "Play", "close": "Close"},
                 "ru": {"script": "Сценарий", "settings": "Настройки", "export": "Сохранить как", "play": "Смотреть", "close": "Закрыть"}}
        for language in ("en", "ru"):
            self.browser = start_browser(language)
            try:
                for dark, phone in ((False, False), (True, False), (language == "ru", True)):
                    resize(self.browser, *((390, 844) if phone else (1360, 900)))
                    self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})
                    self.views(f"{language}-{'phone' if phone else 'desk'}-{'dark' if dark else 'light'}", words[language])
            finally:
                self.browser.quit()


if __name__ == "__main__":
    if not (webdriver and CHROMIUM and DRIVER):
        print("skipped: chromium, chromedriver or the Python package selenium is missing")
        sys.exit(77)  # what meson takes for skipped
    unittest.main()
