// Forms and their fields, as a visitor meets them.

const FORMS_MAX = 60;
const FIELDS_MAX = 60;
const SKIPPED = new Set(["hidden", "submit", "button", "image", "reset"]);

/** Forms, and fields outside of any form gathered under the box that holds them. */
function readForms(found) {
  const forms = found.tags.form;
  const groups = new Map(forms.map((form) => [form, []]));
  const loose = new Map();
  for (const el of [...found.tags.input, ...found.tags.select, ...found.tags.textarea]) {
    if (tagOf(el) === "input" && SKIPPED.has(el.type)) continue;
    if (el.form && groups.has(el.form)) groups.get(el.form).push(el);
    else {
      const holder = closestOf(el, "dialog,[role=dialog],[role=form],fieldset,section,article,aside,header,footer,main") ?? bodyOf(document);
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
  const rect = rectOf(form);
  return {
    element: refer(form), real, region: regionOf(form), repeats,
    index: real ? [...formsOf(document)].indexOf(form) : -1,
    action: real ? (attributeOf(form, "action") ?? "").slice(0, 200) : "", method: real ? (attributeOf(form, "method") || "get").toLowerCase() : "",
    role: attributeOf(form, "role") ?? "", rect: pageRect(rect), layer: layerIndex(form),
    text: shorten(isShown(form) && form !== bodyOf(document) ? innerTextOf(form) ?? "" : "", 800),
    fields: fields.filter(isReachable).slice(0, FIELDS_MAX).map(describeField),
    resets: [...queryAll(form, "button[type=reset],input[type=reset]")].filter(isShown).map((el) => ({ element: refer(el, nameOf(el)), label: nameOf(el) })),
  };
}

function describeField(el) {
  const labels = [...(el.labels ?? [])];
  const label = squeeze(labels.map(textContentOf).join(" "));
  const by = (attributeOf(el, "aria-labelledby") ?? "").split(/\s+/).map((id) => id && rootOf(el).getElementById?.(id)?.textContent).filter(Boolean).join(" ");
  const aria = attributeOf(el, "aria-label") ?? "";
  const title = attributeOf(el, "title") ?? "";
  const placeholder = attributeOf(el, "placeholder") ?? "";
  const source = label ? "label" : squeeze(by) || squeeze(aria) ? "aria" : squeeze(title) ? "title" : squeeze(placeholder) ? "placeholder" : "none";
  return {
    element: refer(el, label || by || aria || title || placeholder || el.name), tag: tagOf(el), type: attributeOf(el, "type")?.toLowerCase() || (tagOf(el) === "input" ? "text" : tagOf(el)),
    name: (attributeOf(el, "name") || el.id || "").slice(0, 80), label: shorten(label || by || aria || title, 200), label_source: source, placeholder: shorten(placeholder, 120),
    nearby: source === "none" || source === "placeholder" || /^(?:checkbox|radio)$/.test(el.type) ? nearbyText(el) : "",
    autocomplete: (attributeOf(el, "autocomplete") ?? "").toLowerCase(), inputmode: (attributeOf(el, "inputmode") ?? "").toLowerCase(), pattern: hasAttribute(el, "pattern"),
    required: el.required === true || attributeOf(el, "aria-required") === "true", checked: el.defaultChecked === true, disabled: el.disabled === true, read_only: el.readOnly === true,
    group: el.type === "radio" ? el.name : "",
  };
}

/** Text beside a field that is not bound to it. */
function nearbyText(el) {
  for (let at = el, hops = 0; at && hops < 3; at = parentOf(at), hops += 1) {
    const parent = parentOf(at);
    if (!parent || tagOf(parent) === "form" || parent === bodyOf(document)) {
      const text = squeeze([nextSiblingOf(at), at.previousSibling].map((node) => (node ? textContentOf(node) ?? "" : "")).find((t) => /\S/.test(t)) ?? "");
      return shorten(text, 200);
    }
    const text = squeeze(textContentOf(parent) ?? "");
    if (text) return shorten(text, 200);
  }
  return "";
}
