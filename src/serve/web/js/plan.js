/* plan.js: what drawing would take, told before it is asked for, and the buttons that ask. */
import { post } from "./api.js";
import { button, later, make, size, tell, time, trying } from "./dom.js";
import { counted, t } from "./words.js";

export class PlanBar {
  constructor(board) {
    this.board = board;
    this.text = make("p", { className: "plan-text", role: "status" });
    this.other = make("div", { className: "row others", hidden: true });
    this.draw = button("draw", () => this.go({}), { className: "main", id: "draw", disabled: true });
    this.draft = button("draw-draft", () => this.go({ draft: true }), { title: t("draft-hint"), disabled: true });
    this.finish = button("finish", () => this.go({ final: true }), { hidden: true });
    this.cancel = button("cancel", () => trying(() => this.cancel_all()), { hidden: true });
    this.element = make("section", { className: "plan", aria: { label: t("draw") } }, this.text, this.other, make("div", { className: "row" }, this.cancel, this.finish, this.draft, this.draw));
    this.refresh = later(() => trying(() => this.ask()), 500);
    this.asked = 0;
  }

  /* Something in that panel was changed: until the server has said what, it may be drawn. */
  touch() { this.draw.disabled = this.draft.disabled = false; }

  async ask() {
    const number = ++this.asked;
    if (!this.text.textContent) this.text.textContent = t("planning");
    let plan;
    try { plan = await post(this.board.path + "/plan", {}); } catch (error) { plan = { error: error.message, panels: [] }; }
    if (number === this.asked) this.show(plan);
  }

  show(plan) {
    const n = plan.panels.length, board = this.board;
    const written = board.panels.some((panel) => panel.action || panel.prompt || panel.scene);
    const waits = board.panels.some((panel) => (panel.jobs || []).length);
    this.cancel.hidden = !waits;
    for (const card of board.cards.values()) card.mark_changed(plan.panels.includes(card.uid) && Boolean(card.panel?.picture));
    this.element.classList.toggle("bad", Boolean(plan.error) || plan.fits === false);
    this.other.hidden = plan.fits !== false;
    this.draw.disabled = this.draft.disabled = !n || plan.fits === false;
    this.finish.hidden = !board.panels.some((panel) => (panel.versions || []).find((version) => version.picture === panel.picture)?.draft);
    if (plan.error) this.text.textContent = plan.error;
    else if (plan.fits === false) this.show_others(plan);
    else if (n) this.text.textContent = [counted(n, "to-draw"), `${t("at-most")} ${size(plan.peak_bytes)} ${t("of")} ${size(plan.budget_bytes)}`,
      (plan.seconds < 1 ? "" : t("about") + " ") + time(plan.seconds) + (plan.measured ? "" : " " + t("guess"))].join(" · ");
    else this.text.textContent = written ? (waits ? t("drawing") + "…" : t("nothing-to-draw")) : t("write-first");
  }

  /* What would fit, as buttons; memory is the server's to be given. */
  show_others(plan) {
    this.text.textContent = `${t("fitsnot")}: ${t("needs")} ${size(plan.peak_bytes)}, ${t("allowed")} ${size(plan.budget_bytes)}.`;
    const choices = plan.alternatives.filter((one) => !one.options.startsWith("--memory"));
    const memory = plan.alternatives.find((one) => one.options.startsWith("--memory"));
    if (this.told === JSON.stringify(plan.alternatives)) return; /* they stay the same buttons */
    this.told = JSON.stringify(plan.alternatives);
    this.other.replaceChildren(...(choices.length ? [make("span", { textContent: t("instead") })] : []),
      ...choices.map((one) => {
        const fields = {};
        if (one.options.includes("--width")) Object.assign(fields, { width: one.width, height: one.height });
        if (one.options.includes("--precision")) fields.precision = one.precision;
        const words = [fields.width ? `${one.width}×${one.height}` : "", fields.precision ?? ""].filter(Boolean).join(", ");
        return make("button", { type: "button", className: "other", textContent: `${words} (${size(one.peak_bytes)})`, onclick: () => trying(() => this.take(fields)) });
      }), ...(memory ? [make("span", {}, t("start-with") + " ", make("code", { textContent: memory.options }))] : []));
  }

  async take(fields) {
    const overrides = { ...this.board.doc.overrides, ...fields };
    if (fields.width) delete overrides.aspect;
    this.board.edit("", { overrides });
    await this.board.flush();
    this.refresh();
  }

  async cancel_all() {
    for (const { job } of this.board.panels.flatMap((panel) => panel.jobs || []).reverse()) await post(`jobs/${job}/cancel`);
    await this.board.load();
    this.refresh();
  }

  go(wish) {
    this.draw.disabled = this.draft.disabled = true;
    return trying(async () => {
      const { jobs } = await this.board.act("/draw", wish);
      tell(jobs.length ? "" : t("nothing-to-draw"));
    }).finally(() => this.refresh());
  }
}

