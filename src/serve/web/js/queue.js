/* queue.js: what is drawn and what waits, in order; all of it may be cancelled, what waits may be moved. */
import { get, on, post } from "./api.js";
import { button, inTurn, later, make, picture, settle, sign, time, trying, $ } from "./dom.js";
import { t } from "./words.js";

const LATELY = 10;
const open = (job) => job.state === "queued" || job.state === "running";
const words = (job) => (job.request["make-cast"] ? t("new-character") + " " + job.request["make-cast"] : job.request.prompt);

class Item {
  constructor(queue, job) {
    this.queue = queue;
    const move = (before) => () => trying(async () => { await post(`jobs/${job.id}/move`, { before: before(queue.queued, queue.queued.indexOf(job.id)) ?? 0 }); await queue.load(); });
    this.empty = make("span", { className: "empty" });
    this.image = make("img", { alt: "", hidden: true });
    this.state = make("small");
    this.bar = make("progress", { max: 1, hidden: true, aria: { label: t("drawing") } });
    this.up = sign("up", "up", move((all, at) => all[at - 1]));
    this.down = sign("down", "down", move((all, at) => all[at + 2]));
    this.first = button("first", move((all) => all[0]));
    this.cancel = button("cancel", () => trying(async () => { await post(`jobs/${job.id}/cancel`); await queue.load(); }));
    this.element = make("li", { data: { job: job.id } }, this.empty, this.image,
      make("div", { className: "about" }, make("p", { textContent: words(job) }), this.state, this.bar),
      make("div", { className: "tools" },
        job.board ? make("a", { className: "button", href: "#/board/" + job.board, textContent: t("show-panel") }) : null,
        this.up, this.down, this.first, this.cancel));
  }

  update(job) {
    const all = this.queue.queued, at = all.indexOf(job.id), done = job.pictures[job.pictures.length - 1];
    this.element.className = job.state;
    if (job.state !== "running" || !this.told)
      this.state.textContent = [t(job.state), job.board ? t("of-board") + " " + job.board : "", job.error ?? "", job.waits ?? ""].filter(Boolean).join(" · ");
    this.bar.hidden = job.state !== "running";
    if (done && !this.told) this.show(picture(done.id));
    this.up.hidden = this.first.hidden = at <= 0;
    this.down.hidden = at < 0 || at === all.length - 1;
    this.cancel.hidden = !open(job);
  }

  progress(p) {
    this.told = true;
    if (p.steps) this.bar.value = p.step / p.steps;
    this.state.textContent = `${t("running")} · ${p.step}/${p.steps}` + (p.seconds_left > 0 ? ` · ${t("time-left")} ${time(p.seconds_left)}` : "");
    if (p.preview) this.show(`/api/v1/jobs/${p.job}/preview?step=${p.picture}.${p.step}`);
  }

  show(source) {
    if (this.image.getAttribute("src") !== source) this.image.src = source;
    this.image.hidden = false;
    this.empty.hidden = true;
  }
}

class Queue {
  constructor() {
    this.list = make("ol", { className: "jobs" });
    this.lately = make("ol", { className: "jobs lately" });
    this.past = make("section", { hidden: true }, make("h2", { textContent: t("lately") }), this.lately);
    this.empty = make("p", { className: "hint", textContent: t("queue-empty") });
    this.load = inTurn(() => this.read());
    this.refresh = later(() => trying(() => this.load()), 150);
  }

  async read() {
    const { jobs } = await get("jobs?limit=500");
    const waiting = jobs.filter(open), past = jobs.filter((job) => !open(job)).slice(0, LATELY);
    this.queued = waiting.filter((job) => job.state === "queued").map((job) => job.id);
    this.shown = settle(this.list, waiting, (job) => job.id, (job) => new Item(this, job));
    settle(this.lately, past, (job) => job.id, (job) => new Item(this, job));
    this.past.hidden = !past.length;
    this.empty.hidden = waiting.length > 0;
  }
}

export async function queueView(place) {
  const queue = new Queue();
  place.append(make("section", {}, make("h2", { textContent: t("queue") }), queue.empty, queue.list), queue.past);
  const ends = [on("job", queue.refresh), on("open", queue.refresh), on("progress", (p) => queue.shown?.get(p.job)?.progress(p))];
  await trying(() => queue.load());
  return () => { for (const end of ends) end(); };
}

/* How many wait, beside the link to the queue. */
export function watchQueue(link) {
  const badge = make("span", { className: "count", hidden: true });
  link.append(" ", badge);
  const count = later(async () => {
    const { jobs } = await get("jobs?limit=500").catch(() => ({ jobs: [] }));
    const waiting = jobs.filter(open).length;
    badge.hidden = !waiting;
    badge.textContent = String(waiting);
    if (!jobs.some((job) => job.state === "running")) $("#now").hidden = true;
  }, 200);
  on("job", count);
  on("open", count);
}
