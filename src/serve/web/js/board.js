/* board.js: the view of one board: its panels in order, what belongs to all of them, and what is made of it. The board
 * is the server's; what is typed here goes there panel by panel, a moment after the last key. */
import { get, on, patch, post, remove } from "./api.js";
import { Card } from "./card.js";
import { $, button, dialog, labelled, later, make, select, settle, sign, sure, tell, trying } from "./dom.js";
import { PlanBar } from "./plan.js";
import { openPanel } from "./panel.js";
import { play } from "./player.js";
import { t } from "./words.js";

/* ---- The board */
const AGAIN = 3000; /* ms */
const unsent = new Map(); /* of boards that were left while the server could not be reached */

class Board {
  constructor(id, whole) {
    this.id = id;
    this.path = "boards/" + id;
    this.cards = new Map();
    this.pending = unsent.get(id) ?? new Map(); /* uid ("" for the board itself) -> fields that are not sent yet */
    this.sent = new Map(); /* the same, on their way */
    this.flushed = Promise.resolve();
    this.asked = this.taken = 0;
    this.list = make("ol", { className: "panels" });
    this.casts = [];
    this.send = later(() => trying(() => this.flush()), 400);
    this.refresh = later(() => trying(() => this.load()), 200);
    this.plan = new PlanBar(this);
    this.take(whole);
    if (this.pending.size) this.send();
  }

  get panels() { return this.doc.boards; }
  panel(uid) { return this.panels.find((panel) => panel.uid === uid); }

  take(whole) {
    this.version = whole.version;
    this.doc = whole.board;
    for (const [uid, fields] of [...this.sent, ...this.pending]) this.lay(uid, fields); /* what is typed goes on */
    this.cards = settle(this.list, this.panels, (panel) => panel.uid, (panel) => new Card(this, panel));
  }

  /* Answers may overtake one another, and what is sent meanwhile. */
  async load() {
    const number = ++this.asked, whole = await get(this.path);
    if (number < this.taken) return undefined;
    if (whole.version < this.version) return this.load();
    this.taken = number;
    this.take(whole);
    return this.changed?.();
  }

  lay(uid, fields) {
    const target = uid ? this.panel(uid) : this.doc;
    for (const [key, value] of Object.entries(fields)) {
      if (!target) return;
      if (value === null) delete target[key];
      else target[key] = value;
    }
  }

  /* Fields of a panel, or of the board (uid ""); null takes one away. */
  edit(uid, fields) {
    this.pending.set(uid, { ...this.pending.get(uid), ...fields });
    this.lay(uid, fields);
    this.send();
  }

  /* One after the other, so that what was typed last arrives last. */
  flush() {
    return this.flushed = this.flushed.catch(() => {}).then(() => this.send_all());
  }

  async send_all() {
    if (!this.pending.size) return;
    this.sent = this.pending;
    this.pending = new Map();
    const results = await Promise.allSettled([...this.sent].map(([uid, fields]) => this.send_one(uid, fields)));
    this.sent = new Map();
    this.plan.refresh();
    if (this.pending.size) setTimeout(this.send, AGAIN);
    const failed = results.find((one) => one.status === "rejected");
    if (failed) throw failed.reason;
  }

  /* What did not arrive waits again; what was refused does not. */
  async send_one(uid, fields) {
    if (uid && !this.panel(uid)) return;
    try {
      const { version } = await patch(this.path + (uid ? "/panels/" + uid : ""), fields);
      this.version = Math.max(this.version, version);
    } catch (error) {
      if (!error.status || error.status === 429 || error.status >= 500) this.pending.set(uid, { ...fields, ...this.pending.get(uid) });
      throw error;
    }
  }

  /* Whatever waits to be sent first. */
  async act(path, data = {}) {
    await this.flush();
    const answer = await post(this.path + path, data);
    await this.load();
    return answer;
  }

  async insert(before = null, fields = {}) {
    const { panel } = await this.act("/panels", { before, panel: fields });
    const card = this.cards.get(panel.uid);
    card.element.scrollIntoView({ block: "nearest", behavior: "smooth" });
    card.text.focus();
    this.plan.refresh();
    return panel;
  }

  async move(uid, before) {
    await this.act(`/panels/${uid}/move`, { before });
    this.cards.get(uid)?.grip.focus();
  }

  async take_out(uid) {
    await this.flush();
    await remove(`${this.path}/panels/${uid}`);
    await this.load();
    this.plan.refresh();
  }

  /* The card whose panel the job draws. */
  card_of(job) {
    const panel = this.panels.find((one) => (one.jobs || []).some((waiting) => waiting.job === job));
    return panel && this.cards.get(panel.uid);
  }
}

/* ---- Making boards */
export async function dropped({ script, name, settings }) {
  if (script !== undefined) {
    const json = /^\s*\{/.test(script) ? JSON.parse(script) : null;
    const made = await post("boards", json ? { board: json } : { script, name });
    location.hash = "#/board/" + made.id;
    return;
  }
  /* What it began from is elsewhere. */
  const { prompt = "", negative = null, seed = null, cast = null, init, mask, strength, ...overrides } = settings;
  const fields = { action: prompt, prompt: /\s\s|\n/.test(prompt) ? prompt : null, negative, seed, cast, overrides };
  let board = current;
  if (!board) {
    const made = await newest();
    location.hash = "#/board/" + made.id;
    await post(`boards/${made.id}/panels`, { panel: fields });
  } else await board.insert(null, fields);
  tell(t("taken"));
}

let current = null; /* the board that is shown */

/* The board that was looked at last, else the one that was changed last, else a new one. */
async function newest() {
  const { boards } = await get("boards");
  const last = Number(localStorage.getItem("kadr-board"));
  return boards.find((board) => board.id === last) || boards[0] || post("boards", {});
}

/* ---- What belongs to all panels */
const shapes = [["", t("as-model")], ["16:9", "16:9"], ["2.39:1", "2.39:1"], ["3:2", "3:2"], ["4:3", "4:3"], ["1:1", "1:1"], ["3:4", "3:4"], ["9:16", "9:16"]];

async function settings(board) {
  const { models } = await get("models");
  const set = (fields) => board.edit("", fields);
  const text = (key, value, hint) => make("input", { type: "text", value: value ?? "", placeholder: hint ?? "", oninput: (event) => set({ [key]: event.target.value || null }) });
  const override = (key, value) => {
    const overrides = { ...board.doc.overrides };
    if (value === "" || value === null || Number.isNaN(value)) delete overrides[key];
    else overrides[key] = value;
    set({ overrides: Object.keys(overrides).length ? overrides : null });
  };
  const own = board.doc.overrides || {};
  const number = (key, more) => make("input", { type: "number", value: own[key] ?? "", placeholder: t("as-preset"), ...more,
    onchange: (event) => override(key, event.target.value === "" ? "" : Number(event.target.value)) });
  const names = models.filter((model) => !model.unfinished && model.usable !== false).map((model) => [model.name, model.name]);
  const it = dialog(t("settings"), make("div", { className: "fields" },
    labelled("style", text("style", board.doc.style, t("style-hint")), { className: "wide" }),
    labelled("negative", text("negative", board.doc.negative), { className: "wide" }),
    labelled("model", select("model", [["", t("as-chosen")], ...names], own.model, (value) => override("model", value))),
    labelled("preset", select("preset", [["", t("by-machine")], ...["balanced", "large", "quality", "fast", "ultra-fast"].map((p) => [p, p])], own.preset, (value) => override("preset", value))),
    labelled("format", select("aspect", shapes, own.aspect, (value) => override("aspect", value))),
    labelled("width", number("width", { min: 8, max: 16384, step: 8 })),
    labelled("height", number("height", { min: 8, max: 16384, step: 8 })),
    labelled("steps", number("steps", { min: 1, max: 999 })),
    labelled("guidance", number("guidance", { min: 0, max: 100, step: 0.1 })),
    labelled("seed", make("input", { type: "number", value: board.doc.seed ?? "", min: 0, onchange: (event) => event.target.value && set({ seed: Number(event.target.value) }) })),
    labelled("fps", make("input", { type: "number", value: board.doc.fps ?? 24, min: 1, max: 120, step: "any", onchange: (event) => event.target.value && set({ fps: Number(event.target.value) }) })),
    labelled("timing", make("input", { type: "number", value: (board.doc.defaultBoardTiming ?? 2000) / 1000, min: 0.1, step: 0.1,
      onchange: (event) => event.target.value && set({ defaultBoardTiming: Number(event.target.value) * 1000 }) }))),
  make("div", { className: "row" },
    button("renumber", () => trying(async () => { await board.act("/renumber"); it.close(); })),
    button("put-away", async () => {
      if (!await sure(t("put-away-sure"), t("put-away"))) return;
      await trying(async () => { await remove(board.path); localStorage.removeItem("kadr-board"); it.close(); location.hash = "#/"; });
    })));
}

/* ---- Script */
function script(board) {
  const field = make("textarea", { value: board.doc.source ?? "", rows: 16, spellcheck: true, className: "script", aria: { label: t("script") } });
  const why = make("p", { className: "bad", role: "alert" });
  const file = make("input", { type: "file", accept: ".txt,.fountain,.spmd,text/plain", hidden: true, onchange: async () => { if (file.files[0]) field.value = await file.files[0].text(); } });
  const attempt = async (act) => { try { await act(); it.close(); } catch (error) { why.textContent = error.message; } };
  const it = dialog(t("script"), make("p", { className: "hint", textContent: t("script-hint") }), field, why,
    make("p", { className: "hint", textContent: t("script-keeps") }),
    make("div", { className: "row" },
      button("script-apply", () => attempt(async () => { await board.act("/script", { script: field.value }); board.plan.refresh(); }), { className: "main" }),
      button("script-new", () => attempt(async () => { location.hash = "#/board/" + (await post("boards", { script: field.value })).id; })),
      button("script-open", () => file.click()), file));
  it.dataset.drop = "";
  it.addEventListener("files", async (event) => { field.value = await event.detail[0].text(); });
  it.classList.add("broad");
  field.setSelectionRange(0, 0);
  field.focus();
  field.scrollTop = 0;
}

/* ---- Export */
function exporting(board) {
  const wish = { layout: "2x3", paper: "a4", captions: "burnt" };
  const choose = (key, values) => labelled(key, select(key, values, wish[key], (value) => { wish[key] = value; }));
  const fetchFile = async (format, link) => {
    link.disabled = true;
    tell(t("making"));
    await trying(async () => {
      await board.flush();
      const answer = await fetch(`/api/v1/${board.path}/export?` + new URLSearchParams({ format, ...wish }));
      if (!answer.ok) throw new Error((await answer.json()).error.message);
      const name = decodeURIComponent((answer.headers.get("Content-Disposition") || "").split("''")[1] || "board." + format);
      const url = URL.createObjectURL(await answer.blob());
      make("a", { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60000);
      tell("");
    });
    link.disabled = false;
  };
  const one = (format) => make("button", { type: "button", textContent: t("exp-" + format), data: { format }, onclick: (event) => fetchFile(format, event.target) });
  dialog(t("export"),
    make("div", { className: "fields" }, choose("layout", [["2x3", "2×3"], ["1x3", "1×3"], ["1x1", "1×1"]]), choose("paper", [["a4", "A4"], ["letter", "Letter"]]),
      choose("captions", [["burnt", t("burnt")], ["track", t("track")], ["off", t("off")]])),
    make("div", { className: "exports" }, ...["pdf", "webp", "mp4", "sheet", "html", "srt", "edl", "fcpxml", "otio", "storyboarder", "all"].map(one)));
}

/* ---- The view */
function toolbar(board, boards) {
  const open = select("board", [...boards.map((one) => [String(one.id), one.title || t("untitled") + " " + one.id]), ["new", "+ " + t("new-board")]], String(board.id));
  open.ariaLabel = t("boards");
  open.onchange = () => trying(async () => {
    const id = open.value === "new" ? (await post("boards", {})).id : open.value;
    location.hash = "#/board/" + id;
  });
  const title = make("input", { type: "text", className: "title", value: board.doc.title ?? "", placeholder: t("untitled"), aria: { label: t("title") },
    oninput: () => board.edit("", { title: title.value || null }) });
  const playing = make("button", { type: "button", onclick: () => play(board) });
  playing.append(sign("play", "play", null).firstChild, " " + t("play"));
  return make("div", { className: "toolbar" }, title, open, make("div", { className: "row" },
    button("script", () => script(board)), button("settings", () => trying(() => settings(board))), playing, button("export", () => exporting(board))));
}

export async function boardView(place, number) {
  const { boards } = await get("boards");
  if (!number) {
    const first = await newest();
    history.replaceState(null, "", "#/board/" + first.id);
    number = first.id;
    if (!boards.length) boards.push({ id: first.id, title: "" });
  }
  const board = current = new Board(Number(number), await get("boards/" + number));
  localStorage.setItem("kadr-board", number);
  board.open = (uid) => openPanel(board, uid);
  const loadCasts = async () => { board.casts = (await get("casts")).casts.filter((cast) => !cast.error); for (const card of board.cards.values()) card.chips.update(); };
  const add = make("button", { type: "button", className: "add", onclick: () => trying(() => board.insert()) });
  add.append(sign("plus", "add-panel", null).firstChild, " " + t("add-panel"));
  place.append(toolbar(board, boards), board.list, add, board.plan.element);
  const ends = [
    on("board", (event) => { if (event.id === board.id && event.version !== board.version) board.refresh(); }),
    on("job", (job) => { if (job.board === board.id) { board.refresh(); if (job.state !== "running") board.plan.refresh(); } }),
    on("progress", (progress) => board.card_of(progress.job)?.progress(progress)),
    on("cast", () => trying(loadCasts)), on("model", () => board.plan.refresh()),
    on("open", () => { board.version = 0; board.refresh(); board.plan.refresh(); }),
  ];
  await trying(loadCasts);
  board.refresh(); /* what happened before it was listened to */
  board.plan.refresh();
  const leave = () => { board.send_all().catch(() => {}); }; /* at once: there is no later */
  addEventListener("pagehide", leave);
  if (board.panels.length === 1 && !board.panels[0].action && innerWidth > 700) $("textarea", board.list)?.focus();
  return async () => {
    for (const end of ends) end();
    removeEventListener("pagehide", leave);
    current = null;
    await trying(() => board.flush());
    if (board.pending.size) unsent.set(board.id, board.pending);
    else unsent.delete(board.id);
  };
}
