/* dom.js: elements made, found and said. All text from outside goes in as textContent. */
import { t } from "./words.js";

export const $ = (selector, inside = document) => inside.querySelector(selector);
export const $$ = (selector, inside = document) => [...inside.querySelectorAll(selector)];

/* make("p", { className: "x" }, child, ...): properties, with `data` and `aria` as objects. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  const { data = {}, aria = {}, ...own } = properties;
  Object.assign(element, own);
  for (const [key, value] of Object.entries(data)) element.dataset[key] = value;
  for (const [key, value] of Object.entries(aria)) element.setAttribute("aria-" + key, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  use.setAttribute("href", "#i-" + name);
  svg.append(use);
  return svg;
}

/* A button with a word, or with a sign and the word as its name. */
export const button = (key, act, more = {}) => make("button", { type: "button", textContent: t(key), onclick: act, ...more });
export function sign(name, key, act, more = {}) {
  const it = make("button", { type: "button", title: t(key), onclick: act, ...more, aria: { label: t(key), ...more.aria } }, icon(name));
  it.classList.add("sign");
  return it;
}

export const labelled = (key, field, more = {}) => make("label", more, make("span", { textContent: t(key) }), field);

export function select(name, values, chosen, change) {
  const field = make("select", { name });
  for (const [value, text] of values) field.append(make("option", { value, textContent: text, selected: value === (chosen ?? "") }));
  if (change) field.onchange = () => change(field.value);
  return field;
}

/* A list that follows what it shows. `build(item)` gives {element, update(item)} for a new key; what is there already stays the
 * same element, so that nothing is taken from under somebody who types, chooses or presses. Gives all by their keys. */
const lists = new WeakMap();
export function settle(parent, items, key, build) {
  const there = lists.get(parent) ?? new Map(), shown = new Map(), focused = document.activeElement;
  for (const item of items) shown.set(key(item), there.get(key(item)) ?? build(item));
  for (const [name, view] of there) if (!shown.has(name)) view.element.remove();
  let at = parent.firstElementChild;
  for (const item of items) {
    const view = shown.get(key(item));
    if (view.element === at) at = at.nextElementSibling;
    else parent.insertBefore(view.element, at);
    view.update(item);
  }
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true }); /* it was moved */
  lists.set(parent, shown);
  return shown;
}

/* A field takes what the server says, but not while somebody is at it. */
export function put(field, value) {
  const text = value === undefined || value === null ? "" : String(value);
  if (document.activeElement !== field && field.value !== text) field.value = text;
}

let quiet;
export function tell(text, bad = false) {
  const told = $("#told");
  told.textContent = text;
  told.classList.toggle("bad", bad);
  clearTimeout(quiet);
  if (text) quiet = setTimeout(() => { told.textContent = ""; }, bad ? 12000 : 5000);
}

/* Runs `act`, and tells what it fails with. */
export async function trying(act) {
  try { return await act(); } catch (error) { tell(error.message, true); return undefined; }
}

/* A dialog with a title and a way out; resolves when it is closed. */
export function dialog(title, ...content) {
  const it = make("dialog", { aria: { label: title } },
    make("div", { className: "head" }, make("h2", { textContent: title }), sign("close", "close", () => it.close())), ...content);
  document.body.append(it);
  it.addEventListener("close", () => it.remove());
  it.addEventListener("click", (event) => { if (event.target === it) it.close(); });
  it.showModal();
  return it;
}

/* Asks once more before something is taken away. */
export function sure(question, yes) {
  return new Promise((resolve) => {
    const it = dialog(question, make("div", { className: "row" },
      make("button", { type: "button", className: "main", textContent: yes, onclick: () => { resolve(true); it.close(); } }),
      button("cancel", () => it.close())));
    it.classList.add("small");
    it.addEventListener("close", () => resolve(false));
  });
}

/* `act` some time after the last call; flush() does at once what waits. */
export function later(act, ms) {
  let timer;
  const call = () => { clearTimeout(timer); timer = setTimeout(() => { timer = undefined; act(); }, ms); };
  call.flush = () => { if (timer === undefined) return undefined; clearTimeout(timer); timer = undefined; return act(); };
  return call;
}

/* `act` never twice at once, so that an older answer does not replace a newer one: asked for meanwhile, it runs once more. */
export function inTurn(act) {
  let last = Promise.resolve(), waiting;
  return () => waiting ??= (last = last.catch(() => {}).then(() => { waiting = undefined; return act(); }));
}

export const size = (bytes) => (bytes >= 2 ** 30 ? (bytes / 2 ** 30).toFixed(1) + " " + t("gib") : Math.max(1, Math.round(bytes / 2 ** 20)) + " " + t("mib"));
export function time(seconds) {
  if (seconds >= 5400) return (seconds / 3600).toFixed(1) + " " + t("hours");
  if (seconds >= 90) return Math.round(seconds / 60) + " " + t("minutes");
  return seconds >= 1 ? Math.round(seconds) + " " + t("seconds") : "< 1 " + t("seconds");
}
export const shape = (width, height) => width + "×" + height;
export const picture = (id) => "/api/v1/pictures/" + id;
