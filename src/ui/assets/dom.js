// Elements, and bringing what is on the page to what should be there. Text enters the page as text
// nodes only, so nothing that a server says is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

/// Makes an element. Properties that begin with `on` are listeners, `key` tells siblings apart,
/// `draw` is called with the element whenever it has been brought up to date.
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/// As `h`, for drawings.
export function s(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) listen(node, name.slice(2), value);
    else if (name === "key") node.ownKey = String(value);
    else if (name === "draw") node.ownDraw = value;
    else if (name === "facts") node.ownFacts = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  append(node, children);
  return node;
}

function append(node, children) {
  for (const child of children) {
    if (child === undefined || child === null || child === false) continue;
    if (Array.isArray(child)) append(node, child);
    else node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

function listen(node, type, listener) {
  node.ownListeners ??= {};
  // Once for each kind of event, for as long as the element lives.
  if (!(type in node.ownListeners)) {
    node.addEventListener(type, (event) => node.ownListeners[type]?.(event));
  }
  node.ownListeners[type] = listener;
}

/// Makes the children of `node` what `fresh` are, and touches nothing that is so already: focus,
/// selection, scrolling and opened details stay where they are.
export function show(node, ...fresh) {
  const wanted = document.createElement("div");
  append(wanted, fresh);
  patchChildren(node, wanted);
}

function patchChildren(node, wanted) {
  const keyed = new Map();
  for (const child of node.childNodes) if (child.ownKey !== undefined) keyed.set(child.ownKey, child);
  let at = node.firstChild;
  for (const fresh of [...wanted.childNodes]) {
    let old = at;
    if (fresh.ownKey !== undefined) old = keyed.get(fresh.ownKey) ?? null;
    else while (old && old.ownKey !== undefined && keyed.has(old.ownKey)) old = old.nextSibling;
    if (!old || !isAlike(old, fresh)) {
      node.insertBefore(fresh, at);
      drawAll(fresh);
      continue;
    }
    if (old === at) at = at.nextSibling;
    else node.insertBefore(old, at);
    patch(old, fresh);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function isAlike(old, fresh) {
  return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && old.ownKey === fresh.ownKey;
}

function patch(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !isOwnedByUser(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !isOwnedByUser(old, name)) old.setAttribute(name, value);
  }
  for (const type of Object.keys(old.ownListeners ?? {})) old.ownListeners[type] = undefined;
  for (const [type, listener] of Object.entries(fresh.ownListeners ?? {})) listen(old, type, listener);
  old.ownDraw = fresh.ownDraw;
  old.ownFacts = fresh.ownFacts;
  patchChildren(old, fresh);
  old.ownDraw?.(old);
}

/// Whether a reader opens and closes things by this attribute.
function isOwnedByUser(node, name) {
  return name === "open" && (node.nodeName === "DETAILS" || node.nodeName === "DIALOG");
}

function drawAll(node) {
  node.ownDraw?.(node);
  for (const child of node.children ?? []) drawAll(child);
}
