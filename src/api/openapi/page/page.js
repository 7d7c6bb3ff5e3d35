// Shows the OpenAPI documents of this replica: operations by group, with what they take and how
// they are answered. Everything shown is put in place as text, never as markup.

const METHODS = ["get", "post", "put", "patch", "delete"];
const DEPTH_MAX = 6;

const place = (id) => document.getElementById(id);

/** An element with attributes and children; texts become text. */
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Code as it is; reached by keys too, because long lines scroll. */
function code(text) {
  return make("pre", { tabindex: "0" }, text);
}

async function fetchJson(url) {
  const response = await fetch(url);
  if (!response.ok) {
    throw new Error(`${url} was answered ${response.status}`);
  }
  return response.json();
}

/** What a reference stands for. */
function resolve(book, value) {
  if (!value?.$ref) {
    return value ?? {};
  }
  const path = value.$ref.replace(/^#\//, "").split("/");
  const found = path.reduce((part, key) => part?.[key], book);
  const { $ref, ...own } = value;
  return { ...found, ...own };
}

/** Text with what stands between backticks as code. */
function prose(text = "") {
  return text.split("`").map((part, at) => (at % 2 === 1 ? make("code", {}, part) : part));
}

/** A schema as the outline of a value, with descriptions behind the members. */
function outline(book, schema, indent = "", depth = 0) {
  const found = resolve(book, schema);
  if (depth > DEPTH_MAX) {
    return "…";
  }
  if (found.const !== undefined) {
    return JSON.stringify(found.const);
  }
  if (found.enum) {
    return found.enum.map((value) => JSON.stringify(value)).join(" | ");
  }
  const forms = found.anyOf ?? found.oneOf;
  if (forms) {
    return forms.map((form) => outline(book, form, indent, depth + 1)).join(" | ");
  }
  const members = Object.entries(found.properties ?? {});
  if (members.length > 0) {
    const inner = `${indent}  `;
    const lines = members.map(([name, member]) => {
      const mark = found.required?.includes(name) ? "" : "?";
      const note = resolve(book, member).description;
      const about = note ? `  // ${note.replace(/\s+/g, " ")}` : "";
      return `${inner}${name}${mark}: ${outline(book, member, inner, depth + 1)}${about}`;
    });
    return `{\n${lines.join("\n")}\n${indent}}`;
  }
  if (found.additionalProperties && typeof found.additionalProperties === "object") {
    return `{ [name]: ${outline(book, found.additionalProperties, indent, depth + 1)} }`;
  }
  if (found.items || found.prefixItems) {
    const items = found.prefixItems ?? [found.items];
    const shown = items.map((item) => outline(book, item, indent, depth + 1));
    return found.prefixItems ? `[${shown.join(", ")}]` : `${shown[0]}[]`;
  }
  const types = [found.type ?? "anything"].flat();
  return types.join(" | ");
}

function parameters(book, operation) {
  const all = (operation.parameters ?? []).map((parameter) => resolve(book, parameter));
  if (all.length === 0) {
    return null;
  }
  const rows = all.map((parameter) =>
    make("tr", {},
      make("td", {}, make("code", {}, parameter.name), parameter.required ? " (needed)" : ""),
      make("td", {}, parameter.in),
      make("td", {}, make("code", {}, outline(book, parameter.schema))),
      make("td", {}, ...prose(parameter.description ?? ""))));
  const head = ["Name", "In", "Type", "What it is"].map((text) => make("th", { scope: "col" }, text));
  return make("div", {},
    make("h3", {}, "Parameters"),
    make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)));
}

function content(book, contents) {
  return Object.entries(contents ?? {}).map(([type, media]) => {
    const examples = [media.example, ...(media.schema?.examples ?? [])];
    const example = examples.find((value) => value !== undefined && value !== "");
    const shown = typeof example === "string" ? example : JSON.stringify(example, null, 2);
    return make("div", {},
      make("p", { class: "soft" }, type),
      media.schema ? code(outline(book, media.schema)) : null,
      example === undefined ? null : make("p", { class: "soft" }, "Example"),
      example === undefined ? null : code(shown));
  });
}

function body(book, operation) {
  if (!operation.requestBody) {
    return null;
  }
  const title = operation.requestBody.required ? "Body" : "Body, if any";
  return make("div", {}, make("h3", {}, title), ...content(book, operation.requestBody.content));
}

function answers(book, operation) {
  const shown = Object.entries(operation.responses).map(([status, value]) => {
    const answer = resolve(book, value);
    const kind = status < "400" ? "good" : "bad";
    const mark = make("span", { class: `status ${kind}` }, status);
    const told = status < "400" ? content(book, answer.content) : [];
    return make("div", {}, make("p", {}, mark, " ", ...prose(answer.description)), ...told);
  });
  return make("div", {}, make("h3", {}, "Answers"), ...shown);
}

/** The same request for a terminal. */
function command(path, method, operation) {
  const words = ["curl"];
  if (method !== "get") {
    words.push("-X", method.toUpperCase());
  }
  const media = operation.requestBody?.content?.["application/json"];
  if (media) {
    words.push("-H 'Content-Type: application/json'");
    words.push(`-d '${JSON.stringify(media.example ?? {}).replaceAll("'", "'\\''")}'`);
  }
  words.push(`'${location.origin}${path}'`);
  return make("div", {}, make("h3", {}, "By hand"), code(words.join(" ")));
}

function operation(book, name, path, method, value) {
  const summary = make("summary", {},
    make("span", { class: `method ${method}` }, method.toUpperCase()),
    make("span", { class: "path" }, path),
    make("span", { class: "soft" }, value.summary ?? ""));
  const element = make("details", { class: "operation", id: `${name}/${value.operationId}` }, summary);
  // Filled when it is opened: a document has hundreds of tables.
  element.addEventListener("toggle", () => {
    if (!element.open || element.childElementCount > 1) {
      return;
    }
    const about = value.description ? make("p", {}, ...prose(value.description)) : null;
    element.append(make("div", { class: "body" }, about, parameters(book, value), body(book, value),
      answers(book, value), command(path, method, value)));
  });
  element.dataset.words = `${method} ${path} ${value.summary} ${value.operationId}`.toLowerCase();
  return element;
}

function groups(book, name) {
  const all = Object.entries(book.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ path, method, value: item[method] })));
  return book.tags.map((tag) => {
    const own = all.filter(({ value }) => value.tags.includes(tag.name));
    return make("section", {},
      make("h2", {}, tag.name),
      make("p", { class: "soft" }, ...prose(tag.description)),
      ...own.map(({ path, method, value }) => operation(book, name, path, method, value)));
  });
}

function filter() {
  const wanted = place("search").value.trim().toLowerCase();
  for (const section of place("operations").children) {
    const shown = [...section.querySelectorAll("details")].filter((element) => {
      element.hidden = !element.dataset.words.includes(wanted);
      return !element.hidden;
    });
    section.hidden = shown.length === 0;
  }
}

async function show(index) {
  const [wanted] = decodeURIComponent(location.hash.slice(1)).split("/");
  // The way past the head leads to no other document.
  const names = [wanted, place("operations").dataset.name, index.documents[0].name];
  const entries = names.map((name) => index.documents.find((one) => one.name === name));
  const entry = entries.find(Boolean);
  for (const link of place("documents").children) {
    link.toggleAttribute("aria-current", false);
    if (link.dataset.name === entry.name) {
      link.setAttribute("aria-current", "page");
    }
  }
  if (place("operations").dataset.name !== entry.name) {
    const book = await fetchJson(entry.url);
    document.title = `${book.info.title} · Quorate`;
    place("about").replaceChildren(
      make("h2", {}, book.info.title),
      make("p", {}, ...prose(book.info.description)),
      make("p", { class: "soft" }, `Version ${book.info.version}, OpenAPI ${book.openapi}: `,
        make("a", { href: entry.url }, entry.url)));
    place("operations").replaceChildren(...groups(book, entry.name));
    place("operations").dataset.name = entry.name;
    filter();
  }
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target?.matches("details")) {
    target.open = true;
    target.scrollIntoView();
  }
}

async function begin() {
  const index = await fetchJson("/openapi/index.json");
  place("documents").replaceChildren(...index.documents.map(({ name, title }) => {
    const link = make("a", { href: `#${name}` }, title);
    link.dataset.name = name;
    return link;
  }));
  place("search").addEventListener("input", filter);
  const again = () => show(index).catch(fail);
  addEventListener("hashchange", again);
  await show(index);
}

function fail(error) {
  place("about").replaceChildren(make("p", {}, `The documents could not be shown: ${error.message}`));
}

begin().catch(fail);
