// The chart of values: the mean of each configuration's trials, in a panel for each set.

const FONT = "system-ui, sans-serif";
const PANEL = { left: 64, right: 14, gap: 18, top: 26, bottom: 46, height: 220, inset: 8, sides: 14 };
const FADED = 0.15;

/** The number, mean, deviation and ends of some values. */
function summary(values) {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const deviation = n > 1 ? Math.sqrt(squares / (n - 1)) : 0;
  return { n, mean, deviation, low: Math.min(...values), high: Math.max(...values) };
}

/** The configurations that are shown, each with its place on both axes. */
function configurationsShown(explorer, x, y) {
  const { data, trialsOf } = explorer;
  const set = explorer.dimension(data.panels);
  const knobs = data.dimensions.filter((one) => one.role === "knob" && one !== x);
  const finished = (trials, dimension) =>
    trials.filter((trial) => data.trials.isFinished[trial])
      .map((trial) => dimension.values[trial])
      .filter((value) => value !== null);
  return trialsOf.flatMap((trials, place) => {
    const [first] = trials;
    const group = explorer.group.values[first];
    const of = summary(finished(trials, y));
    if (data.trials.setting[first] !== explorer.setting || !explorer.groups.has(group) || of.n === 0) return [];
    const results = x.role === "result" ? finished(trials, x) : [];
    const at = x.role !== "result" ? x.values[first] : results.length ? summary(results).mean : null;
    const others = knobs.map((knob) => knob.values[first]);
    const panel = set && x !== set ? set.values[first] : null;
    return [{
      place, trials, of, at, group, panel, others: JSON.stringify(others), isNone: at === null,
      opacity: trials.some((trial) => explorer.isKept(trial)) ? 1 : FADED,
      text: described(data, place, trials, of, at, x, y),
    }];
  });
}

/** What is said about a configuration: its name, its values, and what became of its trials. */
function described(data, place, trials, { n, mean, deviation, low, high }, at, x, y) {
  const lines = [data.configurations[place]];
  if (x.role === "result") lines.push(`${x.label}: ${written(x, at)}`);
  const several = n > 1 ? ` (deviation ${written(y, deviation)})` : "";
  lines.push(`${y.label}: ${written(y, mean)}${several}${data.hasSeeds ? `, n = ${n}` : ""}`);
  if (n > 1) lines.push(`from ${written(y, low)} to ${written(y, high)}`);
  const states = trials.filter((trial) => !data.trials.isFinished[trial]).map((trial) => data.trials.state[trial]);
  for (const state of new Set(states)) lines.push(`${states.filter((other) => other === state).length} ${state}`);
  return lines.join("\n");
}

/** The plan of the chart; see `Chart`. All panels have the same scales. */
function valuesPlan(explorer, width, theme) {
  const { data } = explorer;
  const [x, y] = [explorer.dimension(explorer.x), explorer.dimension(explorer.y)];
  const shown = configurationsShown(explorer, x, y);
  const names = [...new Set(shown.map(({ panel }) => panel))].filter((panel) => panel !== null).sort((a, b) => a - b);
  const panels = names.length ? names : [null];
  const columns = Math.max(1, Math.min(panels.length, width >= 900 ? 3 : width >= 620 ? 2 : 1));
  const wide = Math.floor((width - PANEL.left - PANEL.right - PANEL.gap * (columns - 1)) / columns);
  const tall = PANEL.top + PANEL.height + PANEL.bottom;

  const across = [PANEL.sides, wide - PANEL.sides];
  const upward = [PANEL.height - PANEL.inset, PANEL.inset];
  const xScale = scaleOf(x, shown.map(({ at }) => at).filter((at) => at !== null), across);
  const ends = shown.flatMap(({ of }) => (y.isLog ? [of.mean] : [of.mean - of.deviation, of.mean + of.deviation]));
  const yScale = scaleOf(y, ends, upward);
  yScale.domain = [explorer.low ?? yScale.domain[0], explorer.high ?? yScale.domain[1]];
  const height = (value) => (yScale.type === "log" && value <= 0 ? PANEL.height : yScale.at(y.isLog ? Math.max(0, value) : value));

  const [marks, targets] = [[], []];
  panels.forEach((panel, number) => {
    const corner = {
      x: PANEL.left + (number % columns) * (wide + PANEL.gap),
      y: PANEL.top + Math.floor(number / columns) * tall,
    };
    const points = shown
      .filter((one) => panel === null || one.panel === panel || one.panel === null)
      .map((one) => ({
        ...one,
        series: `${number} ${one.group} ${one.panel} ${one.others}`,
        x: one.isNone ? 4 : xScale.at(one.at),
        y: height(one.of.mean), low: height(one.of.mean - one.of.deviation), high: height(one.of.mean + one.of.deviation),
        colour: colourOf(data.styles[one.group], theme), shape: data.styles[one.group].shape,
      }))
      .sort((a, b) => a.group - b.group || a.series.localeCompare(b.series) || a.x - b.x);
    dashed(points, data.dashes);
    for (const point of points) {
      if (point.y < 0 || point.y > PANEL.height) continue; // out of the range that the reader has set
      targets.push({ ...point, x: corner.x + point.x, y: corner.y + point.y });
    }
    const isFirst = number % columns === 0;
    const axes = [
      { scale: "x", orient: "bottom", format: formatOf(x), values: xScale.ticks,
        title: number + columns >= panels.length ? x.label : undefined, ...namesOf(x) },
      { scale: "y", orient: "left", format: formatOf(y), grid: true, labels: isFirst,
        title: isFirst ? (y.unit ? `${y.label} (${y.unit})` : y.label) : undefined, titleLimit: PANEL.height },
    ];
    const title = panel === null ? undefined : explorer.dimension(data.panels).names[panel];
    marks.push(panelSpec(corner, wide, title, theme, axes, points, data.hasSeeds && x.role === "knob"));
  });
  const spec = frame(width, Math.ceil(panels.length / columns) * tall, theme);
  spec.scales = [scaleSpec("x", xScale, across), scaleSpec("y", yScale, upward)];
  spec.marks = [...marks, ring(theme)];
  return { spec, targets };
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

/** A panel: bars, marks, and lines over a knob; a configuration without the knob is a horizontal line. */
function panelSpec(corner, wide, title, theme, axes, points, isJoined) {
  const size = { width: { value: wide }, height: { value: PANEL.height } };
  const [x, y, stroke] = ["x", "y", "colour"].map((field) => ({ field }));
  const opacity = { field: "opacity" };
  return {
    type: "group",
    encode: { enter: { x: { value: corner.x }, y: { value: corner.y }, ...size } },
    title: title && { text: title, anchor: "middle", color: theme.ink, fontSize: 13, offset: 6 },
    data: [
      { name: "points", values: points },
      { name: "lines", values: isJoined ? points.filter((point) => !point.isNone) : [] },
      { name: "levels", values: points.filter((point) => point.isNone) },
    ],
    axes,
    marks: [{ type: "group", clip: true, encode: { enter: size }, marks: [
      { type: "rule", from: { data: "levels" }, encode: { enter: {
        x: { value: 0 }, x2: { value: wide }, y, stroke, strokeDash: { value: [4, 2] }, opacity } } },
      { type: "group", from: { facet: { name: "line", data: "lines", groupby: "series" } }, marks: [
        { type: "line", from: { data: "line" }, encode: { enter: {
          x, y, stroke, strokeDash: { field: "dash" }, strokeWidth: { value: 1.5 }, opacity: { field: "fade" } } } }] },
      { type: "rule", from: { data: "points" }, encode: { enter: {
        x, y: { field: "low" }, y2: { field: "high" }, stroke, opacity } } },
      { type: "symbol", from: { data: "points" }, encode: { enter: {
        x, y, shape: { field: "shape" }, size: { value: 60 }, fill: stroke, opacity } } },
    ] }],
  };
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
