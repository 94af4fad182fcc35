"""libkadr as another program uses it: the example at the top of kadr.h is compiled, linked both ways
and run; both forms define kadr_* and nothing else.

KADR_BUILD is the build folder, KADR_INCLUDE the folder of kadr.h, KADR_MODELS that of shipped models,
CC the compiler.
"""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD = pathlib.Path(os.environ["KADR_BUILD"])
INCLUDE = pathlib.Path(os.environ["KADR_INCLUDE"])
CC = shlex.split(os.environ.get("CC", "cc"))
SHARED = BUILD / ("libkadr.dylib" if sys.platform == "darwin" else "libkadr.so")
STATIC = BUILD / "libkadr.a"


def run(*command, **more):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=240, **more)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def private_libraries():
    """What a static link needs besides, as the pkg-config file says."""
    path = BUILD / "meson-uninstalled"
    words = run("pkg-config", "--static", "--libs", "kadr", env=os.environ | {"PKG_CONFIG_PATH": str(path)}).split()
    return [w for w in words if "libkadr" not in w and w != "-lkadr"]


def example():
    """The program inside the header's first comment."""
    comment = (INCLUDE / "kadr.h").read_text().split("*/")[0]
    lines = [re.sub(r"^ \* {0,5}", "", line) for line in comment.splitlines() if re.match(r"^ \*( {5}|$)", line)]
    code = "\n".join(lines)
    assert "int main" in code, "kadr.h opens with no example"
    return code


class Library(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kadr-library-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def build(self, code, name, *libraries):
        source = self.folder / f"{name}.c"
        source.write_text(code)
        run(*CC, "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{INCLUDE}", source, "-o", self.folder / name, *libraries)
        return self.folder / name

    def draw(self, program):
        mini = pathlib.Path(os.environ["KADR_MODELS"]) / "mini"
        run(program, mini, cwd=self.folder)
        pictures = list(self.folder.glob("*.png"))
        self.assertTrue(pictures)
        return sorted((p.name, p.read_bytes()) for p in pictures)

    def test_the_example_runs_linked_both_ways(self):
        shared = self.draw(self.build(example(), "shared", SHARED, f"-Wl,-rpath,{BUILD}"))
        static = self.draw(self.build(example(), "static", STATIC, *private_libraries()))
        self.assertEqual(shared, static)

    def test_names_of_the_library_do_not_meet_those_of_a_program(self):
        code = """#include <kadr.h>
            int mem_open(void), mem_alloc(void), json_read(void), cpu_flags(void);
            int mem_open(void) { return 1; } int mem_alloc(void) { return 1; }
            int json_read(void) { return 1; } int cpu_flags(void) { return 1; }
            int main(void) {
                kadr_context *ctx;
                if (kadr_open(0, &ctx, 0) != KADR_OK) return 2;
                kadr_close(ctx);
                return 0;
            }"""
        run(self.build(code, "static", STATIC, *private_libraries()))
        run(self.build(code, "shared", SHARED, f"-Wl,-rpath,{BUILD}"))

    def test_only_kadr_is_defined(self):
        for library, flag in ((SHARED, "-D"), (STATIC, "-g")):
            names = {line.split()[-1].lstrip("_") for line in run("nm", flag, "--defined-only", library).splitlines() if len(line.split()) == 3}
            self.assertIn("kadr_draw", names)
            self.assertEqual([n for n in names if not n.startswith("kadr_")], [])

    def test_the_header_stands_alone(self):
        for language, standard in (("c", "c99"), ("c++", "c++11")):
            source = self.folder / "alone.c"
            source.write_text('#include "kadr.h"\n#include "kadr.h"\nint main(void) { return KADR_OK; }\n')
            run(*CC, "-x", language, f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", f"-I{INCLUDE}", source)


if __name__ == "__main__":
    unittest.main(verbosity=2)
