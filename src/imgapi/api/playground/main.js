/** The page: chooses an operation, runs it, shows what came of it. */

import { placeInside } from "./comparison.js";
import { ServiceDocument } from "./document.js";
import { byId, icon, make } from "./elements.js";
import { OperationForm } from "./form.js";
import { KeyDialog } from "./key.js";
import { ProblemView } from "./problem.js";
import { ResultView } from "./result.js";
import { Canceled, Run, leftRunning } from "./run.js";
import { Service, Told } from "./service.js";
import { SnippetView } from "./snippet-view.js";
import { StageView } from "./stage.js";
import { loadWords, say, switchLanguage, write } from "./words.js";

class Page {
  #forms = new Map();
  #run = null;

  constructor() {
    this.keyDialog = new KeyDialog();
    this.service = new Service((refusal) => this.keyDialog.ask(refusal));
    this.keyDialog.serve(this.service);
    this.stage = new StageView();
    this.problem = new ProblemView(byId("problem"));
    this.result = new ResultView(byId("result"), this.service);
    this.snippet = new SnippetView(this.service);
  }

  async start() {
    byId("language").addEventListener("click", switchLanguage);
    byId("form").addEventListener("submit", (event) => this.#submit(event));
    byId("cancel").addEventListener("click", () => this.#cancel());
    byId("sample").addEventListener("click", () => this.form.fillSample());
    byId("again").addEventListener("click", () => this.#load());
    this.#takeFiles();
    await this.#load();
  }

  /** Reads the document and lays the page out; without it there is nothing to lay out. */
  async #load() {
    byId("again").hidden = true;
    this.problem.hide();
    try {
      this.service.document = new ServiceDocument(await this.service.json("openapi.json"));
    } catch (error) {
      this.problem.show(error);
      byId("again").hidden = false;
      return;
    }
    this.#offerOperations();
    addEventListener("hashchange", () => this.#choose(location.hash.slice(1)));
    const left = leftRunning();
    this.#choose(left?.operation ?? location.hash.slice(1));
    byId("workbench").hidden = false;
    if (left && this.form.operation.name === left.operation) {
      this.#perform((run) => run.resume(left), left.before ?? {});
    }
    await this.#tellPreview();
  }

  /** Says before anything is run that this installation has no model. */
  async #tellPreview() {
    try {
      const { upstream } = await this.service.json("operations", { isQuiet: true });
      byId("preview").hidden = upstream !== "emulator";
    } catch {
      // The result says it as well.
    }
  }

  #offerOperations() {
    const { operations } = this.service.document;
    for (const group of new Set(operations.map((operation) => operation.group))) {
      const choices = operations
        .filter((operation) => operation.group === group)
        .map((operation) => this.#makeChoice(operation));
      const title = write(make("h2", { class: "group" }), `group.${group}`, {}, group);
      byId("operations").append(title, make("div", { class: "operations" }, ...choices));
    }
  }

  #makeChoice(operation) {
    const input = make("input", {
      type: "radio",
      name: "operation",
      value: operation.name,
      class: "visually-hidden",
      change: () => this.#choose(operation.name),
    });
    const name = write(make("span"), `operation.${operation.name}`, {}, operation.summary);
    return make("label", { class: "operation" }, input, icon(operation.name), name);
  }

  /** Shows the form of an operation; the picture comes along. */
  #choose(name) {
    const { operations } = this.service.document;
    const operation = operations.find((each) => each.name === name) ?? operations[0];
    if (this.form?.operation === operation) {
      return;
    }
    const former = this.form;
    this.form = this.#formOf(operation);
    if (former?.main?.source && !this.form.main?.source && canTake(this.form, former.main.source)) {
      this.form.main.put(former.main.source);
    }
    byId("operations").querySelector(`[value="${operation.name}"]`).checked = true;
    history.replaceState(null, "", `#${operation.name}`);
    write(byId("summary"), `summary.${operation.name}`, {}, operation.summary);
    write(byId("description"), `description.${operation.name}`, {}, operation.description);
    byId("path").textContent = `POST /${operation.path}`;
    byId("fields").replaceChildren(this.form.element);
    byId("sample").hidden = !operation.sample;
    this.snippet.show(this.form);
  }

  #formOf(operation) {
    if (!this.#forms.has(operation)) {
      const form = new OperationForm(operation, this.service);
      form.addEventListener("change", () => form === this.form && this.snippet.show(form));
      this.#forms.set(operation, form);
    }
    return this.#forms.get(operation);
  }

  /** Takes pictures that are dropped anywhere on the page, or pasted into it. */
  #takeFiles() {
    const stop = (event) => event.preventDefault();
    document.addEventListener("dragover", stop);
    document.addEventListener("drop", (event) => {
      stop(event);
      this.#take([...event.dataTransfer.files], event.target);
    });
    document.addEventListener("paste", (event) => {
      const files = [...event.clipboardData.files];
      if (files.length) {
        stop(event);
        this.#take(files, document.activeElement);
      }
    });
  }

  #take(files, where) {
    if (!files.length || !this.form) {
      return;
    }
    const first = this.form.pictures.find((field) => field.element.contains(where)) ?? null;
    const left = this.form.take(files, first);
    this.stage.announce(left ? "picture.left" : "picture.taken", { count: left || files.length });
  }

  #submit(event) {
    event.preventDefault();
    if (this.#run) {
      return;
    }
    const wrong = this.form.check();
    if (wrong.length) {
      this.stage.announce("check.fields", { count: wrong.length });
      wrong[0].focus();
      return;
    }
    const { form } = this;
    const values = form.values();
    const scales = Object.fromEntries(form.fields.map((field) => [field.name, field.value ?? field.described.default]));
    const source = form.main?.source;
    const before = { before: source?.preview(this.service), beforeName: source?.name, place: placeInside(scales) };
    this.#perform((run) => run.start(values, source?.file ? { ...before, before: undefined } : before), before);
  }

  /** Runs an operation and shows what comes of it. */
  async #perform(start, before) {
    const { form } = this;
    const { operation } = form;
    this.problem.hide();
    this.result.hide();
    write(byId("outcome-title"), "page.result");
    this.#run = new Run(this.service, operation, (name, given) => this.stage.show(name, given));
    this.stage.begin(this.#run);
    try {
      const reply = await start(this.#run);
      const { seconds } = this.#run;
      write(byId("outcome-title"), "page.result-of", {
        name: { key: `operation.${operation.name}`, otherwise: operation.summary },
      });
      this.result.show({ operation, reply, seconds, ...before });
      this.stage.end(reply.engine === "local-preview" ? "done.preview" : "done", { seconds });
    } catch (error) {
      this.#fail(error, form);
    }
    this.#run = null;
  }

  #fail(error, form) {
    if (error instanceof Canceled) {
      this.stage.end("canceled");
      this.problem.say("problem.canceled");
      return;
    }
    this.stage.end(null);
    const field = error instanceof Told && this.form === form ? form.find(error.answer.field) : null;
    field?.showProblem(error.message);
    this.problem.show(error, field);
  }

  async #cancel() {
    this.stage.show("canceling");
    try {
      await this.#run?.cancel();
    } catch (error) {
      this.stage.show("uncancelable", { error });
    }
  }
}

function canTake(form, source) {
  return form.main.described.kind !== "file" || Boolean(source.file);
}

try {
  await loadWords();
} catch (error) {
  document
    .querySelector("main")
    .append("imgapi can't be reached; load this page again. 无法连接服务，请重新加载本页。");
  throw error;
}
const nameTab = () => {
  document.title = say("page.title");
};
nameTab();
document.addEventListener("language", nameTab);
await new Page().start();
