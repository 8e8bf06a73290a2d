// Forms and their fields, as a visitor meets them.

const FORMS_MAX = 60;
const FIELDS_MAX = 60;
const SKIPPED = new Set(["hidden", "submit", "button", "image"]);

/** Forms, and fields outside of any form gathered under the box that holds them. */
function readForms(found) {
  const forms = found.tags.form;
  const groups = new Map(forms.map((form) => [form, []]));
  const loose = new Map();
  for (const el of [...found.tags.input, ...found.tags.select, ...found.tags.textarea]) {
    if (el.localName === "input" && SKIPPED.has(el.type)) continue;
    if (el.form && groups.has(el.form)) groups.get(el.form).push(el);
    else {
      const holder = el.closest("dialog,[role=dialog],[role=form],fieldset,section,article,aside,header,footer,main") ?? document.body;
      loose.has(holder) ? loose.get(holder).push(el) : loose.set(holder, [el]);
    }
  }
  const shown = [...groups, ...loose].filter(([form, fields]) => fields.some(isReachable) || (isShown(form) && forms.includes(form)));
  const repeats = new Map();
  for (const [form] of shown) repeats.set(shapeOf(form), (repeats.get(shapeOf(form)) ?? 0) + 1);
  const taken = new Set();
  const read = [];
  for (const [form, fields] of shown) {
    if (read.length >= FORMS_MAX || taken.has(shapeOf(form))) continue;
    taken.add(shapeOf(form));
    read.push(describeForm(form, fields, forms.includes(form), repeats.get(shapeOf(form))));
  }
  return read;
}

/** Shown, or replaced by a drawn control whose label is shown. */
function isReachable(el) {
  return isShown(el) || [...(el.labels ?? [])].some((label) => isShown(label));
}

function describeForm(form, fields, real, repeats) {
  const rect = form.getBoundingClientRect();
  return {
    element: refer(form), real, region: regionOf(form), repeats,
    index: real ? [...document.forms].indexOf(form) : -1,
    action: real ? (form.getAttribute("action") ?? "").slice(0, 200) : "", method: real ? form.method : "",
    role: form.getAttribute("role") ?? "", rect: pageRect(rect), layer: layerIndex(form),
    text: shorten(isShown(form) && form !== document.body ? form.innerText ?? "" : "", 800),
    fields: fields.filter(isReachable).slice(0, FIELDS_MAX).map(describeField),
    resets: real ? [...form.elements].filter((el) => el.type === "reset" && isShown(el)).map((el) => ({ element: refer(el, nameOf(el)), label: nameOf(el) })) : [],
  };
}

function describeField(el) {
  const labels = [...(el.labels ?? [])];
  const label = squeeze(labels.map((l) => l.textContent ?? "").join(" "));
  const by = (el.getAttribute("aria-labelledby") ?? "").split(/\s+/).map((id) => id && el.getRootNode().getElementById?.(id)?.textContent).filter(Boolean).join(" ");
  const aria = el.getAttribute("aria-label") ?? "";
  const title = el.getAttribute("title") ?? "";
  const placeholder = el.getAttribute("placeholder") ?? "";
  const source = label ? "label" : squeeze(by) || squeeze(aria) ? "aria" : squeeze(title) ? "title" : squeeze(placeholder) ? "placeholder" : "none";
  return {
    element: refer(el, label || by || aria || title || placeholder || el.name), tag: el.localName, type: el.getAttribute("type")?.toLowerCase() || (el.localName === "input" ? "text" : el.localName),
    name: (el.getAttribute("name") || el.id || "").slice(0, 80), label: shorten(label || by || aria || title, 200), label_source: source, placeholder: shorten(placeholder, 120),
    nearby: source === "none" || source === "placeholder" || /^(?:checkbox|radio)$/.test(el.type) ? nearbyText(el) : "",
    autocomplete: (el.getAttribute("autocomplete") ?? "").toLowerCase(), inputmode: (el.getAttribute("inputmode") ?? "").toLowerCase(), pattern: el.hasAttribute("pattern"),
    required: el.required === true || el.getAttribute("aria-required") === "true", checked: el.defaultChecked === true, disabled: el.disabled === true, read_only: el.readOnly === true,
    group: el.type === "radio" ? el.name : "",
  };
}

/** Text beside a field that is not bound to it. */
function nearbyText(el) {
  for (let at = el, hops = 0; at && hops < 3; at = parentOf(at), hops += 1) {
    const parent = parentOf(at);
    if (!parent || parent.localName === "form" || parent === document.body) {
      const text = squeeze(at.nextSibling?.textContent || at.previousSibling?.textContent || "");
      return shorten(text, 200);
    }
    const text = squeeze(parent.textContent ?? "");
    if (text) return shorten(text, 200);
  }
  return "";
}
