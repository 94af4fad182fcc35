/* models.js: what can be drawn with, which one is, more of them from a hub, and what this machine can do. */
import { get, on, post } from "./api.js";
import { button, inTurn, labelled, later, make, settle, shape, size, time, trying } from "./dom.js";
import { t } from "./words.js";

class Models {
  constructor() {
    this.list = make("ul", { className: "models-list" });
    this.pulls = make("ul", { className: "jobs" });
    this.name = make("input", { type: "text", placeholder: "stabilityai/stable-diffusion-xl-base-1.0", required: true, pattern: "[^\\/\\s]+\\/[^\\/\\s]+", autocomplete: "off", spellcheck: false });
    this.form = make("form", { className: "pull", onsubmit: (event) => { event.preventDefault(); trying(() => this.pull(this.name.value)); } },
      labelled("pull-hint", this.name), make("button", { textContent: t("pull-go") }));
    this.machine = make("div");
    this.load_models = inTurn(() => this.read_models());
    this.load_pulls = inTurn(() => this.read_pulls());
    this.refresh = later(() => trying(() => this.load()), 300);
  }

  /* What each model needs is worked out meanwhile. */
  async load() {
    await Promise.all([this.load_pulls(), this.load_models()]);
  }

  async read_models() {
    const { models, model } = await get("models");
    this.chosen = model;
    settle(this.list, models, (one) => one.name, (one) => this.item(one));
  }

  async read_pulls() {
    this.tasks = settle(this.pulls, (await get("pulls")).pulls, (one) => one.id, (one) => this.task(one));
  }

  item({ name }) {
    const about = make("small"), goOn = button("go-on", () => trying(() => this.pull(name)));
    const use = make("button", { type: "button", onclick: () => trying(async () => { await post("models/choose", { model: name }); await this.load(); }) });
    const element = make("li", {}, make("div", { className: "about" }, make("b", { textContent: name }), about), goOn, use);
    return { element, update: (one) => {
      const used = name === this.chosen;
      about.textContent = one.unfinished ? t("unfinished") : one.usable === false ? `${t("unusable")}: ${one.why}`
        : [size(one.bytes) + " " + t("disk"), `${t("draws-at")} ${shape(one.width, one.height)}`, `${t("needs-least")} ${size(one.least_bytes)} ${t("needs-all")} ${size(one.whole_bytes)}`].join(" · ");
      element.classList.toggle("used", used);
      goOn.hidden = !one.unfinished;
      use.hidden = Boolean(one.unfinished) || one.usable === false;
      use.disabled = used;
      use.textContent = t(used ? "in-use" : "use");
    } };
  }

  async pull(name) {
    await post("pulls", { name });
    this.name.value = "";
    await this.load();
  }

  words(one) {
    if (one.state !== "running") return one.error ?? t(one.state);
    return [one.bytes ? `${size(one.bytes_done)} ${t("of")} ${size(one.bytes)}` : one.stage, one.rate ? size(one.rate) + "/" + t("seconds") : "", one.seconds_left > 0 ? `${t("time-left")} ${time(one.seconds_left)}` : ""].filter(Boolean).join(" · ");
  }

  task({ id, name }) {
    const bar = make("progress", { max: 1, aria: { label: name } }), about = make("small");
    const cancel = button("cancel", () => trying(async () => { await post(`pulls/${id}/cancel`); await this.load(); }));
    const element = make("li", { data: { pull: id } }, make("div", { className: "about" }, make("p", { textContent: name }), about, bar), cancel);
    return { element, update: (one) => {
      element.className = one.state;
      about.textContent = this.words(one);
      bar.hidden = one.state !== "running";
      if (one.bytes) bar.value = one.bytes_done / one.bytes;
      cancel.hidden = one.state !== "queued" && one.state !== "running";
    } };
  }

  progress(one) {
    this.tasks?.get(one.id)?.update(one);
    if (one.state !== "running") this.refresh();
  }

  async measure() {
    const { machine, presets, recommended } = await get("doctor");
    const line = (key, ...values) => make("tr", {}, make("th", { textContent: t(key), scope: "row" }), ...values.map((value) => make("td", { textContent: value })));
    const rows = presets.map((one) => make("tr", { className: one.preset === recommended ? "used" : "" }, make("th", { textContent: one.preset, scope: "row" }), make("td", { textContent: shape(one.width, one.height) }),
      make("td", { textContent: `${one.steps}` }), make("td", { textContent: size(one.peak_bytes) }), make("td", { textContent: one.fits ? time(one.seconds) : t("fitsnot") })));
    const head = make("tr", {}, ...["preset", "format", "steps", "memory", "a-picture"].map((key) => make("th", { textContent: t(key), scope: "col" })));
    this.machine.replaceChildren(make("table", {}, line("processor", `${machine.processor} (${machine.instructions})`), line("memory", `${size(machine.memory_total)}, ${t("free")} ${size(machine.memory_free)}`)),
      make("p", { className: "hint", textContent: t("presets") }), make("div", { className: "scroll" }, make("table", {}, head, ...rows)));
  }
}

export async function modelsView(place) {
  const models = new Models();
  const measure = button("measure", (event) => trying(() => models.measure(event.target)));
  place.append(make("section", {}, make("h2", { textContent: t("models") }), models.list),
    make("section", {}, make("h2", { textContent: t("pull") }), models.form, models.pulls),
    make("section", {}, make("h2", { textContent: t("machine") }), models.machine, measure));
  const ends = [on("pull", (one) => models.progress(one)), on("model", models.refresh), on("open", models.refresh)];
  await trying(() => models.load());
  return () => { for (const end of ends) end(); };
}
