// The chart of learning curves: the mean over the seeds after each epoch, and a band from the lowest to the highest.

const EPOCH = { key: "epoch", label: "epoch", role: "result", names: null, isLog: false, unit: "", digits: null };

/** The plan of the chart; see `Chart`. */
function curvesPlan(explorer, width, theme) {
  const { data } = explorer;
  const { dimension: y, lines } = data.curves;
  const shown = lines.flatMap((line) => {
    const one = configurationShown(explorer, line.configuration);
    return one ? [{ ...line, ...one }] : [];
  });
  const axes = {
    x: EPOCH, y, xs: shown.flatMap(({ epoch }) => epoch), ys: shown.flatMap(({ low, high }) => [...low, ...high]),
    xAxis: { tickMinStep: 1 },
  };
  return panelsPlan(explorer, width, theme, shown, axes, (own, scales) => {
    const curves = own
      .map((one) => ({ ...one, series: `${scales.number} ${one.place}`, colour: colourOf(data.styles[one.group], theme) }))
      .sort((a, b) => a.group - b.group);
    dashed(curves, data.dashes);
    const points = curves.flatMap(({ series, colour, dash, fade, trials, ...one }) => one.epoch.map((epoch, at) => ({
      series, colour, dash, fade, trials, band: 0.25 * fade,
      x: scales.x(epoch), y: scales.y(one.mean[at]), low: scales.y(one.low[at]), high: scales.y(one.high[at]),
      text: epochDescribed(data.configurations[one.place], y, one, at),
    })));
    const ends = [...new Set(curves.map(({ end }) => end))].filter((end) => end !== null);
    return { targets: points, ...curvesMarks(points, ends.map((end) => ({ x: scales.x(end) })), theme) };
  });
}

/** What is said about a curve at one of its epochs. */
function epochDescribed(name, y, { epoch, mean, low, high, n }, at) {
  const lines = [name, `epoch ${epoch[at]}`, `${y.label}: ${written(y, mean[at])}, n = ${n}`];
  if (n > 1) lines.push(`from ${written(y, low[at])} to ${written(y, high[at])}`);
  return lines.join("\n");
}

/** Lines with bands; a dotted line is where the weights are hard-quantized. */
function curvesMarks(points, ends, theme) {
  const band = { type: "area", from: { data: "line" }, encode: { enter: {
    x: { field: "x" }, y: { field: "low" }, y2: { field: "high" }, fill: { field: "colour" },
    fillOpacity: { field: "band" } } } };
  return {
    data: [{ name: "lines", values: points }, { name: "ends", values: ends }],
    marks: [
      { type: "rule", from: { data: "ends" }, encode: { enter: {
        x: { field: "x" }, y: { value: 0 }, y2: { value: PANEL.height }, stroke: { value: theme.soft },
        strokeDash: { value: [2, 3] } } } },
      linesOfSeries([band]),
    ],
  };
}
