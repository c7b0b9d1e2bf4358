/* A table whose rows stay where they are while their values change; sorted by the heading that was pressed. */

import { element, say } from "./dom.js";

export class LiveTable {
  #columns;
  #body;
  #rows = new Map();
  #heads;
  #sort;
  #last = (a, b) => 0;

  /** `columns`: `{title, unit, value(row), show(cell, row) | text(row), number, sort(row)}`; `last(a, b)`: order above any sorting. */
  constructor(table, caption, columns, { sort = null, last } = {}) {
    this.#columns = columns;
    this.#sort = sort;
    if (last) this.#last = last;
    this.#body = element("tbody");
    this.#heads = columns.map((column, k) => {
      const title = column.sort ? element("button", { type: "button" }, column.title) : column.title;
      if (column.sort) title.addEventListener("click", () => this.#sortBy(k));
      return element("th", { scope: "col", className: column.number ? "number" : "" }, title);
    });
    table.replaceChildren(element("caption", {}, caption), element("thead", {}, element("tr", {}, ...this.#heads)), this.#body);
    this.#mark();
  }

  #sortBy(k) {
    const down = this.#sort?.k === k ? !this.#sort.down : Boolean(this.#columns[k].number);
    this.#sort = { k, down };
    this.#mark();
    this.#place();
  }

  #mark() {
    this.#heads.forEach((head, k) => {
      if (this.#sort?.k === k) head.setAttribute("aria-sort", this.#sort.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  }

  /** Show these rows, told apart by `key`. */
  show(rows, key) {
    const wanted = new Set();
    for (const row of rows) {
      const name = key(row);
      wanted.add(name);
      let shown = this.#rows.get(name);
      if (!shown) {
        const cells = this.#columns.map((column, k) =>
          element(k === 0 ? "th" : "td", { className: column.number ? "number" : "", ...(k === 0 ? { scope: "row" } : {}) }));
        shown = { line: element("tr", {}, ...cells), cells };
        this.#rows.set(name, shown);
      }
      shown.row = row;
      this.#columns.forEach((column, k) => {
        if (column.show) column.show(shown.cells[k], row);
        else say(shown.cells[k], column.text(row));
      });
    }
    for (const [name, shown] of this.#rows) {
      if (!wanted.has(name)) {
        shown.line.remove();
        this.#rows.delete(name);
      }
    }
    this.#place();
  }

  #place() {
    let order = [...this.#rows.values()];
    if (this.#sort) {
      const { sort } = this.#columns[this.#sort.k];
      const turn = this.#sort.down ? -1 : 1;
      order = order.sort((a, b) => this.#last(a.row, b.row) || turn * compare(sort(a.row), sort(b.row)));
    }
    order.forEach(({ line }, k) => {
      if (this.#body.children[k] !== line) this.#body.insertBefore(line, this.#body.children[k] ?? null);
    });
  }
}

function compare(a, b) {
  if (a === b) return 0;
  if (a === null || Number.isNaN(a)) return -1;
  if (b === null || Number.isNaN(b)) return 1;
  return a < b ? -1 : 1;
}

/** A bar in a cell: parts as `{part, colour, pattern}` of a whole. */
export function bar(cell, parts, whole, label) {
  let track = cell.firstElementChild;
  if (!track) {
    track = element("span", { className: "track", role: "img" });
    cell.append(track);
  }
  while (track.children.length < parts.length) track.append(element("i"));
  parts.forEach(({ part, className }, k) => {
    const piece = track.children[k];
    piece.className = className;
    piece.style.width = `${whole > 0 ? Math.min(Math.max((100 * part) / whole, 0), 100) : 0}%`;
  });
  if (track.getAttribute("aria-label") !== label) track.setAttribute("aria-label", label);
}
