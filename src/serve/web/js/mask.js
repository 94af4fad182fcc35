/* mask.js: painting over a picture what is to be drawn again. Works with pointers and with keys: arrows move the
 * brush, space paints. */
import { button, labelled, make } from "./dom.js";
import { t } from "./words.js";

const STEPS_BACK = 20;

export class Mask {
  constructor(image) {
    this.image = image;
    this.canvas = make("canvas", { className: "mask", tabIndex: 0, width: image.naturalWidth, height: image.naturalHeight, aria: { label: t("paint-hint") } });
    this.canvas.setAttribute("role", "img");
    this.ring = make("span", { className: "ring", hidden: true });
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.size = make("input", { type: "range", min: 2, max: 50, value: 14 });
    this.erase = make("input", { type: "checkbox" });
    this.back = [];
    this.at = [this.canvas.width / 2, this.canvas.height / 2];
    this.controls = make("div", { className: "row mask-tools" }, labelled("brush", this.size),
      make("label", { className: "check" }, this.erase, make("span", { textContent: t("eraser") })),
      make("button", { type: "button", textContent: "↶", title: "Ctrl+Z", onclick: () => this.undo() }), button("clear", () => { this.keep(); this.wipe(); }));
    this.listen();
  }

  get radius() { return Number(this.size.value) / 200 * this.canvas.width; }
  keep() { this.back = [...this.back.slice(-STEPS_BACK), this.context.getImageData(0, 0, this.canvas.width, this.canvas.height)]; }
  wipe() { this.context.clearRect(0, 0, this.canvas.width, this.canvas.height); }
  undo() { const last = this.back.pop(); if (last) this.context.putImageData(last, 0, 0); }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width * this.canvas.width, (event.clientY - box.top) / box.height * this.canvas.height];
  }

  line(from, to) {
    const c = this.context;
    c.globalCompositeOperation = this.erase.checked ? "destination-out" : "source-over";
    c.strokeStyle = c.fillStyle = "#ff5a1f";
    c.lineWidth = this.radius * 2;
    c.lineCap = c.lineJoin = "round";
    c.beginPath();
    c.moveTo(...from);
    c.lineTo(to[0] + 0.01, to[1]);
    c.stroke();
  }

  listen() {
    const canvas = this.canvas;
    let last = null;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.keep();
      last = this.place(event);
      this.line(last, last);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      const at = this.place(event);
      this.line(last, at);
      last = this.at = at;
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { last = null; });
    canvas.addEventListener("keydown", (event) => this.keyed(event));
    canvas.addEventListener("blur", () => { this.ring.hidden = true; });
  }

  keyed(event) {
    const far = this.canvas.width / 40, move = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] }[event.key];
    if (move) this.at = [Math.min(this.canvas.width, Math.max(0, this.at[0] + move[0])), Math.min(this.canvas.height, Math.max(0, this.at[1] + move[1]))];
    else if (event.key === " ") { this.keep(); this.line(this.at, this.at); }
    else if (event.key === "z" && (event.ctrlKey || event.metaKey)) this.undo();
    else return;
    event.preventDefault();
    this.ring.hidden = false;
    this.ring.style.left = this.at[0] / this.canvas.width * 100 + "%";
    this.ring.style.top = this.at[1] / this.canvas.height * 100 + "%";
    this.ring.style.width = this.radius * 2 / this.canvas.width * 100 + "%";
  }

  get painted() { return this.context.getImageData(0, 0, this.canvas.width, this.canvas.height).data.some((value, i) => i % 4 === 3 && value); }

  /* White where it is drawn again, as PNG. */
  blob() {
    const { width, height } = this.canvas, canvas = make("canvas", { width, height }), context = canvas.getContext("2d");
    context.drawImage(this.canvas, 0, 0);
    context.globalCompositeOperation = "source-in";
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.globalCompositeOperation = "destination-over";
    context.fillStyle = "black";
    context.fillRect(0, 0, width, height);
    return new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
  }
}
