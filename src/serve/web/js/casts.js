/* casts.js: characters: made once of pictures that are dropped here, then placed in any panel. */
import { get, on, post, remove, upload } from "./api.js";
import { button, inTurn, labelled, later, make, select, settle, sign, sure, tell, trying } from "./dom.js";
import { t } from "./words.js";

class Casts {
  constructor() {
    this.files = [];
    this.list = make("ul", { className: "cast-list" });
    this.none = make("p", { className: "hint", textContent: t("who-none"), hidden: true });
    this.shown = make("div", { className: "references" });
    this.file = make("input", { type: "file", accept: "image/png,image/jpeg,image/webp", multiple: true, hidden: true, onchange: () => this.add([...this.file.files]) });
    this.name = make("input", { type: "text", required: true, maxLength: 40, pattern: "[\\p{L}\\p{N}_\\-]+", autocomplete: "off" });
    this.crop = select("crop", [["auto", t("auto")], ["face", t("face")], ["none", t("whole")]], "auto");
    this.make = make("button", { className: "main", textContent: t("make-cast"), disabled: true });
    this.form = make("form", { className: "drop-area", data: { drop: "" }, onsubmit: (event) => { event.preventDefault(); trying(() => this.submit()); } },
      make("h3", { textContent: t("new-cast") }), make("p", { className: "hint", textContent: t("drop-casts") }), this.shown,
      make("div", { className: "row" }, button("choose-pictures", () => this.file.click()), this.file),
      make("div", { className: "fields" }, labelled("cast-name", this.name), labelled("cast-crop", this.crop)), this.make);
    this.form.addEventListener("files", (event) => this.add(event.detail));
    this.load = inTurn(() => this.read());
    this.refresh = later(() => trying(() => this.load()), 200);
  }

  add(files) {
    this.files.push(...files.filter((file) => file.type.startsWith("image/")));
    if (!this.name.value && this.files[0]) this.name.value = this.files[0].name.replace(/\.\w+$/, "").replace(/[^\p{L}\p{N}_-]+/gu, "-").slice(0, 40);
    this.show();
  }

  show() {
    for (const image of this.shown.querySelectorAll("img")) URL.revokeObjectURL(image.src);
    this.shown.replaceChildren(...this.files.map((file, i) => make("span", {}, make("img", { src: URL.createObjectURL(file), alt: file.name }),
      sign("close", "remove", () => { this.files.splice(i, 1); this.show(); }))));
    this.make.disabled = !this.files.length;
  }

  async submit() {
    const references = [];
    this.make.disabled = true;
    try {
      for (const file of this.files) references.push((await upload(file)).id);
      await post("casts", { name: this.name.value, references, crop: this.crop.value });
    } finally { this.make.disabled = !this.files.length; }
    this.files = [];
    this.name.value = "";
    this.show();
    tell(t("cast-made"));
    await this.load();
  }

  async read() {
    const [{ casts }, { jobs }] = await Promise.all([get("casts"), get("jobs?limit=200")]);
    this.none.hidden = casts.length > 0;
    const being = jobs.filter((job) => job.request["make-cast"] && (job.state === "queued" || job.state === "running" || (job.state === "failed" && Date.now() - job.finished < 600000)));
    settle(this.list, [...casts, ...being], (one) => (one.name ? "cast " + one.name : one.id), (one) => (one.name ? this.ready(one) : this.waiting(one)));
  }

  ready({ name }) { /* one whose file is damaged says why */
    const leave = async () => { if (await sure(t("remove-cast-sure"), t("remove"))) await trying(async () => { await remove("casts/" + encodeURIComponent(name)); await this.load(); }); };
    const image = make("img", { alt: "" }), none = make("span", { className: "empty" }), why = make("small");
    const element = make("li", {}, image, none, make("b", { textContent: name }), why, sign("close", "remove-cast", leave));
    return { element, update: ({ error }) => {
      element.className = error ? "failed" : "";
      why.textContent = error ?? "";
      why.hidden = none.hidden = !error;
      image.hidden = Boolean(error);
      if (!error) image.src = `/api/v1/casts/${encodeURIComponent(name)}/thumbnail`; /* it may have been made anew */
    } };
  }

  waiting(job) {
    const state = make("small"), element = make("li", {}, make("span", { className: "empty" }), make("b", { textContent: job.request["make-cast"] }), state);
    return { element, update: (now) => { element.className = now.state; state.textContent = now.error ?? t(now.state); } };
  }
}

export async function castsView(place) {
  const casts = new Casts();
  place.append(make("section", {}, make("h2", { textContent: t("casts") }), casts.none, casts.list), make("section", {}, casts.form));
  const ends = [on("cast", casts.refresh), on("job", casts.refresh), on("open", casts.refresh)];
  await trying(() => casts.load());
  return () => { for (const end of ends) end(); };
}
