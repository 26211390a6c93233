// The part of a report in which trials are explored: what is shown of them, and its controls.

class Explorer {
  /**
   * @param {HTMLElement} root the part of the page.
   * @param {object} data what `explorer.py` has written.
   */
  constructor(root, data) {
    this.root = root;
    this.data = data;
    this.trialsOf = data.configurations.map(() => []);
    data.trials.configuration.forEach((configuration, trial) => this.trialsOf[configuration].push(trial));
    const varied = data.dimensions.filter((one) => new Set(one.values).size > 1);
    this.axes = varied.length ? varied : data.dimensions.filter((one) => one.key === data.metric.key);
    this.group = this.dimension(data.group);
    this.groups = new Set(this.group.names.keys());
    this.ranges = new Map();
    this.setting = 0;
    this.low = null;
    this.high = null;
    this.y = data.metric.key;
    this.x = (this.axes.find((one) => one.role === "knob") ?? this.group).key;
  }

  dimension(key) {
    return this.data.dimensions.find((one) => one.key === key);
  }

  control(name) {
    return this.root.querySelector(`[data-control="${name}"]`);
  }

  /** The values of a dimension that are kept: a set, `low` and `high`, or null for all. */
  rangeOf(dimension) {
    if (dimension !== this.group) return this.ranges.get(dimension.key) ?? null;
    return this.groups.size < dimension.names.length ? this.groups : null;
  }

  /** Whether a trial is one of those that the reader keeps. */
  isKept(trial) {
    if (!this.groups.has(this.group.values[trial])) return false;
    for (const [key, range] of this.ranges) {
      const value = this.dimension(key).values[trial];
      if (range instanceof Set) {
        if (!range.has(value)) return false;
      } else if (value === null || value < (range.low ?? -Infinity) || value > (range.high ?? Infinity)) return false;
    }
    return true;
  }

  /** Keeps the trials of a range of a dimension, which is null for all. */
  keep(dimension, range) {
    if (dimension === this.group) this.groups = range ?? new Set(dimension.names.keys());
    else if (range === null) this.ranges.delete(dimension.key);
    else this.ranges.set(dimension.key, range);
    this.write(dimension);
    this.update();
  }

  start() {
    this.root.hidden = false;
    for (const link of document.querySelectorAll("a.interactive")) link.hidden = false;
    this.makeGroups();
    this.makeChoices();
    const ranged = this.axes.filter((dimension) => dimension !== this.group);
    this.control("ranges").append(...ranged.map((dimension) => this.makeRange(dimension)));
    const chart = (name, plan) =>
      new Chart(this.root.querySelector(`[data-chart="${name}"]`), plan, (target) => this.choose(target, name));
    this.values = chart("values", (width, theme) => valuesPlan(this, width, theme));
    this.charts = [this.values];
    if (this.data.curves) this.charts.push(chart("curves", (width, theme) => curvesPlan(this, width, theme)));
    const parallel = chart("parallel", (width, theme) => {
      const plan = parallelPlan(this, width, theme);
      this.placed = plan.placed;
      return plan;
    });
    this.charts.push(parallel);
    brush(parallel, this);
    this.control("reset").addEventListener("click", () => {
      this.ranges.clear();
      this.axes.forEach((dimension) => this.write(dimension));
      this.keep(this.group, null);
    });
    this.filter = document.querySelector(`input[data-filters="${this.data.table}"]`);
    this.control("show").hidden = !this.filter;
    this.control("show").addEventListener("click", () => this.show(this.keptTrials()));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.update());
    let width = 0;
    new ResizeObserver(([{ contentRect }]) => {
      if (contentRect.width > 0 && contentRect.width !== width) this.update(); // it has no width in a print
      width = contentRect.width;
    }).observe(this.root);
  }

  keptTrials() {
    return this.data.trials.id.map((_, trial) => trial).filter((trial) => this.isKept(trial));
  }

  update() {
    const { id } = this.data.trials;
    this.control("kept").textContent = `${this.keptTrials().length} of ${id.length} ${this.data.plural} are kept.`;
    this.charts.forEach((chart) => chart.draw());
  }

  makeGroups() {
    const part = this.control("groups");
    part.dataset.range = this.group.key;
    for (const [text, kept] of [["All", [...this.group.names.keys()]], ["None", []]]) {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", textContent: text });
      button.addEventListener("click", () => this.keep(this.group, new Set(kept)));
      part.firstElementChild.append(" ", button);
    }
    this.data.styles.forEach((style, place) => {
      const box = labelled(part, "checkbox", style.name, place);
      box.after(swatch(style));
      box.addEventListener("change", () => {
        const chosen = new Set(this.groups);
        chosen[box.checked ? "add" : "delete"](place);
        this.keep(this.group, chosen);
      });
    });
  }

  makeChoices() {
    const { dimensions, settings } = this.data;
    const fill = (name, options, chosen, set) => {
      const select = this.control(name);
      for (const [value, label] of options) select.add(new Option(label, value, value === chosen, value === chosen));
      select.addEventListener("change", () => {
        set(select.value);
        (name === "setting" ? this.charts : [this.values]).forEach((chart) => chart.draw());
      });
    };
    fill("setting", settings.map((name, place) => [String(place), name]), "0", (value) => {
      this.setting = Number(value);
    });
    this.root.querySelector('[data-for="setting"]').hidden = settings.length < 2;
    const results = dimensions.filter((one) => one.role === "result");
    fill("y", results.map((one) => [one.key, one.label]), this.y, (value) => {
      this.y = value;
      for (const end of ["low", "high"]) {
        this[end] = null;
        this.control(end).value = "";
      }
    });
    const across = dimensions.filter((one) => ["knob", "result", "method", "set"].includes(one.role));
    fill("x", across.map((one) => [one.key, one.label]), this.x, (value) => {
      this.x = value;
    });
    for (const end of ["low", "high"]) {
      this.control(end).addEventListener("input", ({ target }) => {
        const isDrawn = target.value !== "" && (target.valueAsNumber > 0 || !this.dimension(this.y).isLog);
        this[end] = isDrawn ? target.valueAsNumber : null;
        this.values.draw();
      });
    }
  }

  /** The fields for the range of a dimension, which do what dragging along its axis does. */
  makeRange(dimension) {
    const part = document.createElement("fieldset");
    part.dataset.range = dimension.key;
    part.appendChild(document.createElement("legend")).textContent = dimension.label;
    if (dimension.names) {
      const boxes = dimension.names.map((name, place) => labelled(part, "checkbox", name, place));
      if (dimension.values.includes(null)) boxes.push(labelled(part, "checkbox", "none", ""));
      part.addEventListener("change", () => {
        const chosen = boxes.filter((box) => box.checked).map(valueOf);
        this.keep(dimension, chosen.length === boxes.length ? null : new Set(chosen));
      });
    } else {
      const ends = [labelled(part, "number", "from", "low"), labelled(part, "number", "to", "high")];
      part.addEventListener("input", () => {
        const [low, high] = ends.map((end) => (end.value === "" ? null : end.valueAsNumber));
        this.keep(dimension, low === null && high === null ? null : { low, high });
      });
    }
    return part;
  }

  /** Writes the range of a dimension into its fields. */
  write(dimension) {
    const range = this.rangeOf(dimension);
    for (const input of this.root.querySelectorAll(`[data-range="${CSS.escape(dimension.key)}"] input`)) {
      if (input.type === "checkbox") input.checked = !range || range.has(valueOf(input));
      else if (input !== document.activeElement) input.value = range?.[input.name] ?? "";
    }
  }

  /** Lists the trials of a mark, with the links that the table of trials has; of none for null. */
  choose(target, chart) {
    for (const place of this.root.querySelectorAll("[data-chosen]")) place.replaceChildren();
    if (!target) return;
    const { data } = this;
    const place = this.root.querySelector(`[data-chosen="${chart}"]`);
    const name = data.configurations[data.trials.configuration[target.trials[0]]];
    place.appendChild(document.createElement("h4")).textContent = name;
    const columns = data.dimensions.filter((one) => data.listed.includes(one.role));
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    const body = table.createTBody();
    for (const { label } of columns) head.appendChild(document.createElement("th")).textContent = label;
    for (const label of ["state", ...this.table.names]) {
      const cell = head.appendChild(document.createElement("th"));
      cell.textContent = label;
      cell.className = "text";
    }
    for (const trial of target.trials) {
      const row = body.insertRow();
      for (const column of columns) {
        row.insertCell().textContent = column.values[trial] === null ? "" : written(column, column.values[trial]);
      }
      const state = row.insertCell();
      state.textContent = data.trials.state[trial];
      state.className = `text ${data.trials.state[trial]}`;
      for (const link of this.table.cells.get(data.trials.id[trial]) ?? []) row.append(link.cloneNode(true));
    }
    const wide = place.appendChild(document.createElement("div"));
    wide.className = "wide";
    wide.append(table);
    if (!this.filter) return;
    const button = place.appendChild(document.createElement("button"));
    Object.assign(button, { type: "button", textContent: "Show in the table of trials" });
    button.addEventListener("click", () => this.show(target.trials));
  }

  /** The table of trials: the names of its columns of links, and the cells of these columns for each trial. */
  get table() {
    if (this.found) return this.found;
    const table = document.querySelector(`table[data-name="${this.data.table}"]`);
    const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
    const first = names.includes("fingerprint") ? names.indexOf("fingerprint") : names.length;
    const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].slice(first));
    const cells = new Map(rows.map((own) => [own[0]?.textContent.trim(), own]));
    this.found = { names: names.slice(first), cells };
    return this.found;
  }

  /** Shows some trials in the table of all trials. */
  show(trials) {
    const { id } = this.data.trials;
    this.filter.value = trials.length === id.length ? "" : `fingerprint=${trials.map((trial) => pattern(id[trial])).join("|")}`;
    this.filter.dispatchEvent(new Event("input"));
    this.filter.focus();
    this.filter.scrollIntoView({ block: "center" });
  }
}

/** A field with a label, in a part of the page. */
function labelled(part, type, text, value) {
  const label = part.appendChild(document.createElement("label"));
  const input = document.createElement("input");
  if (type === "checkbox") {
    Object.assign(input, { type, value, checked: true });
    label.append(input, text);
  } else {
    Object.assign(input, { type, name: value, step: "any" });
    label.append(text, input);
  }
  return input;
}

/** An id as the field of the table reads it, in which characters with a meaning stand for any. */
function pattern(id) {
  return id.replace(/[\s,|]/g, "*");
}

/** The place of the name for which a box stands; null for that of missing ones. */
function valueOf(box) {
  return box.value === "" ? null : Number(box.value);
}

/** The mark of a group, as it stands in the charts. */
function swatch(style) {
  const element = (name) => document.createElementNS("http://www.w3.org/2000/svg", name);
  const svg = element("svg");
  svg.setAttribute("viewBox", "-1.2 -1.2 2.4 2.4");
  svg.setAttribute("aria-hidden", "true");
  const path = svg.appendChild(element("path"));
  path.setAttribute("d", style.shape);
  path.setAttribute("fill", style.colour === "#000000" ? "var(--ink)" : style.colour);
  return svg;
}

const explored = document.getElementById("explore-data");
if (explored) new Explorer(document.getElementById("explore"), JSON.parse(explored.textContent)).start();
