/* gallery.js: every picture that was drawn, newest first, found by its words. */
import { get, on, remove } from "./api.js";
import { dropped } from "./board.js";
import { button, dialog, labelled, later, make, picture, settle, shape, sure, trying } from "./dom.js";
import { t } from "./words.js";

const PAGE = 60;

class Gallery {
  constructor() {
    this.search = make("input", { type: "search" });
    this.shown = []; /* what was found for `this.words` so far */
    this.list = make("ul", { className: "pictures" });
    this.more = button("more-pictures", () => trying(() => this.load(true)), { hidden: true });
    this.none = make("p", { className: "hint", hidden: true });
    this.refresh = later(() => trying(() => this.load()), 250);
    this.search.addEventListener("input", this.refresh);
  }

  /* What was looked at further down stays when new pictures come. */
  async load(more = false) {
    const words = this.search.value, oldest = (list) => list[list.length - 1]?.id;
    const { pictures } = await get(`pictures?limit=${PAGE}&search=${encodeURIComponent(words)}` + (more ? "&before=" + oldest(this.shown) : ""));
    if (words !== this.search.value) return;
    const last = pictures.length < PAGE;
    if (more || last || words !== this.words) this.more.hidden = last;
    if (more) this.shown.push(...pictures);
    else this.shown = last || words !== this.words ? pictures : [...pictures, ...this.shown.filter((one) => one.id < oldest(pictures))];
    this.words = words;
    settle(this.list, this.shown, (one) => one.id, (one) => this.item(one));
    this.none.hidden = this.shown.length > 0;
    this.none.textContent = t(words ? "no-found" : "no-pictures");
  }

  item(one) {
    return { element: make("li", {}, make("button", { type: "button", title: one.prompt, onclick: () => this.view(one) },
      make("img", { src: picture(one.id), alt: one.prompt, loading: "lazy" }))), update() {} };
  }

  view(one) {
    const about = [shape(one.width, one.height), t("seed") + " " + one.seed, one.settings?.model, one.settings?.steps ? one.settings.steps + " " + t("steps").toLowerCase() : ""];
    const it = dialog(t("gallery"), make("img", { src: picture(one.id), alt: one.prompt, className: "large" }), make("p", { className: "words", textContent: one.prompt }),
      make("p", { className: "hint", textContent: about.filter(Boolean).join(" · ") }),
      make("div", { className: "row" },
        button("as-panel", () => trying(async () => { it.close(); await dropped({ settings: one.settings }); }), { className: "main" }),
        make("a", { className: "button", href: picture(one.id), download: `kadr-${one.id}.png`, textContent: t("download") }),
        button("remove", async () => {
          if (await sure(t("remove-sure"), t("remove"))) await trying(async () => { await remove("pictures/" + one.id); it.close(); await this.load(); });
        })));
    it.classList.add("broad");
  }
}

export async function galleryView(place) {
  const gallery = new Gallery();
  place.append(make("section", {}, make("h2", { textContent: t("gallery") }), labelled("search", gallery.search, { className: "search" }), gallery.none, gallery.list, gallery.more));
  const ends = [on("picture", gallery.refresh), on("open", gallery.refresh)];
  await trying(() => gallery.load());
  return () => { for (const end of ends) end(); };
}
