// Panels: what the charts of values and of curves have in common, and parts of all charts.

const FONT = "system-ui, sans-serif";
const PANEL = { left: 64, right: 14, gap: 18, top: 26, bottom: 46, height: 220, inset: 8, sides: 14 };
const FADED = 0.15;

/** What is shown of a configuration in any chart: its trials, group and panel; null if it is not to be seen. */
function configurationShown(explorer, place) {
  const { data } = explorer;
  const trials = explorer.trialsOf[place];
  const [first] = trials;
  const group = explorer.group.values[first];
  if (data.trials.setting[first] !== explorer.setting || !explorer.groups.has(group)) return null;
  const panel = explorer.dimension(data.panels)?.values[first] ?? null;
  return { place, trials, group, panel, opacity: trials.some((trial) => explorer.isKept(trial)) ? 1 : FADED };
}

/**
 * The plan of a chart with a panel for each set; see `Chart`. All panels have the same scales.
 * @param {object[]} shown what is drawn, each with its `panel`, which is null for all panels.
 * @param {object} axes the dimensions `x` and `y`, all their values `xs` and `ys`, and perhaps `low` and `high`,
 *   the ends of the vertical axis, and further options `xAxis` of the horizontal one.
 * @param {(own: object[], scales: object) => object} fill returns `data`, `marks` and `targets` of a panel from what
 *   is drawn in it, the scales `x` and `y` as functions, the panel's width `wide`, and its number.
 */
function panelsPlan(explorer, width, theme, shown, axes, fill) {
  const { x, y } = axes;
  const names = [...new Set(shown.map(({ panel }) => panel))].filter((panel) => panel !== null).sort((a, b) => a - b);
  const panels = names.length ? names : [null];
  const columns = Math.max(1, Math.min(panels.length, width >= 900 ? 3 : width >= 620 ? 2 : 1));
  const wide = Math.floor((width - PANEL.left - PANEL.right - PANEL.gap * (columns - 1)) / columns);
  const tall = PANEL.top + PANEL.height + PANEL.bottom;
  const size = { width: { value: wide }, height: { value: PANEL.height } };

  const across = [PANEL.sides, wide - PANEL.sides];
  const upward = [PANEL.height - PANEL.inset, PANEL.inset];
  const xScale = scaleOf(x, axes.xs, across);
  const yScale = scaleOf(y, axes.ys, upward);
  yScale.domain = [axes.low ?? yScale.domain[0], axes.high ?? yScale.domain[1]];
  const height = (value) => (yScale.type === "log" && value <= 0 ? PANEL.height : yScale.at(y.isLog ? Math.max(0, value) : value));

  const [marks, targets] = [[], []];
  panels.forEach((panel, number) => {
    const corner = {
      x: PANEL.left + (number % columns) * (wide + PANEL.gap),
      y: PANEL.top + Math.floor(number / columns) * tall,
    };
    const own = shown.filter((one) => panel === null || one.panel === panel || one.panel === null);
    const filled = fill(own, { x: xScale.at, y: height, wide, number });
    for (const target of filled.targets) {
      if (target.y < 0 || target.y > PANEL.height) continue; // out of the range that the reader has set
      targets.push({ ...target, across: target.x, x: corner.x + target.x, y: corner.y + target.y });
    }
    const isFirst = number % columns === 0;
    const title = panel === null ? undefined : explorer.dimension(explorer.data.panels).names[panel];
    marks.push({
      type: "group",
      encode: { enter: { x: { value: corner.x }, y: { value: corner.y }, ...size } },
      title: title && { text: title, anchor: "middle", color: theme.ink, fontSize: 13, offset: 6 },
      data: filled.data,
      axes: [
        { scale: "x", orient: "bottom", format: formatOf(x), values: xScale.ticks, labelSeparation: 6,
          title: number + columns >= panels.length ? x.label : undefined, ...namesOf(x), ...axes.xAxis },
        { scale: "y", orient: "left", format: formatOf(y), grid: true, labels: isFirst,
          title: isFirst ? (y.unit ? `${y.label} (${y.unit})` : y.label) : undefined, titleLimit: PANEL.height },
      ],
      marks: [{ type: "group", clip: true, encode: { enter: size }, marks: filled.marks }],
    });
  });
  const spec = frame(width, Math.ceil(panels.length / columns) * tall, theme);
  spec.scales = [scaleSpec("x", xScale, across), scaleSpec("y", yScale, upward)];
  spec.marks = [...marks, ring(theme)];
  return { spec, targets };
}

/** The lines of the data `lines`, one for each series, with further marks below each. */
function linesOfSeries(below = []) {
  const [x, y, stroke] = ["x", "y", "colour"].map((field) => ({ field }));
  return { type: "group", from: { facet: { name: "line", data: "lines", groupby: "series" } }, marks: [
    ...below,
    { type: "line", from: { data: "line" }, encode: { enter: {
      x, y, stroke, strokeDash: { field: "dash" }, strokeWidth: { value: 1.5 }, strokeCap: { value: "round" },
      opacity: { field: "fade" } } } }] };
}

/** Gives the series of one colour different dashes, and fades the lines of which no mark is kept. */
function dashed(points, dashes) {
  const [series, opacities] = [new Map(), new Map()];
  for (const { group, series: name, opacity } of points) {
    if (!series.has(group)) series.set(group, []);
    if (!series.get(group).includes(name)) series.get(group).push(name);
    opacities.set(name, Math.max(opacity, opacities.get(name) ?? 0));
  }
  for (const point of points) {
    point.dash = dashes[series.get(point.group).indexOf(point.series) % dashes.length];
    point.fade = 0.7 * opacities.get(point.series);
  }
}

function colourOf(style, theme) {
  return style.colour === "#000000" ? theme.ink : style.colour;
}

/** The names of a dimension as the labels of its axis. */
function namesOf(dimension) {
  if (!dimension.names) return {};
  const text = dimension.names.map((name, place) => `datum.value === ${place} ? ${JSON.stringify(name)} : `).join("");
  return { encode: { labels: { update: { text: { signal: `${text}''` } } } } };
}

/** The part of a specification that all charts have. */
function frame(width, height, theme) {
  const axis = {
    labelColor: theme.ink, titleColor: theme.ink, domainColor: theme.soft, tickColor: theme.soft, gridColor: theme.line,
    labelFont: FONT, titleFont: FONT, labelFontSize: 11, titleFontSize: 12, titleFontWeight: "normal", labelOverlap: true,
  };
  return {
    width, height, padding: 0, autosize: "none", background: null,
    config: { axis, text: { font: FONT }, title: { font: FONT } },
    signals: [{ name: "mark", value: null }],
  };
}

/** A ring around the mark that is pointed at, or its line once more. */
function ring(theme) {
  const shown = (value, other) => ({ signal: `mark ? ${value} : ${other}` });
  const stroke = { stroke: { value: theme.ink }, strokeWidth: { value: 2 } };
  return { type: "group", interactive: false, marks: [
    { type: "path", encode: { update: { path: shown("mark.path", "''"), ...stroke } } },
    { type: "symbol", encode: { update: {
      x: shown("mark.x", "-99"), y: shown("mark.y", "-99"), size: { value: 260 },
      fill: { value: "transparent" }, ...stroke } } },
  ] };
}
