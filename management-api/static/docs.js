// Shows the OpenAPI document of this broker, and sends the requests that somebody wants to try.
// Nothing is asked of other hosts, and no text becomes markup: elements are made one by one.

const document_path = "/api/openapi.json";
const login = window.document.getElementById("login");

/** Makes an element with attributes and children. */
function make(name, attributes = {}, ...children) {
  const element = window.document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** A description: what stands between backticks is code. */
function prose(text = "") {
  return text.split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part));
}

/** The schema behind a reference. */
function resolve(schema, api) {
  const name = schema?.$ref?.split("/").pop();
  return name ? api.components.schemas[name] : schema;
}

/** A schema's type in one line. */
function kind(schema, api) {
  if (!schema) return "any";
  if (schema.$ref) return schema.$ref.split("/").pop();
  const either = schema.oneOf ?? schema.anyOf;
  if (either) return either.map((one) => kind(one, api)).join(" or ");
  if (schema.type === "array") return `list of ${kind(schema.items, api)}`;
  if (Array.isArray(schema.type)) return schema.type.join(" or ");
  return schema.type ?? "any";
}

/** The objects that a schema is made of, without the lists and choices around them. */
function objects(schema, api, found = []) {
  if (!schema) return found;
  const name = schema.$ref?.split("/").pop();
  const here = resolve(schema, api);
  if (here.properties && !found.some((one) => one.schema === here)) {
    found.push({ name, schema: here });
    for (const property of Object.values(here.properties)) objects(property, api, found);
  }
  for (const inner of [here.items, ...(here.oneOf ?? []), ...(here.anyOf ?? [])]) {
    if (inner) objects(inner, api, found);
  }
  return found;
}

/** Tables of the fields of a schema, one for each object in it. */
function fields(schema, api) {
  const all = make("div", {}, make("p", {}, make("code", {}, kind(schema, api))));
  for (const { name, schema: object } of objects(schema, api)) {
    const rows = Object.entries(object.properties).map(([field, property]) =>
      make("tr", {},
        make("td", {}, make("code", {}, field)),
        make("td", {}, kind(property, api)),
        make("td", {}, (object.required ?? []).includes(field) ? "always" : ""),
        make("td", {}, ...prose(property.description))));
    const table = make("table", {}, make("tbody", {}, ...rows));
    const title = [name, object.description].filter(Boolean).join(": ");
    all.append(make("details", {}, make("summary", {}, ...prose(title || "object")), table));
  }
  return all;
}

/** An example of what a schema describes, to begin with. */
function example(schema, api, depth = 0) {
  const here = resolve(schema, api);
  if (here?.properties && depth < 3) {
    const required = here.required ?? [];
    const shown = Object.entries(here.properties).filter(([field]) => required.includes(field));
    return Object.fromEntries(shown.map(([field, inner]) => [field, example(inner, api, depth + 1)]));
  }
  const type = Array.isArray(here?.type) ? here.type[0] : here?.type;
  return { string: "", integer: 0, number: 0, boolean: false, array: [] }[type] ?? {};
}

/** The address of a request, with what was typed in. */
function address(path, inputs) {
  let url = path;
  const query = new URLSearchParams();
  for (const [parameter, input] of inputs) {
    if (parameter.in === "path") {
      url = url.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    } else if (parameter.in === "query" && input.value !== "") {
      query.append(parameter.name, input.value);
    }
  }
  return query.size ? `${url}?${query}` : url;
}

function headers(inputs, contentType) {
  const all = new Headers({ "X-Leveret-CSRF": "1" });
  const { user, password } = Object.fromEntries(new FormData(login));
  if (user) {
    const bytes = new TextEncoder().encode(`${user}:${password}`);
    all.set("Authorization", `Basic ${btoa(String.fromCharCode(...bytes))}`);
  }
  for (const [parameter, input] of inputs) {
    if (parameter.in === "header" && input.value) all.set(parameter.name, input.value);
  }
  if (contentType) all.set("Content-Type", contentType);
  return all;
}

async function send(method, path, inputs, body, contentType, output) {
  const url = address(path, inputs);
  output.hidden = false;
  output.textContent = `${method} ${url} …`;
  try {
    const sent = body && { body: body.value };
    const options = { method, headers: headers(inputs, contentType), ...sent };
    const answer = await fetch(url, options);
    let text = await answer.text();
    try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* It is no JSON. */ }
    output.textContent = `${method} ${url}\n${answer.status} ${answer.statusText}\n\n${text.slice(0, 200000)}`;
  } catch (error) {
    output.textContent = `${method} ${url}\n${error}`;
  }
}

/** The form with which a request is tried. */
function form(method, path, operation, api) {
  const inputs = (operation.parameters ?? []).map((parameter) => {
    const required = parameter.required ? { required: "" } : {};
    // What is typed in is encoded here, so nobody has to write %2F.
    const value = parameter.in === "path" && parameter.name === "vhost" ? { value: "/" } : {};
    return [parameter, make("input", { "aria-label": parameter.name, ...required, ...value })];
  });
  const rows = inputs.map(([parameter, input]) =>
    make("tr", {},
      make("td", {}, make("code", {}, parameter.name)),
      make("td", {}, parameter.in === "path" ? "" : parameter.in),
      make("td", {}, ...prose(parameter.description)),
      make("td", {}, input)));
  const [contentType, content] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  const start = content && contentType === "application/json"
    ? JSON.stringify(example(content.schema, api), null, 2) : "";
  const body = content && make("textarea", { "aria-label": "Body", spellcheck: "false" }, start);
  const output = make("pre", { hidden: "", tabindex: "0" });
  const submit = (event) => {
    event.preventDefault();
    send(method, path, inputs, body, contentType, output);
  };
  return make("form", { onsubmit: submit },
    rows.length ? make("table", {}, make("tbody", {}, ...rows)) : null,
    content ? make("h3", {}, `Body: ${contentType}`) : null,
    content ? fields(content.schema, api) : null,
    body,
    make("button", {}, `Send ${method}`),
    output);
}

function answers(operation, api) {
  const all = make("div", {}, make("h3", {}, "Answers"));
  for (const [status, answer] of Object.entries(operation.responses ?? {})) {
    const [type, content] = Object.entries(answer.content ?? {})[0] ?? [];
    const inside = type === "application/json" && status < "300" ? fields(content.schema, api) : null;
    all.append(make("div", {}, make("code", {}, status), " ", ...prose(answer.description), inside));
  }
  return all;
}

/** One method of one path; what is inside is made when it is opened. */
function operation(path, method, about, api) {
  const heading = make("summary", {},
    make("span", { class: `method ${method.toLowerCase()}` }, method), make("span", { class: "path" }, path),
    make("span", { class: "what" }, ...prose(about.summary)));
  const all = make("details", { class: "operation" }, heading);
  all.dataset.words = `${method} ${path} ${about.summary}`.toLowerCase();
  all.addEventListener("toggle", () => {
    if (all.childElementCount > 1) return;
    all.append(make("div", {}, form(method, path, about, api), answers(about, api)));
  });
  return all;
}

function search(words) {
  const wanted = words.toLowerCase();
  for (const one of window.document.querySelectorAll(".operation")) {
    one.hidden = !one.dataset.words.includes(wanted);
  }
  for (const group of window.document.querySelectorAll("section")) {
    group.hidden = !group.querySelector(".operation:not([hidden])");
  }
}

function show(api) {
  const about = `${api.info.title} ${api.info.version}. ${api.info.description}`;
  window.document.getElementById("about").replaceChildren(...prose(about));
  const main = window.document.getElementById("operations");
  const groups = new Map(api.tags.map(({ name }, index) =>
    [name, make("section", { id: `group-${index}` }, make("h2", {}, name))]));
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, about] of Object.entries(methods)) {
      groups.get(about.tags[0]).append(operation(path, method.toUpperCase(), about, api));
    }
  }
  const links = [...groups].map(([name, group]) => make("a", { href: `#${group.id}` }, name));
  window.document.getElementById("groups").replaceChildren(...links);
  main.replaceChildren(...groups.values());
}

login.addEventListener("submit", (event) => event.preventDefault());
login.elements.search.addEventListener("input", (event) => search(event.target.value));
try {
  show(await (await fetch(document_path)).json());
} catch (error) {
  window.document.getElementById("operations").textContent = `No document: ${error}`;
}
