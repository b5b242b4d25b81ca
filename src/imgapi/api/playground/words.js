/** The page's words in English and Chinese, and the elements that show them. */

const LANGUAGES = ["en", "zh"];
const TAGS = { en: "en", zh: "zh-CN" };
const PLACE = "imgapi.language";
const texts = {};
// What each element shows: a Map from "text" or the name of an attribute to [key, given, otherwise].
const shown = new WeakMap();
let language = "en";

/** Loads both languages and chooses the reader's. */
export async function loadWords() {
  await Promise.all(
    LANGUAGES.map(async (name) => {
      const answer = await fetch(new URL(`${name}.json`, import.meta.url));
      texts[name] = await answer.json();
    }),
  );
  for (const element of document.querySelectorAll("[data-say]")) {
    write(element, element.dataset.say);
  }
  for (const element of document.querySelectorAll("[data-say-label]")) {
    writeAttribute(element, "aria-label", element.dataset.sayLabel);
  }
  setLanguage(remembered() ?? preferred());
}

/** Switches to the other language. */
export function switchLanguage() {
  setLanguage(language === "en" ? "zh" : "en");
  try {
    localStorage.setItem(PLACE, language);
  } catch {
    // A browser that keeps nothing asks again next time.
  }
}

function setLanguage(name) {
  language = name;
  document.documentElement.lang = TAGS[name];
  for (const element of document.querySelectorAll("[data-said]")) {
    for (const slot of shown.get(element)?.keys() ?? []) {
      show(element, slot);
    }
  }
  document.dispatchEvent(new CustomEvent("language"));
}

function remembered() {
  try {
    const name = localStorage.getItem(PLACE);
    return LANGUAGES.includes(name) ? name : null;
  } catch {
    return null;
  }
}

function preferred() {
  for (const tag of navigator.languages ?? [navigator.language]) {
    const name = tag.slice(0, 2).toLowerCase();
    if (LANGUAGES.includes(name)) {
      return name;
    }
  }
  return "en";
}

/** Whether there are words of a key in the language that is shown. */
export function hasWords(key) {
  return key in texts[language];
}

/**
 * Says something in the reader's language; of several keys the first that there are words of.
 * `{name}` stands for what is given; a given `count` chooses between `key.one` and `key.other`; what is given as
 * `{key}` is said as well. Without words it is what is said otherwise.
 */
export function say(keys, given = {}, otherwise = String(keys)) {
  const text = find([keys].flat(), given.count) ?? otherwise;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in given ? spell(given[name]) : whole));
}

function find(keys, count) {
  const words = texts[language];
  for (const key of keys) {
    const plural = count === undefined ? key : `${key}.${new Intl.PluralRules(language).select(count)}`;
    if (plural in words || key in words) {
      return words[plural] ?? words[key];
    }
  }
  return undefined;
}

function spell(value) {
  if (typeof value === "number") {
    return new Intl.NumberFormat(TAGS[language], { maximumFractionDigits: 2 }).format(value);
  }
  if (value instanceof Date) {
    return new Intl.DateTimeFormat(TAGS[language], { dateStyle: "medium", timeStyle: "short" }).format(value);
  }
  return value?.key === undefined ? String(value) : say(value.key, value.given, value.otherwise);
}

/** Writes words into an element, now and whenever the language is switched; returns the element. */
export function write(element, key, given, otherwise) {
  return keep(element, "text", [key, given, otherwise]);
}

/** Writes words into an attribute of an element, likewise. */
export function writeAttribute(element, name, key, given, otherwise) {
  return keep(element, name, [key, given, otherwise]);
}

/** Empties an element that words were written into. */
export function wipe(element) {
  shown.get(element)?.delete("text");
  element.textContent = "";
}

function keep(element, slot, words) {
  if (!shown.has(element)) {
    shown.set(element, new Map());
    element.setAttribute("data-said", "");
  }
  shown.get(element).set(slot, words);
  show(element, slot);
  return element;
}

function show(element, slot) {
  const text = say(...shown.get(element).get(slot));
  if (slot === "text") {
    // The document writes names between backticks.
    element.replaceChildren(...text.split("`").map((part, at) => (at % 2 ? code(part) : part)));
  } else {
    element.setAttribute(slot, text);
  }
}

function code(text) {
  const element = document.createElement("code");
  element.textContent = text;
  return element;
}

/** Writes a number of bytes as people do. */
export function bytes(count) {
  const [size, unit] = count < 1e6 ? [count / 1e3, "kilobyte"] : [count / 1e6, "megabyte"];
  const format = { style: "unit", unit, maximumFractionDigits: size < 10 ? 1 : 0 };
  return new Intl.NumberFormat(TAGS[language], format).format(size);
}

/** Writes seconds with one digit after the point, so that they don't jump. */
export function seconds(count) {
  const format = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
  return new Intl.NumberFormat(TAGS[language], format).format(count);
}
