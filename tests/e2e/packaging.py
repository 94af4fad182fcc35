"""The units that people copy: systemd's own check of them, and the property list as Apple's readers take it."""

import os
import pathlib
import plistlib
import re
import shutil
import subprocess
import tempfile
import unittest

KADR = os.environ["KADR"]
ROOT = pathlib.Path(os.environ["KADR_MODELS"]).parent


class Packaging(unittest.TestCase):
    def verify(self, name, text, *flags):
        if not shutil.which("systemd-analyze"):
            self.skipTest("systemd is not installed")
        folder = pathlib.Path(tempfile.mkdtemp(prefix="kadr-units-"))
        self.addCleanup(shutil.rmtree, folder)
        (folder / name).write_text(text.replace("/usr/local/bin/kadr", KADR))  # which it looks for
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", *flags, str(folder / name)], capture_output=True, text=True,
                              env=os.environ | {"XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}, timeout=60)
        own = [line for line in (done.stdout + done.stderr).splitlines() if name in line]
        self.assertEqual((done.returncode, own), (0, []), done.stdout + done.stderr)

    def test_the_units(self):
        unit = (ROOT / "packaging/kadr.service").read_text()
        self.verify("kadr.service", unit, "--user")
        many = (ROOT / "docs/many-machines.md").read_text()
        work = re.search(r"# /etc/systemd/system/kadr-work.service\n((?:    .*\n)+)", many)[1].replace("    ", "")
        self.verify("kadr-work.service", work.replace("User=kadr\n", ""))
        with self.assertRaises(AssertionError):
            self.verify("kadr.service", unit.replace("Restart=on-failure", "Restart=sometimes"), "--user")

    def test_the_property_list(self):
        agent = plistlib.loads((ROOT / "packaging/org.kadr.serve.plist").read_bytes())
        self.assertEqual(agent["Label"], "org.kadr.serve")
        self.assertTrue(agent["RunAtLoad"])
        said = subprocess.run([KADR, *agent["ProgramArguments"][1:], "--help"], capture_output=True, text=True, timeout=60)
        self.assertEqual((agent["ProgramArguments"][0], said.returncode), ("/usr/local/bin/kadr", 0))


if __name__ == "__main__":
    unittest.main(verbosity=2)
