/* player.js: the animatic in the page: each picture as long as its panel lasts, what is said below it. */
import { dialog, make, picture, sign, tell, icon } from "./dom.js";
import { t } from "./words.js";

const clock = (seconds) => Math.floor(seconds / 60) + ":" + String(Math.floor(seconds % 60)).padStart(2, "0");

export function play(board) {
  let at = 0;
  const shots = board.panels.map((panel) => {
    const length = (panel.duration || board.doc.defaultBoardTiming || 2000) / 1000, shot = { panel, from: at, to: at + length };
    at = shot.to;
    return shot;
  });
  if (!shots.some(({ panel }) => panel.picture)) { tell(t("no-frames"), true); return; }
  new Player(board, shots, at);
}

class Player {
  constructor(board, shots, end) {
    Object.assign(this, { shots, end, now: 0, running: true, number: -1 });
    /* All pictures are there before they are needed. */
    this.images = shots.map(({ panel }) => (panel.picture ? make("img", { src: picture(panel.picture), alt: panel.action || "" }) : make("div", { className: "blank", textContent: panel.action || "" })));
    this.stage = make("div", { className: "film" });
    this.caption = make("p", { className: "caption", aria: { live: "polite" } });
    this.line = make("input", { type: "range", min: 0, max: end, step: 0.01, value: 0, aria: { label: t("player-rate") }, oninput: () => { this.running = false; this.now = Number(this.line.value); this.show(); } });
    this.clock = make("span", { className: "clock" });
    this.toggle = sign("pause", "pause", () => { if (this.now >= end) this.now = 0; this.running = !this.running; this.show(); });
    const captions = make("input", { type: "checkbox", checked: true, onchange: () => { this.caption.hidden = !captions.checked; } });
    this.box = dialog(board.doc.title || t("untitled"), make("div", { className: "screen" }, this.stage, this.caption),
      make("div", { className: "row controls" }, sign("up", "first-frame", () => { this.now = 0; this.show(); }, { className: "before" }), this.toggle, this.line, this.clock,
        make("label", { className: "check" }, captions, make("span", { textContent: t("captions-on") }))));
    this.box.classList.add("player");
    this.box.addEventListener("keydown", (event) => this.keyed(event));
    this.box.addEventListener("close", () => { this.closed = true; });
    this.toggle.focus();
    let before = performance.now();
    const tick = (time) => {
      if (this.closed) return;
      if (this.running) this.now = Math.min(end, this.now + (time - before) / 1000);
      before = time;
      if (this.now >= end) this.running = false;
      this.show();
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  keyed(event) {
    if (event.target.type === "range" || event.target.type === "checkbox") return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) { this.now = Math.min(this.end, Math.max(0, this.now + by)); this.show(); }
    else if (event.key === " " && event.target.tagName !== "BUTTON") this.toggle.click();
    else return;
    event.preventDefault();
  }

  show() {
    const number = Math.max(0, this.shots.findLastIndex((shot) => shot.from <= this.now));
    if (number !== this.number) {
      this.number = number;
      this.stage.replaceChildren(this.images[number]);
      this.caption.textContent = this.shots[number].panel.dialogue || "";
    }
    if (document.activeElement !== this.line || this.running) this.line.value = this.now;
    this.line.setAttribute("aria-valuetext", `${clock(this.now)}, ${t("panel")} ${this.shots[number].panel.number}`);
    this.clock.textContent = `${clock(this.now)} / ${clock(this.end)}`;
    if (this.shown !== this.running) {
      this.shown = this.running;
      this.toggle.replaceChildren(icon(this.running ? "pause" : "play"));
      this.toggle.title = t(this.running ? "pause" : "play");
      this.toggle.setAttribute("aria-label", this.toggle.title);
    }
  }
}
