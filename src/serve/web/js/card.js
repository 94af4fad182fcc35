/* card.js: one panel on the board: its picture, what it says, where it stands. */
import { Chips } from "./chips.js";
import { labelled, make, picture, put, sign, time, trying, $ } from "./dom.js";
import { t } from "./words.js";

export class Card {
  constructor(board, panel) {
    this.board = board;
    this.uid = panel.uid;
    this.make();
  }

  edit(fields) { this.board.edit(this.uid, fields); this.board.plan.touch(this.uid); }
  get panel() { return this.board.panel(this.uid); }

  field(tag, key, more = {}) {
    const it = make(tag, { name: key, ...more });
    it.addEventListener("input", () => this.edit({ [key]: it.value || null }));
    return it;
  }

  number_field(key, factor, more) {
    const it = make("input", { type: "number", name: key, ...more });
    it.addEventListener("input", () => { if (it.validity.valid) this.edit({ [key]: it.value === "" ? null : Math.round(Number(it.value) * factor) }); });
    return it;
  }

  make() {
    this.number = make("span", { className: "number" });
    this.badge = make("span", { className: "badge" });
    this.image = make("img", { alt: "", decoding: "async" });
    this.empty = make("span", { className: "empty", textContent: t("not-drawn") });
    this.bar = make("progress", { max: 1, hidden: true, aria: { label: t("drawing") } });
    this.state = make("p", { className: "state" });
    this.frame = make("button", { type: "button", className: "frame", onclick: () => this.board.open(this.uid) }, this.image, this.empty, this.bar);
    this.grip = sign("grip", "drag", null, { className: "grip", onkeydown: (event) => this.keyed(event) });
    this.text = make("textarea", { name: "action", placeholder: t("shows-hint"), rows: 3, spellcheck: true });
    this.text.addEventListener("input", () => {
      /* What was said to the model alone, and shown here, is what the panel shows from now on. */
      const alone = this.panel.action === undefined && this.panel.prompt !== undefined;
      this.edit({ action: this.text.value || null, ...(alone ? { prompt: null } : {}) });
    });
    this.shot = this.field("input", "shot", { type: "text" });
    this.shot.setAttribute("list", "shots");
    this.camera = this.field("input", "camera", { type: "text" });
    this.camera.setAttribute("list", "moves");
    this.duration = this.number_field("duration", 1000, { min: 0.1, max: 3600, step: "any" });
    this.dialogue = this.field("textarea", "dialogue", { rows: 2 });
    this.notes = this.field("textarea", "notes", { rows: 2 });
    this.prompt = this.field("textarea", "prompt", { rows: 2, placeholder: t("words-hint") });
    this.negative = this.field("input", "negative", { type: "text" });
    this.seed = this.number_field("seed", 1, { min: 0, max: Number.MAX_SAFE_INTEGER, placeholder: t("seed-hint") });
    this.chips = new Chips(this);
    this.element = make("li", { className: "card", data: { uid: this.uid } },
      make("div", { className: "bar" }, this.grip, this.number, this.badge, this.tools()), this.frame, this.state,
      labelled("shows", this.text, { className: "text" }),
      make("div", { className: "pair" }, labelled("shot", this.shot), labelled("duration", this.duration)), this.chips.element,
      this.details = make("details", {}, make("summary", { textContent: t("more") }),
        labelled("dialogue", this.dialogue), labelled("notes", this.notes),
        make("div", { className: "pair" }, labelled("camera", this.camera), labelled("seed", this.seed)),
        this.words = labelled("words", this.prompt), labelled("negative", this.negative)));
    this.element.addEventListener("focusout", () => { if (this.panel) this.update(this.panel); });
    this.dragging();
  }

  tools() {
    const to = (step) => () => trying(() => this.step(step));
    return make("div", { className: "tools" }, sign("up", "move-up", to(-1)), sign("down", "move-down", to(1)),
      sign("plus", "insert-before", () => trying(() => this.board.insert(this.uid))),
      sign("close", "remove-panel", () => trying(() => this.board.take_out(this.uid))));
  }

  async step(step) {
    const all = this.board.panels, at = all.indexOf(this.panel);
    if (step < 0 ? at > 0 : at < all.length - 1) await this.board.move(this.uid, all[step < 0 ? at - 1 : at + 2]?.uid ?? null);
  }

  keyed(event) {
    const step = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    trying(() => this.step(step));
  }

  dragging() {
    const li = this.element;
    const after = (event) => { const box = li.getBoundingClientRect(); return event.clientX > box.left + box.width / 2; };
    this.grip.addEventListener("pointerdown", () => { li.draggable = true; });
    li.addEventListener("dragstart", (event) => { event.dataTransfer.setData("text/x-kadr-panel", this.uid); event.dataTransfer.effectAllowed = "move"; li.classList.add("dragged"); });
    li.addEventListener("dragend", () => { li.draggable = false; li.classList.remove("dragged"); });
    li.addEventListener("dragover", (event) => {
      if (!event.dataTransfer.types.includes("text/x-kadr-panel")) return;
      event.preventDefault();
      li.classList.toggle("drop-after", after(event));
      li.classList.toggle("drop-before", !after(event));
    });
    const clear = () => li.classList.remove("drop-after", "drop-before");
    li.addEventListener("dragleave", clear);
    li.addEventListener("drop", (event) => {
      const uid = event.dataTransfer.getData("text/x-kadr-panel");
      clear();
      if (!uid || uid === this.uid) return;
      event.preventDefault();
      const before = after(event) ? li.nextElementSibling?.dataset.uid ?? null : this.uid;
      if (before !== uid) trying(() => this.board.move(uid, before));
    });
  }

  /* ---- What the server says */
  update(panel) {
    this.number.textContent = panel.number;
    this.element.ariaLabel = t("panel") + " " + panel.number;
    put(this.text, panel.action ?? panel.prompt);
    for (const key of ["shot", "camera", "dialogue", "notes", "negative", "seed"]) put(this[key], panel[key]);
    put(this.prompt, panel.action === undefined ? "" : panel.prompt);
    if (this.prompt.value) this.details.before(this.words); /* they are what is drawn: to be seen */
    put(this.duration, panel.duration === undefined ? "" : panel.duration / 1000);
    this.duration.placeholder = (this.board.doc.defaultBoardTiming ?? 2000) / 1000;
    this.update_picture(panel);
    this.chips.update();
  }

  update_picture(panel) {
    const jobs = panel.jobs || [], busy = jobs.find((job) => job.state === "running");
    const source = panel.picture ? picture(panel.picture) : "";
    if (!busy || !this.previewed) {
      if (source && this.image.getAttribute("src") !== source) this.image.src = source;
      else if (!source) this.image.removeAttribute("src");
    }
    if (!busy) { this.previewed = false; this.bar.hidden = true; }
    this.image.alt = source ? panel.action || panel.prompt || "" : "";
    this.frame.ariaLabel = t("open") + ": " + t("panel") + " " + panel.number;
    this.element.classList.toggle("drawn", Boolean(source) || this.previewed);
    const shown = (panel.versions || []).find((version) => version.picture === panel.picture);
    if (shown) this.frame.style.aspectRatio = shown.width / shown.height;
    const versions = (panel.versions || []).length;
    this.badge.textContent = [shown?.draft ? t("draft") : "", versions > 1 ? versions + " " + t("versions").toLowerCase() : ""].filter(Boolean).join(" · ");
    this.state.classList.toggle("bad", Boolean(panel.error) && !jobs.length);
    if (busy) { if (!this.previewed) this.state.textContent = t("starts") + "…"; }
    else this.state.textContent = jobs.length ? t("waits") : panel.error ? t("failed") + ": " + panel.error : "";
  }

  progress(p) {
    this.bar.hidden = false;
    if (p.steps) this.bar.value = p.step / p.steps;
    this.state.textContent = (p.stage === "denoise" ? t("step") + " " + p.step + "/" + p.steps : t(p.stage)) + (p.seconds_left > 0 ? " · " + t("time-left") + " " + time(p.seconds_left) : "");
    if (!p.preview) return;
    this.previewed = true;
    this.element.classList.add("drawn");
    this.image.src = `/api/v1/jobs/${p.job}/preview?step=${p.picture}.${p.step}`;
  }

  mark_changed(changed) { this.element.classList.toggle("changed", changed); }

  focus() { this.element.scrollIntoView({ block: "center" }); $("textarea", this.element).focus(); }
}
