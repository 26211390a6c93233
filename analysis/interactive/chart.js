// A chart that is drawn by Vega: its marks can be pointed at, reached with the keyboard, chosen, and saved.

/** The colours of the page's theme; those of print if `isPrint`. */
function colours(isPrint = false) {
  if (isPrint) return { ink: "#000000", soft: "#555555", line: "#dddddd", paper: "#ffffff" };
  const style = getComputedStyle(document.documentElement);
  const names = ["ink", "soft", "line", "paper"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** A number with the digits of its dimension. Without any, a fraction of a result has few, and others have all. */
function written(dimension, value) {
  if (value === null || value === undefined) return "none";
  if (dimension.names) return dimension.names[value];
  const isShort = dimension.role === "result" && !Number.isInteger(value);
  const plain = String(isShort ? Number(value.toPrecision(4)) : value);
  const number = dimension.digits === null ? plain : value.toFixed(dimension.digits);
  return dimension.unit ? `${number} ${dimension.unit}` : number;
}

/** The format of d3 for the labels of an axis; those of settings, such as seeds, stand for single values. */
function formatOf(dimension) {
  return dimension.names ? undefined : dimension.role === "result" ? "~s" : ".12~g";
}

const FEW = 6;

/** A scale for some values of a dimension: the one that Vega draws, as a function and with its inverse. */
function scaleOf(dimension, values, [start, end]) {
  const found = [...new Set(values)].sort((a, b) => a - b);
  if (dimension.names) {
    const step = (end - start) / Math.max(1, found.length);
    return { type: "point", domain: found, at: (value) => start + step * (found.indexOf(value) + 0.5) };
  }
  let [low, high] = found.length ? [found[0], found[found.length - 1]] : [0, 1];
  const type = !dimension.isLog || low === high ? "linear" : low > 0 ? "log" : "symlog";
  const constant = found.find((value) => value > 0) ?? 1;
  if (low === high) [low, high] = [low - (Math.abs(low) / 10 || 1), high + (Math.abs(high) / 10 || 1)];
  const [forward, backward] = {
    linear: [(value) => value, (height) => height],
    log: [Math.log, Math.exp],
    symlog: [(value) => Math.log1p(value / constant), (height) => constant * Math.expm1(height)],
  }[type];
  const ticks = dimension.role !== "result" && found.length <= FEW ? found : type === "log" ? powers(low, high) : undefined;
  const made = { type, domain: [low, high], constant, ticks };
  const ends = () => made.domain.map(forward);
  made.at = (value) => start + ((forward(value) - ends()[0]) / (ends()[1] - ends()[0])) * (end - start);
  made.invert = (place) => backward(ends()[0] + ((place - start) / (end - start)) * (ends()[1] - ends()[0]));
  return made;
}

/** The powers of ten between two numbers; undefined if there are less than two, which would not tell the scale. */
function powers(low, high) {
  const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
  const step = Math.ceil((last - first + 1) / FEW);
  return last > first ? Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, place) => Number(`1e${first + place * step}`)) : undefined;
}

/** The same scale as a part of a specification. */
function scaleSpec(name, made, range) {
  const spec = { name, type: made.type, domain: made.domain, range, zero: false };
  if (made.type === "point") spec.padding = 0.5;
  if (made.type === "symlog") spec.constant = made.constant;
  return spec;
}

/** Saves a text as a file. */
function save(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

class Chart {
  /**
   * @param {HTMLElement} root the element that shows the chart.
   * @param {(width: number, colours: object) => object} plan returns `spec` for Vega, and `targets` in the order of
   *   the keyboard, each with its place `x`, `y`, its `series`, its place `across` the panel, `text` and perhaps
   *   `path`; and perhaps `nearest(x, y)`.
   * @param {(target: object | null) => void} choose is called with the target that a reader chooses.
   */
  constructor(root, plan, choose) {
    this.plan = plan;
    this.choose = choose;
    this.focused = -1;
    this.targets = [];
    this.root = root;
    root.tabIndex = 0;
    root.setAttribute("role", "application");
    root.setAttribute("aria-roledescription", "chart");
    this.drawing = root.appendChild(document.createElement("div"));
    this.drawing.className = "drawing";
    // If it is wider than the screen, the tabulator stops here, so that keys can move it.
    this.drawing.setAttribute("role", "group");
    this.drawing.setAttribute("aria-label", "drawing");
    this.tip = root.appendChild(document.createElement("div"));
    this.tip.className = "tip";
    this.tip.hidden = true;
    this.status = root.appendChild(document.createElement("p"));
    this.status.setAttribute("role", "status");
    const button = root.appendChild(document.createElement("button"));
    button.type = "button";
    button.className = "download";
    button.textContent = "Download SVG";
    button.setAttribute("aria-label", `Download SVG: ${root.dataset.chart}`);
    button.addEventListener("click", () => this.download());
    root.addEventListener("keydown", (event) => event.target === root && this.press(event));
    root.addEventListener("blur", () => this.mark(null));
    this.drawing.addEventListener("pointermove", (event) => this.mark(this.under(event)));
    this.drawing.addEventListener("pointerleave", () => this.mark(null));
    this.drawing.addEventListener("click", (event) => this.isDragged || this.tap(this.under(event)));
  }

  /** Draws the chart; a call while it is drawn draws it once more afterwards. */
  async draw() {
    this.isOld = true;
    this.root.dataset.asked = (this.asked = (this.asked ?? 0) + 1);
    if (this.isDrawing) return;
    this.isDrawing = true;
    try {
      while (this.isOld) {
        this.isOld = false;
        // A drawing that is wider by a part of a pixel could be scrolled, and the tabulator would stop at it.
        const plan = this.plan(Math.floor(this.root.getBoundingClientRect().width), colours());
        const next = document.createElement("div");
        const shown = await this.embed(next, plan, plan.isLarge ? "canvas" : "svg");
        this.shown?.finalize();
        this.shown = shown;
        const left = this.drawing.scrollLeft;
        this.drawing.replaceChildren(next);
        this.drawing.scrollLeft = left;
        this.tip.hidden = true;
        Object.assign(this, { targets: plan.targets, nearest: plan.nearest });
        this.focused = Math.min(this.focused, this.targets.length - 1);
      }
    } finally {
      this.isDrawing = false;
    }
    this.root.dataset.drawn = this.asked;
  }

  embed(element, plan, renderer) {
    const options = { mode: "vega", ast: true, actions: false, defaultStyle: false, tooltip: false, renderer };
    return vegaEmbed(element, plan.spec, options);
  }

  async download() {
    const print = this.plan(Math.max(this.root.clientWidth, 700), colours(true));
    const made = await this.embed(document.createElement("div"), print, "none");
    save(await made.view.toSVG(), `${this.root.dataset.chart}.svg`);
    made.finalize();
  }

  /** The target under the pointer, or null. */
  under(event) {
    const box = this.drawing.firstChild?.getBoundingClientRect();
    if (!box) return null;
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    if (this.nearest) return this.nearest(x, y);
    let [best, least] = [null, 24 ** 2];
    for (const target of this.targets) {
      const distance = (target.x - x) ** 2 + (target.y - y) ** 2;
      if (distance < least) [best, least] = [target, distance];
    }
    return best;
  }

  /** Shows the values of a target, and a ring around it; of none for null. */
  mark(target) {
    this.tip.hidden = !target;
    this.shown?.view.signal("mark", target ? { x: target.x, y: target.y, path: target.path ?? "" } : null).runAsync();
    if (!target) return;
    this.tip.textContent = target.text;
    const [left, most] = [target.x - this.drawing.scrollLeft + 12, this.root.clientWidth - this.tip.offsetWidth];
    this.tip.style.left = `${Math.max(0, Math.min(left, most))}px`;
    this.tip.style.top = `${target.y + 14}px`;
  }

  /** Chooses a target and shows its values, which a finger cannot point at. */
  tap(target) {
    this.choose(target);
    this.mark(target);
  }

  press(event) {
    const { targets, focused } = this;
    const last = targets.length - 1;
    const of = (place) => Math.max(0, Math.min(last, place));
    let next = null;
    if (event.key === "ArrowRight") next = of(focused + 1);
    if (event.key === "ArrowLeft") next = of(focused - 1);
    if (event.key === "Home") next = 0;
    if (event.key === "End") next = last;
    if (event.key === "ArrowDown") next = this.beside(1);
    if (event.key === "ArrowUp") next = this.beside(-1);
    const isChoice = event.key === "Enter" || event.key === " ";
    const isEnd = event.key === "Escape";
    if (next === null && !isChoice && !isEnd) return;
    event.preventDefault();
    if (isChoice) this.choose(targets[focused] ?? null);
    if (isEnd) {
      this.focused = -1;
      this.choose(null);
      this.mark(null);
    }
    if (next !== null && targets[next]) this.focus(next);
  }

  /** The place of the nearest target of the next series, or of the one before for -1; -1 if there is none. */
  beside(step) {
    const { targets, focused } = this;
    if (focused < 0) return 0;
    const { series, across: from } = targets[focused];
    const isOther = (each, place) => step * (place - focused) > 0 && each.series !== series;
    const other = step > 0 ? targets.find(isOther) : targets.findLast(isOther);
    const distance = (place) => Math.abs(targets[place].across - from);
    const places = [...targets.keys()].filter((place) => targets[place].series === other?.series);
    return places.length ? places.reduce((best, place) => (distance(place) < distance(best) ? place : best)) : -1;
  }

  /** Goes to a target with the keyboard: shows it, says it, and scrolls to it. */
  focus(place) {
    const target = this.targets[place];
    const { scrollLeft, clientWidth } = this.drawing;
    const isOutside = target.x < scrollLeft || target.x > scrollLeft + clientWidth;
    if (isOutside) this.drawing.scrollLeft = target.x - clientWidth / 2;
    this.focused = place;
    this.status.textContent = target.text;
    this.mark(target);
  }
}
