/* Elements made of text. What apps named reaches the page through here only, as text, never as markup. */

export const byId = (id) => document.getElementById(id);

/** An element with a class, attributes and children (elements or text). */
export function element(tag, { className = "", ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Set an element's text where it differs, so that what has not changed is not announced or laid out again. */
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Text for the chart library, which reads some markup in its labels: whatever it is, it shows as it is. */
export function chartText(text, most = 24) {
  const cut = text.length > most ? `${text.slice(0, most - 1)}…` : text;
  return cut.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

/** A list of colours and what they stand for. */
export function legend(target, items) {
  const key = JSON.stringify(items);
  if (target.dataset.key === key) return;
  target.dataset.key = key;
  target.replaceChildren(
    ...items.map(({ label, colour, line }) => {
      const swatch = element("span", { className: line ? "swatch line" : "swatch", "aria-hidden": "true" });
      swatch.style.setProperty("--colour", colour);
      if (line) swatch.style.borderTopStyle = line;
      return element("li", {}, swatch, label);
    }),
  );
}
