"""The program among broken models, broken files, full disks and impatient people.

KADR_TEST_DATA is tests/data; for the rest see cli.py.
"""

import errno
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import struct
import subprocess
import time
import unittest

import cli

DATA = pathlib.Path(os.environ["KADR_TEST_DATA"])
MICRO = DATA / "models" / "micro"
SMALL = ("-W", "64", "-H", "64", "--steps", "1", "-s", "1", "-q")
UNET = "unet/diffusion_pytorch_model.safetensors"


def header(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def write_header(path, tensors, data):
    text = json.dumps(tensors).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


class Hostile(cli.Cli):
    def micro(self, *arguments, **more):
        return self.kadr("generate", "x", "-m", MICRO, *SMALL, *arguments, **more)

    def must_be_clean(self, *allowed):
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), sorted(allowed))


class Models(Hostile):
    """Each is refused with status 3, one line that names the place, and nothing written."""

    def setUp(self):
        super().setUp()
        self.model = self.folder / "model"
        self.slowest, self.count = (0, ""), 0

    def refused(self, what, *says):
        began = time.monotonic()
        done = self.kadr("generate", "x", "-m", self.model, *SMALL, "-o", "x.png", status=3)
        self.slowest = max(self.slowest, (time.monotonic() - began, what))
        self.count += 1
        self.assertEqual(done.stderr.count("\n"), 1, what)
        for word in ("model", *says):
            self.assertIn(word, done.stderr, what)
        self.must_be_clean(*([self.model.name] if self.model.exists() else []))

    def fresh(self):
        shutil.rmtree(self.model, ignore_errors=True)
        shutil.copytree(MICRO, self.model)

    def tearDown(self):
        print(f"{self.count} models refused, the slowest ({self.slowest[1]}) in {self.slowest[0] * 1000:.0f} ms")

    def test_configurations(self):
        values = [-1, 0, 1 << 62, 10**30, "8", 1.5, True, {}, [], [[1]]]
        keys = {
            "unet": ["block_out_channels", "attention_head_dim", "norm_num_groups", "layers_per_block", "cross_attention_dim"],
            "vae": ["block_out_channels", "latent_channels", "norm_num_groups"],
            "text_encoder": ["hidden_size", "num_attention_heads"],
        }
        for part, names in keys.items():
            for name in names:
                for value in values:
                    self.change(part, name, value)
        for part, name, value in [
            ("unet", "block_out_channels", [1 << 16] * 2),
            ("unet", "block_out_channels", [7, 8]),
            ("unet", "norm_eps", -1),
            ("unet", "act_fn", "sine"),
            ("unet", "down_block_types", ["CrossAttnDownBlock2D"] * 9),
            ("unet", "addition_embed_type", "text_image"),
            ("vae", "scaling_factor", 0),
            ("vae", "scaling_factor", -0.5),
            ("vae", "block_out_channels", [30, 60]),
            ("vae", "latents_mean", [1, 2]),
            ("text_encoder", "layer_norm_eps", -1e-5),
            ("text_encoder", "hidden_act", 3),
            ("text_encoder_2", "vocab_size", 10**6),
            ("scheduler", "num_train_timesteps", 10**9),
            ("scheduler", "beta_end", -1),
            ("scheduler", "prediction_type", "sample?"),
        ]:
            self.change(part, name, value)
        self.assertGreater(self.count, 100)

    def change(self, part, name, value):
        self.fresh()
        path = self.model / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
        self.refused(f"{part}.{name} = {value}")

    def test_files(self):
        unet = self.model / UNET

        def tensors(change):
            own, data = header(unet)
            change(own)
            write_header(unet, own, data)

        def shape(own):
            own["conv_in.weight"]["shape"].reverse()

        def integers(own):
            own["conv_in.weight"]["dtype"] = "I32"

        def renamed(own):
            own["conv_in.wight"] = own.pop("conv_in.weight")

        def wraps(own):
            own["conv_in.weight"]["shape"] = [1 << 62, 4, 1, 1]

        def overlap(own):
            own["conv_in.weight"]["data_offsets"] = own["conv_in.bias"]["data_offsets"]

        def cycle():
            unet.rename(unet.with_name("a.safetensors"))
            index = unet.with_name(unet.name + ".index.json")
            index.write_text(json.dumps({"weight_map": {"conv_in.weight": index.name}}))

        def link():
            unet.unlink()
            unet.symlink_to(unet.name)

        def pickle():
            unet.rename(unet.with_name("diffusion_pytorch_model.bin"))

        cases = {
            "no model at all": (lambda: shutil.rmtree(self.model), "model"),
            "an empty folder": (lambda: (shutil.rmtree(self.model), self.model.mkdir()), "model_index.json"),
            "a shape": (lambda: tensors(shape), UNET, "conv_in.weight", "expected"),
            "a type": (lambda: tensors(integers), UNET, "conv_in.weight", "expected"),
            "a name": (lambda: tensors(renamed), "conv_in.weight"),
            "a product that wraps": (lambda: tensors(wraps), UNET, "conv_in.weight"),
            "an overlap": (lambda: tensors(overlap), UNET, "conv_in."),
            "cut": (lambda: os.truncate(unet, unet.stat().st_size - 1), UNET, "cut short"),
            "cut in the header": (lambda: os.truncate(unet, 100), UNET),
            "empty": (lambda: os.truncate(unet, 0), UNET, "0 bytes"),
            "a shard that is its own index": (cycle, "index.json", "expected the name"),
            "a link to itself": (link, UNET),
            "a pickle": (pickle, "diffusion_pytorch_model.bin", "safetensors"),
            "no vocabulary": (lambda: (self.model / "tokenizer/vocab.json").unlink(), "vocab.json"),
            "a vocabulary that is none": (lambda: (self.model / "tokenizer/vocab.json").write_text("[]"), "vocab.json"),
            "merges that are none": (lambda: (self.model / "tokenizer/merges.txt").write_text("x y z\n"), "merges.txt:1"),
            "deep JSON": (lambda: (self.model / "unet/config.json").write_text("[" * 10**5), "unet/config.json", "deeper"),
        }
        for what, (change, *says) in cases.items():
            self.fresh()
            change()
            self.refused(what, *says)
        shutil.rmtree(self.model)
        for name in ("model.ckpt", "model.safetensors"):
            self.model = self.folder / name
            self.model.write_bytes(b"PK\3\4" + bytes(100))
            done = self.kadr("generate", "x", "-m", self.model, status=3)
            self.assertIn(name, done.stderr)
            self.assertIn("pickle", done.stderr)
            self.model.unlink()
        self.must_be_clean()

    def test_weights_that_are_no_numbers(self):
        """Found only by computing: no grey picture that looks like a result."""
        self.fresh()
        own, data = header(self.model / UNET)
        at = own["conv_in.bias"]["data_offsets"][0]
        write_header(self.model / UNET, own, data[:at] + b"\0\0\xc0\x7f" + data[at + 4 :])
        self.refused("NaN", "no numbers")


class Packed(Hostile):
    """What a packed model says about itself is not believed."""

    WEIGHT = "unet.time_embedding.linear_1.bias"

    def setUp(self):
        super().setUp()
        self.kadr("pack", MICRO, "-o", "good.kadr", "--weights", "f32", "-q")
        self.own, self.data = header(self.folder / "good.kadr")
        self.about = self.own["__metadata__"]["kadr"]
        self.kadr("generate", "x", "-m", "good.kadr", *SMALL, "-o", "x.png")
        (self.folder / "x.png").unlink()
        (self.folder / "x.kadr.json").unlink()

    def refused(self, change, *says, data=None):
        about = json.loads(self.about)
        change(about)
        self.own["__metadata__"]["kadr"] = json.dumps(about)
        write_header(self.folder / "bad.kadr", self.own, data or self.data)
        done = self.kadr("generate", "x", "-m", "bad.kadr", *SMALL, "-o", "x.png", status=3)
        for word in ("bad.kadr", *says):
            self.assertIn(word, done.stderr)
        self.must_be_clean("bad.kadr", "good.kadr")

    def test_what_is_said_of_a_tensor(self):
        item = json.loads(self.about)["items"][self.WEIGHT]
        elements = item["shape"][0]
        self.assertEqual((item["form"], item["dtype"], item["bytes"]), ("rows", "f32", 4 * elements))
        for change in (
            # Smaller elements than those that are read would fill more than the room for them.
            {"dtype": "u8", "bytes": elements},
            {"dtype": "i8", "bytes": elements},
            {"dtype": "i32"},
            {"form": "text", "dtype": "u8", "bytes": elements, "shape": [elements]},
            {"form": "text"},
            {"form": "heap"},
            {"form": 7},
            {"bytes": 0},
            {"bytes": -4},
            {"bytes": 1 << 62},
            {"bytes": 4 * elements - 4},
            {"shape": [elements + 1]},
            {"shape": [1 << 62, 4]},
            {"shape": [0]},
            {"shape": [1] * 9},
            {"shape": "x"},
            {"dtype": "f16"},
        ):
            with self.subTest(change):
                self.refused(lambda about: about["items"][self.WEIGHT].update(change), self.WEIGHT)

    def test_f16(self):
        """Values are rounded to the nearest f16; what f16 cannot hold is refused, and leaves no file."""
        table, model = "text_encoder.text_model.embeddings.token_embedding.weight", self.folder / "model"
        shutil.copytree(MICRO, model)
        own, data = header(model / "text_encoder" / "model.safetensors")
        name = next(n for n in own if n.endswith("token_embedding.weight"))
        begin, end = own[name]["data_offsets"]
        values = struct.unpack(f"<{(end - begin) // 4}f", data[begin:end])
        self.kadr("pack", "model", "-o", "half.kadr", "--weights", "f16", "-q")
        packed, bytes_ = header(self.folder / "half.kadr")
        item = json.loads(packed["__metadata__"]["kadr"])["items"][table]
        self.assertEqual((item["form"], item["dtype"], item["bytes"]), ("rows", "f16", 2 * len(values)))
        at = packed[table]["data_offsets"][0]
        self.assertEqual(bytes_[at : at + 2 * len(values)], struct.pack(f"<{len(values)}e", *values))
        self.kadr("generate", "x", "-m", "half.kadr", *SMALL, "-o", "x.png")
        large = data[: end - 4] + struct.pack("<f", 65520.0) + data[end:]
        write_header(model / "text_encoder" / "model.safetensors", own, large)
        done = self.kadr("pack", "model", "-o", "large.kadr", "--weights", "f16", "-q", status=3)
        self.assertIn(f"{table}: 65520 is more than f16 holds", done.stderr)
        self.must_be_clean("model", "half.kadr", "good.kadr", "x.png", "x.kadr.json")

    def test_what_is_said_of_the_whole(self):
        self.refused(lambda about: about.update(version=2), "version 2")
        self.refused(lambda about: about.update(dtype="f31"))
        self.refused(lambda about: about.update(items=[]))
        self.refused(lambda about: about.update(configs={}))
        self.refused(lambda about: about["items"].pop(self.WEIGHT))
        at = self.own[self.WEIGHT]["data_offsets"][0]
        changed = bytearray(self.data)
        changed[at] ^= 1
        self.refused(lambda about: None, self.WEIGHT, "checksum", data=bytes(changed))


class Files(Hostile):
    def test_configuration_that_cannot_be_read(self):
        path = self.folder / "kadr.ini"
        for what, make in {
            "a folder": path.mkdir,
            "a pipe": lambda: os.mkfifo(path),
            "a link to itself": lambda: path.symlink_to(path.name),
            "not text": lambda: path.write_bytes(bytes(range(256))),
            "no end of a section": lambda: path.write_text("steps = 1\n[unclosed\n"),
            "an endless line": lambda: path.write_text("negative = " + "a" * 300000),
        }.items():
            make()
            done = self.kadr("generate", "x", "-m", MICRO, *SMALL, status=5 if what.startswith("a ") else 2)
            self.assertIn("kadr.ini", done.stderr, what)
            self.must_be_clean("kadr.ini")
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()

    def test_pictures_that_cannot_be_read(self):
        for name in ("rgb.png", "colour.jpg", "lossy.webp"):
            broken = self.folder / f"broken{pathlib.Path(name).suffix}"
            broken.write_bytes((DATA / "image" / name).read_bytes()[:70])
            for flag in ("--init", "--from"):
                arguments = ("x", flag, broken) if flag == "--init" else (flag, broken)
                done = subprocess.run(
                    [cli.KADR, "generate", *arguments, "-m", MICRO, *SMALL],
                    cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60,
                )
                self.assertIn(done.returncode, (2, 5), done.stderr)
                self.assertIn(broken.name, done.stderr)
            self.must_be_clean(broken.name)
            broken.unlink()
        for path in ("/dev/zero", self.folder):
            self.assertIn(str(path), self.micro("--init", path, status=5).stderr)

    def test_no_room(self):
        """A limit on the size of files stands for a full disk."""

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))

        done = subprocess.run(
            [cli.KADR, "generate", "x", "-m", MICRO, *SMALL, "-o", "x.png"],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, preexec_fn=limit, timeout=60,
        )
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertIn(f"x.png: {os.strerror(errno.EFBIG)}", done.stderr)
        self.must_be_clean()

    def test_places_for_pictures(self):
        (self.folder / "taken.png").mkdir()
        self.assertEqual(self.micro("-o", "taken.png").stdout, "taken.png/kadr-1.png\n")
        os.mkfifo(self.folder / "pipe.png")
        (self.folder / "device.png").symlink_to("/dev/null")
        for name in ("pipe.png", "device.png"):
            self.assertIn("regular file", self.micro("-o", name, status=5).stderr)
        self.micro("-o", "a" * 300 + ".png", status=5)
        self.micro("-o", "a/" * 3000 + "a.png", status=5)
        self.must_be_clean("taken.png", "pipe.png", "device.png")
        if os.geteuid():
            (self.folder / "locked").mkdir(mode=0o500)
            self.assertIn("locked", self.micro("-o", "locked/x.png", status=5).stderr)


class Words(Hostile):
    def test_prompts(self):
        self.assertIn("UTF-8", self.kadr("generate", b"a \xff\xc3".decode("utf-8", "surrogateescape"), status=2).stderr)
        self.assertIn("at most 65536", self.micro("-n", "foxes, " * 10000, status=2).stderr)
        for prompt in ("(x:9" + "9" * 50 + ")", "(" * 3000 + "x"):
            done = self.kadr("generate", prompt, "-m", MICRO, *SMALL, status=2)
            self.assertIn("weight", done.stderr)
        self.must_be_clean()
        self.kadr("generate", "fox, " * 3000 + "(((\\", "-m", MICRO, *SMALL)

    def test_numbers(self):
        for flag, value in [
            ("--steps", "99999999999999999999"), ("--steps", "0x10"), ("--steps", " 3"), ("--steps", ""), ("--steps", "1e1"),
            ("-g", "nan"), ("-g", "inf"), ("-g", "-0.1"), ("-g", "1,5"), ("-s", "-1"), ("-M", "-1G"), ("-M", "9" * 20 + "G"),
            ("-W", "0"), ("-W", "12"), ("-c", "0"), ("-a", "0:0"), ("-a", "1:0"), ("-a", "nan:1"), ("-o", ""), ("-m", ""),
        ]:
            self.kadr("generate", "x", f"{flag}={value}" if flag.startswith("--") else f"{flag}{value}" if value else flag,
                      *([] if value else [""]) if not flag.startswith("--") else [], status=2)
        self.must_be_clean()

    def test_messages_move_no_cursor(self):
        done = self.kadr("generate", "x", "-m", "\033[2J\u009b2J\a", status=3)
        self.assertNotRegex(done.stderr, "[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class Impatient(cli.Cli):
    def test_interrupted_at_any_time(self):
        """Whole pictures or none, and no temporary file."""
        moments = random.Random(5)
        for number in range(8):
            program = subprocess.Popen(
                [cli.KADR, "generate", "x", "--steps", "4", "-c", "500", "-W", "64", "-H", "64", "-s", "1", "-o", "x.png"],
                cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
            self.addCleanup(program.kill)
            time.sleep(moments.uniform(0.3, 2.5))
            program.send_signal(signal.SIGINT)
            said = program.communicate(timeout=60)[1]
            self.assertEqual(program.returncode, 130, said)
            for path in self.folder.iterdir():
                self.assertIn(path.suffix, (".png", ".json"))
                if path.suffix == ".png":
                    cli.read_png(path)
                else:
                    json.loads(path.read_text())
                path.unlink()

    def test_nobody_reads(self):
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run([cli.KADR, "help"], stdout=write, stderr=subprocess.PIPE, env=self.environment, timeout=60)
        os.close(write)
        self.assertIn(done.returncode, (5, -signal.SIGPIPE))
        done = subprocess.run(
            ["sh", "-c", f'"{cli.KADR}" generate x -m "{MICRO}" -W 64 -H 64 --steps 1 -s 1 -o x.png 2>&- >&-'],
            cwd=self.folder, env=self.environment, timeout=60,
        )
        self.assertIn(done.returncode, (0, 5))
        cli.read_png(self.folder / "x.png")  # nothing was printed into it


if __name__ == "__main__":
    unittest.main(verbosity=2)
