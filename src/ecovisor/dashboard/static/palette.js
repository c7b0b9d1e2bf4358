/* Colours, from the style sheet, which has them once for light and once for dark; told apart with any kind of colour vision. */

let read = null;

function colours() {
  if (!read) {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(`--${name}`).trim();
    read = {
      solar: of("solar"), battery: of("battery"), grid: of("grid"), load: of("load"), carbon: of("carbon"),
      export: of("export"), curtailed: of("curtailed"), unserved: of("unserved"), ink: of("ink"), faint: of("faint"), line: of("line"),
      panel: of("panel"), others: of("app-others"), site: of("app-site"),
      apps: Array.from({ length: 7 }, (_, k) => of(`app-${k}`)),
    };
  }
  return read;
}

export const colour = (name) => (typeof name === "number" ? colours().apps[name % colours().apps.length] : colours()[name]);

/** A colour that lets what is beneath shine through. */
export function translucent(hex, part) {
  const [r, g, b] = [1, 3, 5].map((k) => Number.parseInt(hex.slice(k, k + 2), 16));
  return `rgba(${r},${g},${b},${part})`;
}

/** Told when the system changes between light and dark. */
export function onSchemeChange(listener) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    read = null;
    listener();
  });
}
