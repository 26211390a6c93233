// The chart of values: the mean of each configuration's trials, in a panel for each set.

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
  const knobs = data.dimensions.filter((one) => one.role === "knob" && one !== x);
  const finished = (trials, dimension) =>
    trials.filter((trial) => data.trials.isFinished[trial])
      .map((trial) => dimension.values[trial])
      .filter((value) => value !== null);
  return trialsOf.flatMap((trials, place) => {
    const one = configurationShown(explorer, place);
    const of = summary(finished(trials, y));
    if (!one || of.n === 0) return [];
    const results = x.role === "result" ? finished(trials, x) : [];
    const at = x.role !== "result" ? x.values[trials[0]] : results.length ? summary(results).mean : null;
    const others = knobs.map((knob) => knob.values[trials[0]]);
    const panel = x.key === data.panels ? null : one.panel;
    return [{
      ...one, of, at, panel, others: JSON.stringify(others), isNone: at === null,
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

/** The plan of the chart; see `Chart`. */
function valuesPlan(explorer, width, theme) {
  const { data, low, high } = explorer;
  const [x, y] = [explorer.dimension(explorer.x), explorer.dimension(explorer.y)];
  const shown = configurationsShown(explorer, x, y);
  const xs = shown.map(({ at }) => at).filter((at) => at !== null);
  const ys = shown.flatMap(({ of }) => (y.isLog ? [of.mean] : [of.mean - of.deviation, of.mean + of.deviation]));
  return panelsPlan(explorer, width, theme, shown, { x, y, xs, ys, low, high }, (own, scales) => {
    const points = own
      .map((one) => ({
        ...one,
        series: `${scales.number} ${one.group} ${one.panel} ${one.others}`,
        x: one.isNone ? 4 : scales.x(one.at),
        y: scales.y(one.of.mean),
        low: scales.y(one.of.mean - one.of.deviation), high: scales.y(one.of.mean + one.of.deviation),
        colour: colourOf(data.styles[one.group], theme), shape: data.styles[one.group].shape,
      }))
      .sort((a, b) => a.group - b.group || a.series.localeCompare(b.series) || a.x - b.x);
    dashed(points, data.dashes);
    return { targets: points, ...valuesMarks(points, scales.wide, data.hasSeeds && x.role === "knob") };
  });
}

/** Bars, marks, and lines over a knob; a configuration without the knob is a horizontal line. */
function valuesMarks(points, wide, isJoined) {
  const [x, y, stroke, opacity] = ["x", "y", "colour", "opacity"].map((field) => ({ field }));
  return {
    data: [
      { name: "points", values: points },
      { name: "lines", values: isJoined ? points.filter((point) => !point.isNone) : [] },
      { name: "levels", values: points.filter((point) => point.isNone) },
    ],
    marks: [
      { type: "rule", from: { data: "levels" }, encode: { enter: {
        x: { value: 0 }, x2: { value: wide }, y, stroke, strokeDash: { value: [4, 2] }, opacity } } },
      linesOfSeries(),
      { type: "rule", from: { data: "points" }, encode: { enter: {
        x, y: { field: "low" }, y2: { field: "high" }, stroke, opacity } } },
      { type: "symbol", from: { data: "points" }, encode: { enter: {
        x, y, shape: { field: "shape" }, size: { value: 60 }, fill: stroke, opacity } } },
    ],
  };
}
