/* api.js: the server asked, and listened to. */
import { $, dialog, labelled, make, button } from "./dom.js";
import { t } from "./words.js";

function askToken() {
  if ($("dialog.token")) return;
  const field = make("input", { type: "password", autocomplete: "current-password", required: true });
  const form = make("form", { method: "dialog", onsubmit: () => {
    document.cookie = "kadr_token=" + field.value + "; SameSite=Strict; Path=/";
    location.reload();
  } }, labelled("token", field), make("div", { className: "row" }, make("button", { className: "main", textContent: t("enter") })));
  dialog(t("token-title"), form).classList.add("token", "small");
  field.focus();
}

/* What fails without a `status` did not reach the server. */
export async function ask(path, options = {}) {
  const answer = await fetch(path, options).catch(() => { throw new Error(t("gone")); });
  if (answer.status === 401) askToken();
  const json = await answer.json().catch(() => ({}));
  if (answer.ok) return json;
  const error = new Error(json.error ? json.error.message : answer.statusText);
  error.status = answer.status;
  throw error;
}

/* What is small reaches the server although the page is being left. */
const body = (method) => (path, data = {}) => {
  const text = JSON.stringify(data);
  return ask("/api/v1/" + path, { method, headers: { "Content-Type": "application/json" }, body: text, keepalive: text.length < 10000 });
};
export const get = (path) => ask("/api/v1/" + path);
export const post = body("POST");
export const patch = body("PATCH");
export const remove = (path) => ask("/api/v1/" + path, { method: "DELETE" });
export const send = (path, blob) => ask("/api/v1/" + path, { method: "POST", headers: { "Content-Type": blob.type || "image/png" }, body: blob });

const UPLOAD_MOST = 3.5e6; /* pixels: with alpha 14 of the 15.5 MB that the server unpacks to */

/* A picture made small enough for the server, as PNG. */
export async function upload(blob) {
  const bitmap = await createImageBitmap(blob);
  const scale = Math.min(1, Math.sqrt(UPLOAD_MOST / (bitmap.width * bitmap.height)));
  if (scale === 1 && blob.size < 2 ** 20) return send("uploads", blob);
  const canvas = make("canvas", { width: Math.round(bitmap.width * scale), height: Math.round(bitmap.height * scale) });
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return send("uploads", await new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); }));
}

/* ---- Events: on(name, act) gives a function that ends it */
const listeners = {};
export function on(name, act) {
  (listeners[name] ??= new Set()).add(act);
  return () => listeners[name].delete(act);
}
const emit = (name, data) => { for (const act of listeners[name] || []) act(data); };

export function listen() {
  const source = new EventSource("/api/v1/events");
  source.onopen = () => emit("open");
  source.onerror = () => emit("gone");
  for (const name of ["job", "progress", "picture", "board", "cast", "model", "pull", "alive"])
    source.addEventListener(name, (event) => emit(name, JSON.parse(event.data)));
}
