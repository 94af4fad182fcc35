/* panel.js: one panel looked at closely: its versions side by side, which one counts, and another one drawn: anew, from
 * a picture, or only where it is painted. */
import { on, upload } from "./api.js";
import { $, button, dialog, labelled, make, picture, put, select, settle, shape, sign, tell, time, trying } from "./dom.js";
import { Mask } from "./mask.js";
import { t } from "./words.js";

export function openPanel(board, uid) {
  if (!$("dialog.panel")) new PanelDialog(board, uid);
}

class PanelDialog {
  constructor(board, uid) {
    this.board = board;
    this.stage = make("div", { className: "stage" });
    this.strip = make("ul", { className: "strip", aria: { label: t("versions") } });
    this.about = make("p", { className: "hint" });
    this.make_picks();
    this.form = make("form", { className: "revise", onsubmit: (event) => { event.preventDefault(); trying(() => this.revise()); } });
    this.box = dialog("", make("div", { className: "panel-body" },
      make("div", { className: "look" }, this.stage, this.about, this.strip, this.picks), this.form));
    this.box.classList.add("panel");
    $(".head", this.box).prepend(sign("up", "previous", () => this.step(-1), { className: "before" }), sign("down", "next", () => this.step(1), { className: "after" }));
    this.make_form();
    this.go(uid);
    const ends = [on("progress", (p) => this.progress(p))];
    board.changed = () => this.update();
    this.box.addEventListener("close", () => {
      for (const end of ends) end();
      board.changed = null;
      board.cards.get(this.uid)?.frame.focus();
    });
  }

  get panel() { return this.board.panel(this.uid); }
  get versions() { return this.panel?.versions || []; }

  step(by) {
    const all = this.board.panels, at = all.indexOf(this.panel) + by;
    if (all[at]) this.go(all[at].uid);
  }

  go(uid) {
    this.uid = uid;
    this.shown = this.panel.picture ?? null;
    this.other = null;
    this.mask = null;
    this.paint.checked = false;
    this.text.value = this.panel.prompt ?? this.panel.action ?? "";
    $("h2", this.box).textContent = this.box.ariaLabel = t("panel") + " " + this.panel.number;
    this.update();
    this.show();
  }

  /* ---- Versions */
  update() {
    if (!this.panel) return this.box.close();
    const known = this.versions.map((version) => version.picture);
    const newest = known[known.length - 1];
    if (newest && newest !== this.newest && this.wanted) {
      if (!this.paint.checked) { this.shown = newest; this.show(); } /* what is being painted stays */
      this.wanted = false;
    }
    if (this.shown === null && newest) { this.shown = newest; this.show(); }
    this.newest = newest;
    settle(this.strip, [...this.versions, ...(this.panel.jobs || [])], (one) => (one.job ? "job " + one.job : one.picture), (one) => (one.job ? this.waiting(one) : this.thumb(one)));
    this.tell_picks();
  }

  waiting({ job }) {
    return { element: make("li", { className: "waits", data: { job } }, make("progress", { max: 1, aria: { label: t("drawing") } })), update() {} };
  }

  thumb(version) {
    const number = make("span"), button = make("button", { type: "button", className: "thumb", onclick: () => { this.shown = version.picture; this.paint.checked = false; this.update(); this.show(); } },
      make("img", { src: picture(version.picture), alt: "", loading: "lazy" }), number);
    const element = make("li", {}, button);
    return { element, update: () => {
      const used = version.picture === this.panel.picture;
      number.textContent = String(this.versions.findIndex((one) => one.picture === version.picture) + 1);
      button.ariaLabel = `${t("versions")} ${number.textContent}` + (used ? ", " + t("picked") : "");
      button.ariaPressed = String(version.picture === this.shown);
      element.classList.toggle("used", used);
    } };
  }

  make_picks() {
    const pick = (id) => trying(() => this.board.act(`/panels/${this.uid}/pick`, { picture: id }));
    this.pick = make("button", { type: "button", className: "pick", onclick: () => pick(this.shown) });
    this.newer = button("newest", () => pick(null));
    this.compare = select("compare", [], "", (value) => { this.other = value ? Number(value) : null; this.show(); });
    this.comparing = labelled("compare", this.compare, { className: "inline" });
    this.download = make("a", { className: "button", textContent: t("download") });
    this.picks = make("div", { className: "row" }, this.pick, this.newer, this.comparing, this.download);
  }

  tell_picks() {
    const used = this.shown === this.panel.picture, i = this.versions.findIndex((version) => version.picture === this.shown);
    const others = this.versions.map((version, k) => [String(version.picture), String(k + 1)]).filter((_, k) => k !== i);
    this.pick.hidden = this.download.hidden = i < 0;
    this.pick.disabled = used;
    this.pick.textContent = used ? t("picked") : t("pick");
    this.newer.hidden = !this.panel.approved;
    this.comparing.hidden = !others.length;
    settle(this.compare, [["", t("none")], ...others], ([value]) => value, ([value, textContent]) => ({ element: make("option", { value, textContent }), update() {} }));
    put(this.compare, this.other);
    this.download.href = picture(this.shown);
    this.download.download = `panel-${this.panel.number}-${i + 1}.png`;
    const version = this.versions[i];
    this.about.textContent = version ? [shape(version.width, version.height), t("seed") + " " + version.seed, version.draft ? t("draft") : ""].filter(Boolean).join(" · ") : t("not-drawn");
  }

  show() {
    const layers = [];
    this.image = null;
    if (this.shown) {
      this.image = make("img", { src: picture(this.shown), alt: this.panel.action || this.panel.prompt || "" });
      layers.push(this.image);
    } else layers.push(make("span", { className: "empty", textContent: t("not-drawn") }));
    this.from.disabled = this.paint.disabled = !this.shown;
    if (this.other === this.shown) this.other = null;
    if (this.other) {
      const over = make("img", { src: picture(this.other), alt: "", className: "over" });
      const slide = make("input", { type: "range", min: 0, max: 100, value: 50, className: "slide", aria: { label: t("compare-slide") }, oninput: () => { over.style.clipPath = `inset(0 0 0 ${slide.value}%)`; } });
      over.style.clipPath = "inset(0 0 0 50%)";
      layers.push(over, slide);
    }
    this.stage.replaceChildren(...layers);
    this.tell_picks();
    this.show_mask();
  }

  progress(p) {
    const waits = $(`li[data-job="${p.job}"]`, this.strip);
    if (!waits) return;
    if (p.steps) $("progress", waits).value = p.step / p.steps;
    this.about.textContent = `${t("drawing")} · ${t("step")} ${p.step}/${p.steps}` + (p.seconds_left > 0 ? ` · ${t("time-left")} ${time(p.seconds_left)}` : "");
    if (!p.preview) return;
    const image = $("img", waits) || waits.insertBefore(make("img", { alt: "" }), waits.firstChild);
    image.src = `/api/v1/jobs/${p.job}/preview?step=${p.step}`;
  }

  /* ---- Another version */
  make_form() {
    this.text = make("textarea", { rows: 4, spellcheck: true });
    this.other_seed = make("input", { type: "radio", name: "seed", checked: true });
    const same = make("input", { type: "radio", name: "seed" });
    this.from = make("input", { type: "checkbox", onchange: () => this.show_mask() });
    this.paint = make("input", { type: "checkbox", onchange: () => { this.other = null; this.show(); } });
    this.strength = make("input", { type: "range", min: 0.05, max: 1, step: 0.05, value: 0.6 });
    this.amount = make("output", { textContent: "60 %" });
    this.strength.addEventListener("input", () => { this.amount.textContent = Math.round(this.strength.value * 100) + " %"; });
    this.tools = make("div");
    const check = (field, key) => make("label", { className: "check" }, field, make("span", { textContent: t(key) }));
    this.form.append(make("h3", { textContent: t("revise") }), labelled("shows", this.text),
      make("div", { className: "checks" }, check(this.other_seed, "other-seed"), check(same, "same-seed")),
      check(this.from, "from-this"), check(this.paint, "paint"), this.tools,
      this.far = labelled("keeps", make("div", { className: "inline" }, this.strength, this.amount)),
      make("button", { className: "main", textContent: t("draw_it") }));
  }

  show_mask() {
    const wants = this.paint.checked && this.image;
    this.far.hidden = !(this.from.checked || this.paint.checked);
    if (!wants) { this.mask = null; this.tools.replaceChildren(); return; }
    const image = this.image, put = () => {
      if (image !== this.image || !this.paint.checked) return;
      this.mask = new Mask(image);
      this.stage.append(this.mask.canvas, this.mask.ring);
      this.tools.replaceChildren(this.mask.controls, make("p", { className: "hint", textContent: t("paint-hint") }));
    };
    if (image.complete && image.naturalWidth) put();
    else image.onload = put;
  }

  async revise() {
    const wish = {}, words = this.text.value.trim();
    if (words && words !== (this.panel.prompt ?? this.panel.action ?? "")) wish.prompt = words;
    if (this.other_seed.checked) wish.seed = Math.floor(Math.random() * 2 ** 32);
    if (this.from.checked || this.mask) Object.assign(wish, { from: this.shown, strength: Number(this.strength.value) });
    if (this.mask) {
      if (!this.mask.painted) return tell(t("paint-hint"), true);
      wish.mask = (await upload(await this.mask.blob())).id;
    }
    this.wanted = true;
    this.paint.checked = false;
    await this.board.act(`/panels/${this.uid}/revise`, wish);
    this.show();
    return undefined;
  }
}
