/* The page. All text from outside goes in as textContent; all state is the server's. */
"use strict";

const texts = {
  en: { panels: "Panels", hint: "One panel, one picture. Drop a PNG that kadr drew to get its settings back.", add: "Add a panel",
    settings: "Settings", model: "Model", negative: "Not to be seen", width: "Width", height: "Height", steps: "Steps",
    guidance: "Guidance", seed: "Seed", count: "Versions", draw: "Draw", plan: "What will it take?", queue: "Queue",
    gallery: "Gallery", search: "Search", more: "More", again: "Take the settings", download: "Download", remove: "Delete",
    close: "Close", panel: "Panel", up: "Move up", down: "Move down", drop: "Remove the panel", cancel: "Cancel",
    first: "Draw next", queued: "waits", running: "is drawn", done: "done", failed: "failed", cancelled: "cancelled",
    empty: "Write what the panel shows first.", taken: "Settings taken from the picture.", none: "No settings of kadr in it.",
    fits: "Fits", fitsnot: "Does not fit", peak: "at most", left: "left", token: "Token of this server", gone: "Connection lost, trying again." },
  ru: { panels: "Кадры", hint: "Один кадр — одна картинка. Перетащите сюда PNG от kadr, чтобы вернуть его настройки.", add: "Добавить кадр",
    settings: "Настройки", model: "Модель", negative: "Чего не показывать", width: "Ширина", height: "Высота", steps: "Шаги",
    guidance: "Сила подсказки", seed: "Зерно", count: "Варианты", draw: "Рисовать", plan: "Сколько это займёт?", queue: "Очередь",
    gallery: "Галерея", search: "Поиск", more: "Ещё", again: "Взять настройки", download: "Скачать", remove: "Удалить",
    close: "Закрыть", panel: "Кадр", up: "Выше", down: "Ниже", drop: "Убрать кадр", cancel: "Отменить",
    first: "Рисовать следующим", queued: "ждёт", running: "рисуется", done: "готово", failed: "ошибка", cancelled: "отменено",
    empty: "Сначала напишите, что на кадре.", taken: "Настройки взяты из картинки.", none: "В ней нет настроек kadr.",
    fits: "Помещается", fitsnot: "Не помещается", peak: "не больше", left: "осталось", token: "Токен этого сервера", gone: "Связь потеряна, пробую снова." },
};
const language = (navigator.language || "en").toLowerCase().startsWith("ru") ? "ru" : "en";
const t = (key) => texts[language][key] || key;
const $ = (selector, inside = document) => inside.querySelector(selector);

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function tell(text, bad = false) {
  $("#told").textContent = text;
  $("#told").classList.toggle("bad", bad);
}

async function ask(path, options = {}) {
  const answer = await fetch(path, options);
  if (answer.status === 401) {
    const token = prompt(t("token"));
    if (token) {
      document.cookie = "kadr_token=" + token + "; SameSite=Strict; Path=/";
      location.reload();
    }
  }
  const json = await answer.json();
  if (!answer.ok) throw new Error(json.error ? json.error.message : answer.statusText);
  return json;
}

const send = (path, data = {}) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(data) });

/* ---- Panels: kept in this browser until they are drawn */
function addPanel(text = "") {
  const area = make("textarea", { value: text });
  const tool = (sign, key, act) => make("button", { type: "button", textContent: sign, title: t(key), ariaLabel: t(key), onclick: act });
  const item = make("li", {}, area, make("div", { className: "tools" },
    tool("↑", "up", () => { if (item.previousElementSibling) item.previousElementSibling.before(item); keep(); }),
    tool("↓", "down", () => { if (item.nextElementSibling) item.nextElementSibling.after(item); keep(); }),
    tool("×", "drop", () => { item.remove(); if (!$("#panels").children.length) addPanel(); keep(); })));
  area.addEventListener("input", keep);
  $("#panels").append(item);
  keep();
  return area;
}

function keep() {
  const panels = [...document.querySelectorAll("#panels textarea")];
  panels.forEach((p, i) => { p.ariaLabel = t("panel") + " " + (i + 1); });
  localStorage.setItem("panels", JSON.stringify(panels.map((p) => p.value)));
}

function requests() {
  const shared = {};
  for (const field of document.querySelectorAll("#settings [name]")) {
    if (field.value === "") continue;
    shared[field.name] = field.type === "number" ? Number(field.value) : field.value;
  }
  const prompts = [...document.querySelectorAll("#panels textarea")].map((p) => p.value.trim()).filter(Boolean);
  return prompts.map((prompt) => ({ prompt, ...shared }));
}

function takeSettings(settings) {
  for (const field of document.querySelectorAll("#settings [name]")) {
    if (field.tagName === "SELECT") {
      if ([...field.options].some((o) => o.value === settings[field.name])) field.value = settings[field.name];
    } else field.value = settings[field.name] ?? "";
  }
  $("#settings").parentElement.open = true;
  const areas = [...document.querySelectorAll("#panels textarea")];
  const free = areas.find((a) => !a.value.trim()) || addPanel();
  free.value = settings.prompt || "";
  keep();
  tell(t("taken"));
}

async function draw() {
  const all = requests();
  if (!all.length) return tell(t("empty"), true);
  try {
    for (const request of all) showJob(await send("/api/v1/jobs", request));
    tell("");
  } catch (e) { tell(e.message, true); }
}

const size = (bytes) => (bytes / 2 ** 30 >= 1 ? (bytes / 2 ** 30).toFixed(1) + " GiB" : Math.ceil(bytes / 2 ** 20) + " MiB");
const time = (s) => (s >= 90 ? Math.round(s / 60) + " min" : s >= 1 ? Math.round(s) + " s" : "< 1 s");

async function plan() {
  const all = requests();
  if (!all.length) return tell(t("empty"), true);
  try {
    const p = await send("/api/v1/plan", all[0]);
    let text = (p.fits === false ? t("fitsnot") : t("fits")) + ": " + t("peak") + " " + size(p.peak_bytes || 0);
    if (p.seconds) text += ", ~" + time(p.seconds * all.length);
    tell(text, p.fits === false);
  } catch (e) { tell(e.message, true); }
}

/* ---- Queue */
function showJob(job) {
  const id = "job-" + job.id;
  const open = job.state === "queued" || job.state === "running";
  let item = document.getElementById(id);
  if (!open && job.state !== "failed") { if (item) item.remove(); return; }
  const picture = item && $("img", item) || make("span", { className: "empty" });
  const old = item && $("progress", item);
  const bar = make("progress", { max: 1, value: old ? old.value : 0, ariaLabel: t(job.state) });
  const about = make("div", {}, make("p", { textContent: job.request.prompt, title: job.request.prompt }),
    make("small", { textContent: t(job.state) + (job.error ? ": " + job.error : "") }));
  if (job.state === "running") about.append(bar);
  const next = make("li", { id }, picture, about);
  if (job.state === "queued") next.append(make("button", { type: "button", textContent: "↑", title: t("first"), ariaLabel: t("first"), onclick: () => drawNext(job.id) }));
  if (open) next.append(make("button", { type: "button", textContent: t("cancel"), onclick: () => send("/api/v1/jobs/" + job.id + "/cancel").then(showJob).catch((e) => tell(e.message, true)) }));
  if (item) item.replaceWith(next);
  else $("#jobs").append(next);
}

async function drawNext(id) {
  const { jobs } = await ask("/api/v1/jobs");
  const first = jobs.find((j) => j.state === "queued");
  if (first && first.id !== id) await send("/api/v1/jobs/" + id + "/move", { before: first.id });
  loadJobs();
}

async function loadJobs() {
  const { jobs } = await ask("/api/v1/jobs");
  $("#jobs").replaceChildren();
  for (const job of jobs) if (job.state !== "failed" || Date.now() - job.finished < 3600e3) showJob(job);
}

function progress(p) {
  const item = document.getElementById("job-" + p.job);
  if (!item) return;
  const bar = $("progress", item);
  if (bar && p.steps) bar.value = p.step / p.steps;
  $("small", item).textContent = t("running") + " · " + p.step + "/" + p.steps + (p.seconds_left ? " · " + t("left") + " " + time(p.seconds_left) : "");
  if (p.preview) {
    let image = $("img", item);
    if (!image) { image = make("img", { alt: "" }); $(".empty", item).replaceWith(image); }
    image.src = "/api/v1/jobs/" + p.job + "/preview?step=" + p.picture + "." + p.step;
  }
}

/* ---- Gallery */
let oldest = 0;
async function loadPictures(more = false) {
  const search = encodeURIComponent($("#search").value);
  const { pictures } = await ask("/api/v1/pictures?limit=60&search=" + search + (more ? "&before=" + oldest : ""));
  if (!more) $("#pictures").replaceChildren();
  for (const p of pictures) {
    oldest = p.id;
    const button = make("button", { type: "button", title: p.prompt, onclick: () => view(p) },
      make("img", { src: "/api/v1/pictures/" + p.id, alt: p.prompt, loading: "lazy" }));
    $("#pictures").append(make("li", {}, button));
  }
  $("#more").hidden = pictures.length < 60;
}

function view(p) {
  const dialog = $("#viewer");
  $("img", dialog).src = "/api/v1/pictures/" + p.id;
  $("img", dialog).alt = p.prompt;
  $("p", dialog).textContent = p.prompt + " · " + p.width + "×" + p.height + " · " + t("seed") + " " + p.seed;
  $("#download").href = "/api/v1/pictures/" + p.id;
  $("#download").download = "kadr-" + p.id + ".png";
  $("#again").onclick = () => { takeSettings(p.settings); dialog.close(); };
  $("#remove").onclick = async () => { await ask("/api/v1/pictures/" + p.id, { method: "DELETE" }); dialog.close(); loadPictures(); };
  dialog.showModal();
}

async function dropped(file) {
  try {
    const found = await ask("/api/v1/inspect", { method: "POST", headers: { "Content-Type": file.type || "image/png" }, body: file });
    if (found.settings) takeSettings(found.settings);
    else tell(t("none"), true);
  } catch (e) { tell(e.message, true); }
}

function listen() {
  const events = new EventSource("/api/v1/events");
  const on = (name, act) => events.addEventListener(name, (e) => act(JSON.parse(e.data)));
  events.onopen = () => { loadJobs(); loadPictures(); };
  events.onerror = () => tell(t("gone"), true);
  on("job", showJob);
  on("progress", progress);
  on("picture", () => loadPictures());
  on("alive", () => { if ($("#told").textContent === t("gone")) tell(""); });
}

async function start() {
  document.documentElement.lang = language;
  for (const e of document.querySelectorAll("[data-t]")) e.textContent = t(e.dataset.t);
  let panels = [];
  try { panels = JSON.parse(localStorage.getItem("panels")) || []; } catch (e) { panels = []; }
  for (const text of panels.length ? panels : [""]) addPanel(text);
  $("#add").onclick = () => addPanel().focus();
  $("#draw").onclick = draw;
  $("#plan").onclick = plan;
  $("#close").onclick = () => $("#viewer").close();
  $("#more").onclick = () => loadPictures(true);
  let typing;
  $("#search").oninput = () => { clearTimeout(typing); typing = setTimeout(loadPictures, 200); };
  document.body.ondragover = (e) => { e.preventDefault(); document.body.classList.add("drop"); };
  document.body.ondragleave = () => document.body.classList.remove("drop");
  document.body.ondrop = (e) => {
    e.preventDefault();
    document.body.classList.remove("drop");
    if (e.dataTransfer.files[0]) dropped(e.dataTransfer.files[0]);
  };
  const { models } = await ask("/api/v1/models");
  for (const m of models) $("select[name=model]").append(make("option", { value: m, textContent: m }));
  listen();
}
start().catch((e) => tell(e.message, true));
