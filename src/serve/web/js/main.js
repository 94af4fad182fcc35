/* main.js: which view is shown, by the address behind #, and what is common to all: what is being drawn, what is told,
 * and what is dropped on the page. Text that a user writes is kept by the server, never only here. */
import { listen, on, send } from "./api.js";
import { boardView, dropped as droppedOnBoard } from "./board.js";
import { castsView } from "./casts.js";
import { $, $$, make, tell, time, trying } from "./dom.js";
import { galleryView } from "./gallery.js";
import { modelsView } from "./models.js";
import { queueView, watchQueue } from "./queue.js";
import { language, moves, shots, t } from "./words.js";

/* A view fills its place and gives what ends it. It listens before it loads: what happens between is not lost. */
const views = { board: boardView, gallery: galleryView, casts: castsView, models: modelsView, queue: queueView };
let close = null, shown = Promise.resolve(); /* one view after the other */

async function show() {
  const [, name = "board", number] = location.hash.split("/");
  const view = views[name] ? name : "board";
  if (close) await close();
  close = null;
  for (const link of $$("[data-view]")) {
    if (link.dataset.view !== view) { link.removeAttribute("aria-current"); continue; }
    link.setAttribute("aria-current", "page");
    link.scrollIntoView({ block: "nearest", inline: "center" });
  }
  const place = $("#view");
  place.className = view;
  place.replaceChildren();
  close = await trying(() => views[view](place, number)) || null;
}

/* ---- Dropping */
const isScript = (file) => /\.(txt|fountain|spmd|json|storyboarder)$/i.test(file.name) || file.type.startsWith("text/");

function watchDrops() {
  let depth = 0;
  const files = (event) => [...event.dataTransfer.types].includes("Files");
  addEventListener("dragenter", (event) => { if (files(event) && !depth++) document.body.classList.add("drop"); });
  addEventListener("dragleave", (event) => { if (files(event) && !--depth) document.body.classList.remove("drop"); });
  addEventListener("dragover", (event) => { if (files(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    depth = 0;
    document.body.classList.remove("drop");
    const list = [...event.dataTransfer.files], area = event.target.closest("[data-drop]");
    if (area) area.dispatchEvent(new CustomEvent("files", { detail: list }));
    else trying(() => dropOnPage(list));
  });
}

/* A script becomes a board, a picture that kadr drew a panel with its settings. */
async function dropOnPage(list) {
  const script = list.find(isScript), image = list.find((file) => file.type.startsWith("image/"));
  if (script) await droppedOnBoard({ script: await script.text(), name: script.name });
  else if (image) {
    const found = await send("inspect", image);
    if (found.settings) await droppedOnBoard({ settings: found.settings });
    else tell(t("no-settings"), true);
  }
}

/* ---- What is being drawn, on every view */
function watchDrawing() {
  const line = $("#now"), bar = make("progress", { max: 1, aria: { label: t("drawing") } }), text = make("span");
  line.append(bar, text);
  on("progress", (p) => {
    line.hidden = false;
    if (p.steps) bar.value = p.step / p.steps;
    else bar.removeAttribute("value");
    text.textContent = t("drawing") + (p.steps ? " · " + t("step") + " " + p.step + "/" + p.steps : "") +
      (p.seconds_left > 0 ? " · " + t("time-left") + " " + time(p.seconds_left) : "");
  });
  on("job", (job) => { if (job.state !== "running" && job.state !== "queued") line.hidden = true; });
}

function start() {
  document.documentElement.lang = language;
  for (const element of $$("[data-t]")) element.textContent = t(element.dataset.t);
  $("#shots").append(...shots.map((value) => make("option", { value })));
  $("#moves").append(...moves.map((value) => make("option", { value })));
  let lost = false;
  on("gone", () => { lost = true; tell(t("gone"), true); });
  on("open", () => { if (lost) tell(t("back")); lost = false; });
  watchDrops();
  watchDrawing();
  watchQueue($("[data-view=queue]"));
  addEventListener("hashchange", () => { shown = shown.then(show); });
  listen();
  shown = shown.then(show);
}
start();
