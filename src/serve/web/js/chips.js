/* chips.js: the characters in a panel: who, where in the picture, how much like the pictures. Entries are texts,
 * "NAME:0.7@left start=0.2"; what comes after the place is kept as it is. */
import { icon, make, put, select, settle, sign } from "./dom.js";
import { t } from "./words.js";

const entry = /^(.*?)(?::([\d.]+))?(?:@(\S+))?( \w+=.*)?$/;
const parts = (text) => { const [, name, scale, region, rest = ""] = entry.exec(text); return { name, scale, region, rest }; };
const whole = ({ name, scale, region, rest }) => name + (scale ? ":" + scale : "") + (region ? "@" + region : "") + rest;
const listed = (cast) => (Array.isArray(cast) ? cast : cast ? [cast] : []);
const places = ["", "left", "center", "right", "top", "bottom"];
const option = (value, text) => ({ element: make("option", { value, textContent: text }), update() {} });

class Chip {
  constructor(chips, { key, name }) {
    const set = (fields) => chips.set(key, fields);
    this.name = name;
    this.casts = () => chips.casts;
    this.face = make("img", { alt: "", hidden: true });
    this.unknown = icon("close");
    this.region = select("region", places.map((place) => [place, t(place || "nowhere")]), "", (region) => set({ region }));
    this.region.ariaLabel = name;
    this.scale = make("input", { type: "number", min: 0, max: 2, step: 0.1, placeholder: "0.5", title: t("strength"), aria: { label: t("strength") + " " + name },
      onchange: () => { if (this.scale.validity.valid) set({ scale: this.scale.value }); } });
    this.element = make("div", { className: "chip" }, this.face, this.unknown, make("b", { textContent: name }), this.region, this.scale,
      sign("close", "remove", () => set(null)));
  }

  update({ scale, region = "" }) {
    const known = [this.name, this.name.toLowerCase()].find((name) => this.casts().some((cast) => cast.name === name));
    const source = known ? `/api/v1/casts/${encodeURIComponent(known)}/thumbnail` : "";
    this.element.classList.toggle("bad", !known);
    this.face.hidden = !known;
    this.unknown.toggleAttribute("hidden", Boolean(known));
    if (known && this.face.getAttribute("src") !== source) this.face.src = source;
    if (![...this.region.options].some((one) => one.value === region)) this.region.append(option(region, region).element);
    put(this.region, region);
    put(this.scale, scale);
  }
}

export class Chips {
  constructor(card) {
    this.card = card;
    this.list = make("div", { className: "cast" });
    this.adder = make("select", { name: "who", aria: { label: t("who") }, onchange: () => this.add(this.adder.value) });
    this.element = make("div", { className: "cast" }, this.list, this.adder);
  }

  get casts() { return this.card.board.casts; }

  /* A name may be there twice. */
  get own() {
    const all = listed(this.card.panel?.cast).map(parts);
    return all.map((one, i) => ({ ...one, key: one.name + " " + all.slice(0, i).filter((other) => other.name === one.name).length }));
  }

  update() {
    const own = this.own, free = this.casts.filter((cast) => !own.some((one) => one.name === cast.name));
    this.shown = settle(this.list, own, (one) => one.key, (one) => new Chip(this, one));
    settle(this.adder, [["", "+ " + t("who")], ...free.map((cast) => [cast.name, cast.name])], ([name]) => name, ([name, text]) => option(name, text));
    this.list.hidden = !own.length;
    this.adder.hidden = !free.length;
  }

  keep(list) {
    this.card.edit({ cast: list.length ? list.map(whole) : null });
    this.update();
  }

  /* null: it is taken out. */
  set(key, fields) {
    this.keep(this.own.flatMap((one) => (one.key !== key ? [one] : fields ? [{ ...one, ...fields }] : [])));
    if (!fields) this.adder.focus();
  }

  add(name) {
    this.adder.value = "";
    if (!name) return;
    this.keep([...this.own, { name, rest: "" }]);
    if (this.adder.hidden) [...this.shown.values()].at(-1).region.focus();
  }
}
