/* A place on the page where the chart library draws: only when it can be seen, no more often than is worth it, in the page's colours. */

import { colour, onSchemeChange } from "./palette.js";

const CONFIG = { displayModeBar: false, displaylogo: false, responsive: false, doubleClick: false, showTips: false };
/** Text size that line widths are given for. [px] */
const EM = 12;

export class Plot {
  #host;
  #make = null;
  #seen = false;
  #asked = false;
  #pause_ms;
  #next_ms = 0;
  #waiting = 0;

  /** `pause_ms`: least time between two drawings, unless one is urgent. */
  constructor(host, pause_ms = 0) {
    this.#host = host;
    this.#pause_ms = pause_ms;
    host.setAttribute("role", "img");
    if (!globalThis.Plotly) host.textContent = "Charts need plotly: pip install 'ecovisor[server]'";
    new IntersectionObserver((entries) => {
      this.#seen = entries[entries.length - 1].isIntersecting;
      this.#ask();
    }, { rootMargin: "200px" }).observe(host);
    new ResizeObserver(() => this.#hurry()).observe(host);
    onSchemeChange(() => this.#hurry());
    document.addEventListener("visibilitychange", () => this.#ask());
  }

  /** Draw what `make({width, height, em})` returns: `{traces, layout, summary}`; the summary is for those who listen. */
  draw(make, urgent = false) {
    this.#make = make;
    if (urgent) this.#hurry();
    else this.#ask();
  }

  #hurry() {
    this.#next_ms = 0;
    if (this.#waiting) {
      clearTimeout(this.#waiting);
      this.#waiting = 0;
      this.#asked = false;
    }
    this.#ask();
  }

  #ask() {
    if (this.#asked || !this.#seen || !this.#make || document.hidden || !globalThis.Plotly) return;
    this.#asked = true;
    const wait_ms = this.#next_ms - performance.now();
    if (wait_ms > 0) {
      this.#waiting = setTimeout(() => {
        this.#waiting = 0;
        this.#asked = false;
        this.#ask();
      }, wait_ms);
      return;
    }
    requestAnimationFrame(() => {
      this.#asked = false;
      this.#next_ms = performance.now() + this.#pause_ms;
      const em = 0.78 * Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
      const size = { width: this.#host.clientWidth, height: this.#host.clientHeight };
      const { traces, layout, summary } = this.#make({ ...size, em });
      for (const { line } of traces) if (line) line.width *= em / EM;
      this.#host.setAttribute("aria-label", summary);
      globalThis.Plotly.react(this.#host, traces, { ...base(em), ...size, ...layout }, CONFIG);
    });
  }
}

/** `em`: size of the text. [px] */
function base(em) {
  return {
    font: { family: "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", size: em, color: colour("ink") },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 4.4 * em, r: 1.2 * em, t: 0.8 * em, b: 2.8 * em },
    showlegend: false,
    hovermode: "x unified",
    hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("line"), font: { color: colour("ink"), size: em } },
    dragmode: false,
  };
}

/** An axis of time, in site time of one offset from UTC. */
export function timeAxis(from_ms, to_ms, { width, em }, more = {}) {
  const grid = { gridcolor: colour("line"), zeroline: false, linecolor: colour("faint"), fixedrange: true };
  return { ...grid, type: "date", range: [from_ms, to_ms], hoverformat: "%a %d %b %H:%M:%S", nticks: Math.max(2, Math.floor(width / (9 * em))), tickangle: 0, ...more };
}

/** An axis of values from 0. */
export function valueAxis(title, more = {}) {
  const grid = { gridcolor: colour("line"), zerolinecolor: colour("faint"), fixedrange: true };
  return { ...grid, title: { text: title, standoff: 6 }, rangemode: "tozero", nticks: 6, tickformat: ",.4~r", automargin: false, ...more };
}
