"""The APIs of kadr serve, asked by the clients that people have: one server of the mini model for all of it.

Each kind is skipped where its client is not installed (tools/test-python installs them all).
"""

import base64
import io
import json
import os
import pathlib
import shutil
import signal
import tempfile
import time
import unittest
import zlib

import serve

WIDTH, HEIGHT = 96, 64


def png(width, height, rgba):
    """A picture of one colour, written by hand: rgba(x, y) gives its pixels."""
    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    rows = b"".join(b"\0" + b"".join(bytes(rgba(x, y)) for x in range(width)) for y in range(height))
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x06\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def size_of(data):
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


GREY = png(WIDTH, HEIGHT, lambda x, y: (90, 120, 150, 255))
LEFT = png(WIDTH, HEIGHT, lambda x, y: (0, 0, 0, 0 if x < WIDTH // 2 else 255))


def setUpModule():
    Apis.folder = pathlib.Path(tempfile.mkdtemp(prefix="kadr-apis-"))
    # Requests of other programs say nothing about steps.
    loras = Apis.folder / "loras"
    loras.mkdir()
    shutil.copy(pathlib.Path(os.environ["KADR_TEST_DATA"]) / "golden/mini/pictures/kohya.safetensors", loras / "ink.safetensors")
    Apis.server = serve.Server(Apis.folder, env={"KADR_STEPS": "4", "KADR_LORA_FOLDER": str(loras)})


def tearDownModule():
    code = Apis.server.end(signal.SIGINT)
    shutil.rmtree(Apis.folder)
    assert code == 0, code


class Apis(unittest.TestCase):
    def settings(self, data):
        """What kadr wrote into a picture."""
        return json.loads(self.server.ask("POST", "/api/v1/inspect", data, {"Content-Type": "image/png"})[2])["settings"]


class OpenAI(Apis):
    def setUp(self):
        try:
            import openai
        except ImportError:
            self.skipTest("the package openai is not installed")
        self.openai = openai
        self.images = openai.OpenAI(base_url=self.server.url + "/v1", api_key="none", max_retries=0).images

    def data(self, picture):
        return base64.b64decode(picture.b64_json)

    def refused(self, **wrong):
        with self.assertRaises(self.openai.BadRequestError, msg=wrong):
            (self.images.edit if "image" in wrong else self.images.generate)(**{"prompt": "a fox", "size": "96x64"} | wrong)

    def test_generations(self):
        answer = self.images.generate(prompt="a fox", n=2, size="96x64", model="mini", response_format="b64_json")
        self.assertEqual([size_of(self.data(p)) for p in answer.data], [(WIDTH, HEIGHT)] * 2)
        answer = self.images.generate(prompt="a fox", size="96x64", model="dall-e-3", response_format="url")
        drawn = self.server.ask("GET", answer.data[0].url[len(self.server.url):])[2]
        self.assertEqual(self.settings(drawn)["prompt"], "a fox")
        sown = self.data(self.images.generate(prompt="a fox", size="96x64", extra_body={"seed": 2**53 - 2}).data[0])
        self.assertEqual(self.settings(sown)["seed"], 2**53 - 2)
        self.refused(extra_body={"seed": -1})
        self.assertEqual(self.data(self.images.generate(prompt="a fox", size="96x64", output_format="jpeg").data[0])[:3], b"\xff\xd8\xff")
        self.assertEqual(self.data(self.images.generate(prompt="a fox", size="96x64", output_format="webp",
                                                        output_compression=50).data[0])[8:12], b"WEBP")
        self.refused(size="65x64")
        self.refused(size="big")
        self.refused(n=65)
        self.refused(response_format="gif")
        self.refused(output_format="gif")
        self.refused(stream=True, partial_images=4)
        models = self.openai.OpenAI(base_url=self.server.url + "/v1", api_key="none").models.list()
        self.assertEqual([m.id for m in models], ["mini"])

    def test_edits(self):
        image, mask = ("fox.png", GREY, "image/png"), ("mask.png", LEFT, "image/png")
        whole = self.data(self.images.edit(image=image, prompt="a bird", extra_body={"strength": 0.5}).data[0])
        said = self.settings(whole)
        self.assertEqual((said["strength"], size_of(whole), "mask" in said), (0.5, (WIDTH, HEIGHT), False))
        # Names of uploads, not paths of this machine.
        self.assertRegex(said["init"], "^[0-9a-f]{32}$")
        # A seed, because four steps may draw by chance what is nearly this grey.
        part = self.data(self.images.edit(image=[image], mask=mask, prompt="a bird", size="96x64", n=1, extra_body={"seed": 1}).data[0])
        said = self.settings(part)
        self.assertEqual((said["strength"], "mask" in said, said["seed"]), (1.0, True, 1))
        own = self.data(self.images.edit(image=("x", LEFT, "image/png"), prompt="a bird").data[0])
        self.assertIn("mask", self.settings(own))
        self.check_kept_where_the_mask_is_black(part)
        self.refused(image=image, mask=image)
        self.refused(image=("x", b"no picture", "image/png"))
        self.refused(image=("x", GREY[:-30], "image/png"))
        self.refused(image=image, extra_body={"strength": 2})
        self.refused(image=image, extra_body={"n": "1x"})
        # A picture that says it is enormous costs nothing.
        head = (30000).to_bytes(4, "big") * 2 + b"\x08\x06\0\0\0"
        bomb = GREY[:12] + b"IHDR" + head + zlib.crc32(b"IHDR" + head).to_bytes(4, "big") + GREY[33:]
        self.refused(image=("x", bomb, "image/png"))

    def check_kept_where_the_mask_is_black(self, drawn):
        try:
            from PIL import Image
        except ImportError:
            return
        picture = Image.open(io.BytesIO(drawn)).convert("RGB")
        def far(box):
            pixels = picture.crop(box).tobytes()
            return sum(abs(v - w) for v, w in zip(pixels, bytes((90, 120, 150)) * (len(pixels) // 3))) / len(pixels)
        self.assertLess(far((WIDTH - 32, 0, WIDTH, HEIGHT)) * 2, far((0, 0, 32, HEIGHT)))

    def test_streams(self):
        told = list(self.images.generate(prompt="a fox", size="96x64", stream=True, partial_images=2, extra_body={"n": 1}))
        partial = [e for e in told if e.type == "image_generation.partial_image"]
        self.assertEqual(told[-1].type, "image_generation.completed")
        self.assertEqual([e.partial_image_index for e in partial], list(range(len(partial))))
        self.assertTrue(1 <= len(partial) <= 2)
        self.assertEqual({(e.size, size_of(self.data(e))) for e in told}, {("96x64", (WIDTH, HEIGHT))})
        self.assertEqual(self.settings(self.data(told[-1]))["prompt"], "a fox")
        told = list(self.images.edit(image=("a.png", GREY, "image/png"), prompt="a bird", stream=True, partial_images=0))
        self.assertEqual([e.type for e in told], ["image_edit.completed"])
        # What fails after the answer has begun is an event too.
        with self.assertRaises(self.openai.APIError):
            for event in self.images.generate(prompt="a fox", size="768x768", stream=True, partial_images=3, extra_body={"n": 1}):
                self.assertEqual(event.type, "image_generation.partial_image")
                for job in self.server.json("GET", "/api/v1/jobs")["jobs"]:
                    if job["state"] == "running":
                        self.server.json("POST", f"/api/v1/jobs/{job['id']}/cancel", {})

    def test_forms_that_are_none(self):
        part = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na\r\n'
        for kind, body in (("multipart/form-data; boundary=x", part), ("multipart/form-data; boundary=x", part * 2 + b"--x--\r\n"),
                           ("multipart/form-data", part + b"--x--\r\n"), ("multipart/form-data; boundary=x", b""),
                           ("multipart/form-data; boundary=x", part + b"--x--\r\n"),
                           ("multipart/form-data; boundary=x", part.replace(b"\r\na\r\n", b"\r\n\xff\r\n") + b"--x--\r\n")):
            self.assertEqual(self.server.ask("POST", "/v1/images/edits", body, {"Content-Type": kind})[0], 400, (kind, body))
        self.assertEqual(self.server.ask("POST", "/v1/images/edits", {"prompt": "a"})[0], 415)


class A1111(Apis):
    """AUTOMATIC1111's API, by the client webuiapi."""

    SIZE = {"width": WIDTH, "height": HEIGHT, "steps": 3}

    def setUp(self):
        try:
            import webuiapi
            from PIL import Image
        except ImportError:
            self.skipTest("the package webuiapi is not installed")
        self.Image = Image
        self.api = webuiapi.WebUIApi(host="127.0.0.1", port=self.server.port)

    def refused(self, **wrong):
        call = self.api.img2img if "images" in wrong else self.api.txt2img
        with self.assertRaises(RuntimeError, msg=wrong) as refused:
            call(**{"prompt": "a fox"} | self.SIZE | wrong)
        self.assertIn(refused.exception.args[0], (400, 404))
        return json.loads(refused.exception.args[1])["detail"]

    def scene(self, width=WIDTH, height=HEIGHT):
        picture = self.Image.linear_gradient("L").resize((width, height))
        return self.Image.merge("RGB", (picture, picture.rotate(180), self.Image.new("L", (width, height), 120)))

    def test_what_there_is(self):
        api = self.api
        self.assertLessEqual({"Euler", "Euler a", "DPM++ 2M", "DPM++ 2M SDE", "DDIM", "UniPC", "Heun", "LCM"},
                             set(api.util_get_sampler_names()))
        self.assertIn("karras", api.util_get_scheduler_names())
        self.assertEqual(api.util_get_model_names(), ["mini"])
        self.assertEqual(api.util_get_current_model(), "mini")
        self.assertEqual([m["name"] for m in api.get_loras()], ["ink"])
        self.assertEqual([api.get_sd_vae(), api.get_hypernetworks(), api.get_face_restorers(), api.get_realesrgan_models(),
                          api.get_prompt_styles(), api.get_latent_upscale_modes()], [[]] * 6)
        self.assertEqual(api.get_scripts(), {"txt2img": [], "img2img": []})
        self.assertEqual(api.get_embeddings(), {"loaded": {}, "skipped": {}})
        self.assertEqual(api.get_upscalers()[0]["name"], "None")
        self.assertGreater(api.get_memory()["ram"]["total"], api.get_memory()["ram"]["used"])
        self.assertTrue(api.get_cmd_flags()["api"])
        self.assertEqual(api.refresh_checkpoints(), {})
        api.util_wait_for_ready(0.1)

    def test_txt2img(self):
        import hashlib
        done = self.api.txt2img(prompt="a fox <lora:ink:0.5>", negative_prompt="blue", seed=7, batch_size=2, n_iter=1,
                                cfg_scale=4, sampler_name="DPM++ 2M", scheduler="Karras", **self.SIZE)
        self.assertEqual([p.size for p in done.images], [(WIDTH, HEIGHT)] * 2)
        self.assertEqual((done.info["all_seeds"], done.info["prompt"]), ([7, 8], "a fox <lora:ink:0.5>"))
        self.assertEqual((done.parameters["cfg_scale"], done.parameters["n_iter"], done.parameters["hr_scale"]), (4, 1, 2))
        self.assertIn("Sampler: DPM++ 2M", done.info["infotexts"][0])
        said = json.loads(done.image.info["kadr"])
        self.assertEqual({k: said[k] for k in ("prompt", "negative", "sampler", "schedule", "guidance", "rng", "empty", "lora")},
                         {"prompt": "a fox ", "negative": "blue", "sampler": "dpmpp_2m", "schedule": "karras", "guidance": 4,
                          "rng": "philox", "empty": "text", "lora": ["ink:0.5"]})
        # What the LoRA changes, and that the same seed is the same picture.
        hashes = [hashlib.sha256(self.api.txt2img(prompt=p, negative_prompt="blue", seed=7, cfg_scale=4, sampler_name=s,
                                                  scheduler=k, **self.SIZE).image.tobytes()).digest()
                  for p, s, k in (("a fox <lora:ink:0.5>", "DPM++ 2M Karras", None), ("a fox ", "DPM++ 2M", "automatic"))]
        self.assertEqual(hashes[0], hashlib.sha256(done.image.tobytes()).digest())
        self.assertNotEqual(hashes[1], hashes[0])
        self.assertEqual(self.api.txt2img(prompt="a fox", send_images=False, **self.SIZE).images, [])
        jpeg = self.api.txt2img(prompt="a fox", override_settings={"samples_format": "jpg", "nothing": 1}, **self.SIZE)
        self.assertEqual(jpeg.image.format, "JPEG")
        # Sides are cut to multiples of 8, as theirs.
        self.assertEqual(self.api.txt2img(prompt="a fox", width=71, height=64, steps=1).image.size, (64, 64))

    def test_what_is_refused(self):
        for wrong in ({"sampler_name": "Restart"}, {"scheduler": "Polyexponential"}, {"enable_hr": True}, {"tiling": True},
                      {"restore_faces": True}, {"subseed_strength": 0.5}, {"script_name": "xyz"}, {"steps": 0}, {"cfg_scale": "x"},
                      {"batch_size": 33, "n_iter": 2}, {"alwayson_scripts": {"ControlNet": {"args": []}}}, {"s_churn": 1},
                      {"override_settings": {"sd_vae": "x.pt"}}, {"prompt": "a <lora:nothing:1>"}, {"prompt": "<lora:../ink:1>"},
                      {"prompt": "<lora:ink:x>"}, {"prompt": "<hypernet:x:1>"}, {"images": []}, {"images": [self.scene()] * 2},
                      {"images": [self.scene()], "inpainting_fill": 2}):
            self.assertTrue(self.refused(**wrong), wrong)
        self.refused(override_settings={"sd_model_checkpoint": "nothing"})
        for body in ({"prompt": 5}, {"init_images": ["http://127.0.0.1/x.png"]}, {"init_images": ["@@@"]}, {"init_images": [5]}):
            self.assertEqual(self.server.ask("POST", "/sdapi/v1/img2img", body | self.SIZE)[0], 400, body)
        # Unknown fields are not looked at.
        self.assertEqual(self.server.ask("POST", "/sdapi/v1/txt2img", {"prompt": "a", "x": {}, "styles": None} | self.SIZE)[0], 200)

    def test_img2img(self):
        import PIL.ImageChops as chops
        scene = self.scene()
        done = self.api.img2img(images=[scene], prompt="a fox", denoising_strength=0.3, seed=1, **self.SIZE)
        said = json.loads(done.image.info["kadr"])
        self.assertEqual((said["strength"], done.image.size, done.parameters["denoising_strength"]), (0.3, (WIDTH, HEIGHT), 0.3))
        self.assertNotIn("init_images", done.parameters)
        far = lambda a, b: sum(chops.difference(a.convert("RGB"), b).convert("L").tobytes()) / (a.width * a.height)
        self.assertLess(far(done.image, scene), 60)
        # Another size: stretched, cut or filled.
        for mode in range(4):
            done = self.api.img2img(images=[self.scene(50, 90)], prompt="a", resize_mode=mode, **self.SIZE)
            self.assertEqual(done.image.size, (WIDTH, HEIGHT))

    def test_inpainting_keeps_the_rest(self):
        import PIL.ImageChops as chops
        scene, mask = self.scene(200, 160), self.Image.new("L", (200, 160))
        mask.paste(255, (60, 50, 110, 90))
        for settings in ({"inpaint_full_res": True, "inpaint_full_res_padding": 16}, {"inpaint_full_res": True, "inpainting_fill": 1},
                         {"inpaint_full_res": False, "width": 200, "height": 160}):
            done = self.api.img2img(images=[scene], mask_image=mask, mask_blur=2, prompt="a fox", denoising_strength=1.0,
                                    **self.SIZE | settings)
            self.assertEqual(done.image.size, (200, 160))
            changed = chops.difference(done.image.convert("RGB"), scene).convert("L").point(lambda v: 255 if v > 2 else 0).getbbox()
            self.assertTrue(changed[0] >= 50 and changed[1] >= 40 and changed[2] <= 120 and changed[3] <= 100, (settings, changed))
            self.assertTrue(changed[2] - changed[0] > 30 and changed[3] - changed[1] > 20, (settings, changed))
        done = self.api.img2img(images=[scene], mask_image=mask, inpainting_mask_invert=1, inpaint_full_res=False, mask_blur=0,
                                prompt="a", denoising_strength=1.0, **self.SIZE | {"width": 200, "height": 160})
        self.assertIsNone(chops.difference(done.image.convert("RGB"), scene).crop((60, 50, 110, 90)).getbbox())

    def test_progress_and_interrupt(self):
        import threading
        got = []
        long = {"prompt": "a fox", "width": 256, "height": 256, "steps": 300, "n_iter": 2}
        asking = threading.Thread(target=lambda: got.append(self.api.txt2img(**long)))
        asking.start()
        for _ in range(2400):
            told = self.api.get_progress()
            if told["state"]["sampling_steps"] == 300 and told["current_image"]:
                break
            time.sleep(0.05)
        self.assertEqual(told["state"]["job_count"], 2)
        self.assertTrue(0 < told["progress"] < 1, told)
        self.assertEqual(self.Image.open(io.BytesIO(base64.b64decode(told["current_image"]))).size, (32, 32))
        self.assertEqual(self.api.interrupt(), {})
        asking.join(60)
        self.assertEqual(len(got), 1)
        self.assertEqual(got[0].images, [])
        self.assertEqual(self.api.skip(), {})

    def test_skip(self):
        """The picture at work is left out, the others come."""
        import threading
        got = []
        asking = threading.Thread(target=lambda: got.append(self.api.txt2img(prompt="a fox", seed=7, n_iter=3, width=128, height=128, steps=60)))
        asking.start()
        for _ in range(6000):
            told = self.api.get_progress()
            if told["state"]["sampling_steps"] == 60 and told["state"]["sampling_step"] > 1:
                break
            time.sleep(0.02)
        at = told["state"]["job_no"]
        self.assertLess(at, 2)
        self.assertEqual(self.api.skip(), {})
        asking.join(120)
        # On a machine with much else to do the next one may have been at work by then.
        self.assertIn(got[0].info["all_seeds"], [[seed for seed in (7, 8, 9) if seed != 7 + left] for left in (at, at + 1)])
        self.assertEqual(len(got[0].images), 2)

    def test_options_and_png_info(self):
        self.api.set_options({"samples_format": "webp", "sd_model_checkpoint": "mini", "unknown": 1})
        try:
            self.assertEqual(self.api.get_options()["samples_format"], "webp")
            self.assertEqual(self.api.txt2img(prompt="a", **self.SIZE).image.format, "WEBP")
            self.assertEqual(self.server.ask("POST", "/sdapi/v1/options", {"sd_model_checkpoint": "x"})[0], 404)
        finally:
            self.api.set_options({"samples_format": "png"})
        drawn = self.api.txt2img(prompt="a fox", negative_prompt="red, blue", seed=9, **self.SIZE)
        told = self.api.png_info(drawn.image)
        self.assertEqual(told.info, drawn.image.info["parameters"])
        self.assertEqual({k: told.parameters[k] for k in ("Prompt", "Negative prompt", "Seed", "Size-1", "Size-2")},
                         {"Prompt": "a fox", "Negative prompt": "red, blue", "Seed": "9", "Size-1": "96", "Size-2": "64"})

    def test_a_password_is_a_token(self):
        import webuiapi
        folder = pathlib.Path(tempfile.mkdtemp(prefix="kadr-token-"))
        self.addCleanup(shutil.rmtree, folder)
        s = serve.Server(folder, env={"KADR_TOKEN": serve.TOKEN})
        self.addCleanup(s.end, signal.SIGKILL)
        api = webuiapi.WebUIApi(host="127.0.0.1", port=s.port, username="any", password=serve.TOKEN)
        self.assertEqual(api.get_scripts(), {"txt2img": [], "img2img": []})
        api = webuiapi.WebUIApi(host="127.0.0.1", port=s.port, username="any", password=serve.TOKEN + "x")
        self.assertIn("error", api.get_scripts())


class Own(Apis):
    def test_uploads(self):
        s = self.server
        status, _, answer = s.ask("POST", "/api/v1/uploads", GREY, {"Content-Type": "image/png"})
        upload = json.loads(answer)
        self.assertEqual((status, upload["width"], upload["height"]), (201, WIDTH, HEIGHT))
        ask = serve.SMALL | {"init": upload["id"], "strength": 0.5}
        first = s.wait(s.json("POST", "/api/v1/jobs", ask, 201)["id"])
        self.assertEqual(first["state"], "done", first)
        again = s.wait(s.json("POST", "/api/v1/jobs", ask | {"init": first["pictures"][0]["id"]}, 201)["id"])
        self.assertEqual(again["state"], "done", again)
        for wrong in ("0" * 32, "../" + upload["id"], upload["id"] + ".png", "", "/etc/passwd", 99, -1, 2.5, [], True):
            self.assertEqual(s.ask("POST", "/api/v1/jobs", ask | {"init": wrong})[0], 400, wrong)
        self.assertEqual(s.ask("POST", "/api/v1/uploads", b"x", {"Content-Type": "image/png"})[0], 400)


if __name__ == "__main__":
    unittest.main(verbosity=2)
