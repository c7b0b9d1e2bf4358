/* The demonstration's corner: scales the emulated sun. Only for the operator of an emulated plant. */

import { byId, say } from "./dom.js";
import { count } from "./format.js";

export class Sun {
  #api = null;
  #refresh = () => {};
  #busy = false;

  constructor() {
    const slider = byId("sun-ratio");
    slider.addEventListener("input", () => say(byId("sun-shown"), `×${count(Number(slider.value))}`));
    slider.addEventListener("change", () => this.#set(Number(slider.value)));
    for (const button of document.querySelectorAll("[data-sun]")) {
      button.addEventListener("click", () => this.#set(Number(button.dataset.sun)));
    }
  }

  use(api, refresh) {
    this.#api = api;
    this.#refresh = refresh;
  }

  show(view) {
    byId("sun").hidden = !view.site?.emulated;
    if (!view.site || this.#busy || document.activeElement === byId("sun-ratio")) return;
    byId("sun-ratio").value = view.site.sun_ratio;
    say(byId("sun-shown"), `×${count(view.site.sun_ratio)}`);
  }

  async #set(ratio) {
    this.#busy = true;
    byId("sun-ratio").value = ratio;
    say(byId("sun-shown"), `×${count(ratio)}`);
    try {
      await this.#api.put("/v1/admin/sun", { sun_ratio: ratio });
      say(byId("sun-problem"), "");
      this.#refresh();
    } catch (error) {
      say(byId("sun-problem"), `Not set: ${error.message}`);
    }
    this.#busy = false;
  }
}
