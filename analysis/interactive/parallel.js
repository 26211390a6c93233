// The chart of parallel coordinates: a line for each trial, and an axis for each dimension.

const ROOM = { left: 84, right: 46, top: 58, bottom: 34, height: 260, narrowest: 84, none: 16 };
const LARGE = 1500;
const LETTERS = 11;
const MANY = 14;

/** The plan of the chart; see `Chart`. */
function parallelPlan(explorer, width, theme) {
  const { data, axes } = explorer;
  const gaps = axes.length - 1;
  const space = Math.max(ROOM.narrowest, (width - ROOM.left - ROOM.right) / Math.max(1, gaps));
  const placed = axes.map((dimension, place) => ({
    dimension,
    x: ROOM.left + place * space,
    made: scaleOf(dimension, dimension.values.filter((value) => value !== null), [ROOM.height, 0]),
  }));
  const heights = placed.map(({ dimension, made }) => dimension.values.map(
    (value) => ROOM.top + (value === null ? ROOM.height + ROOM.none : made.at(value)),
  ));
  const lines = data.trials.id.map((_, trial) => ({
    trial,
    path: placed.map(({ x }, place) => `${place ? "L" : "M"}${x.toFixed(1)},${heights[place][trial].toFixed(1)}`).join(""),
    colour: colourOf(data.styles[explorer.group.values[trial]], theme),
    isKept: explorer.isKept(trial),
  }));
  const kept = lines.filter((line) => line.isKept);
  const targets = bestFirst(data, kept).map(({ trial, path }) => ({
    x: placed[gaps].x, across: 0, y: heights[gaps][trial], path, trials: [trial], series: trial,
    text: axes.map((dimension) => `${dimension.label}: ${written(dimension, dimension.values[trial])}`).join("\n"),
  }));
  const spec = frame(Math.max(width, ROOM.left + ROOM.right + space * gaps), ROOM.top + ROOM.height + ROOM.bottom, theme);
  spec.scales = placed.map(({ made }, place) => scaleSpec(`axis${place}`, made, [ROOM.height, 0]));
  spec.data = [{ name: "rest", values: lines.filter((line) => !line.isKept) }, { name: "kept", values: kept }];
  spec.marks = [
    linesOf("rest", { value: theme.line }, 0.5),
    linesOf("kept", { field: "colour" }, kept.length > 300 ? 0.3 : 0.6),
    ...placed.map((axis, place) => axisSpec(explorer, axis, place, theme)),
    ring(theme),
  ];
  const nearest = (x, y) => nearestLine(targets, heights, placed, space, x, y);
  return { spec, targets, nearest, placed, isLarge: lines.length > LARGE };
}

/** The lines in the order of their trials' results; those without a result are last. */
function bestFirst(data, lines) {
  const { values } = data.dimensions.find((one) => one.key === data.metric.key);
  const sign = data.metric.higherIsBetter ? 1 : -1;
  const score = ({ trial }) => (values[trial] === null ? -Infinity : sign * values[trial]);
  return [...lines].sort((a, b) => (score(a) === score(b) ? a.trial - b.trial : score(b) - score(a)));
}

function linesOf(data, stroke, opacity) {
  const enter = { path: { field: "path" }, stroke, strokeWidth: { value: 1.2 }, opacity: { value: opacity } };
  return { type: "path", from: { data }, interactive: false, encode: { enter } };
}

function axisSpec(explorer, { dimension, x, made }, place, theme) {
  const isMissing = dimension.values.some((value) => value === null);
  const lines = inLines(dimension.label);
  const names = namesOf(dimension).encode?.labels.update;
  const halo = { stroke: { value: theme.paper }, strokeWidth: { value: 3 }, strokeJoin: { value: "round" } };
  const text = (value, enter) => ({ type: "text", encode: { enter: { text: { value }, ...enter } } });
  return {
    type: "group",
    encode: { enter: { x: { value: x }, y: { value: ROOM.top }, height: { value: ROOM.height }, width: { value: 1 } } },
    data: [{ name: "spans", values: spansOf(explorer.rangeOf(dimension), made) }],
    // The first of both is a halo around the labels, which stand on lines.
    axes: [halo, {}].map((own) => ({
      scale: `axis${place}`, orient: "left", values: made.ticks, tickCount: 6, format: formatOf(dimension),
      labelPadding: 2, labelLimit: 76, labelOverlap: !dimension.names || dimension.names.length > MANY, encode: { labels: { update: { ...own, ...names } } },
    })),
    marks: [
      { type: "rect", from: { data: "spans" }, encode: { enter: {
        x: { value: -7 }, width: { value: 14 }, y: { field: "top" }, y2: { field: "bottom" },
        fill: { value: theme.soft }, fillOpacity: { value: 0.35 }, stroke: { value: theme.ink } } } },
      text(lines, {
        y: { value: lines.length > 2 ? -41 : -26 }, align: { value: "center" }, fill: { value: theme.ink }, fontSize: { value: 12 },
        fontWeight: { value: "bold" }, limit: { value: ROOM.narrowest - 4 } }),
      ...(isMissing ? [text("none", {
        x: { value: -6 }, y: { value: ROOM.height + ROOM.none + 4 }, align: { value: "right" },
        fill: { value: theme.soft }, fontSize: { value: 11 } })] : []),
    ],
  };
}

/** A label in at most three lines. */
function inLines(label) {
  const lines = [];
  for (const word of label.split(" ")) {
    const longer = lines.length ? `${lines[lines.length - 1]} ${word}` : word;
    const isShort = longer.length <= LETTERS && lines.length > 0;
    if (isShort || lines.length === 3) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/** The parts of an axis that are kept. */
function spansOf(range, made) {
  if (!range) return [];
  if (range instanceof Set) {
    const kept = made.domain.filter((place) => range.has(place)).map(made.at);
    return kept.map((height) => ({ top: height - 8, bottom: height + 8 }));
  }
  const inside = (value) => made.at(Math.max(made.domain[0], Math.min(made.domain[1], value)));
  return [{ top: inside(range.high ?? Infinity), bottom: inside(range.low ?? -Infinity) }];
}

/** The kept line that is nearest to a point, or null. */
function nearestLine(targets, heights, placed, space, x, y) {
  const place = Math.max(0, Math.min(placed.length - 2, Math.floor((x - ROOM.left) / space)));
  const share = Math.max(0, Math.min(1, (x - ROOM.left) / space - place));
  let [best, least] = [null, 12];
  for (const target of targets) {
    const [trial] = target.trials;
    const [from, to] = [heights[place][trial], (heights[place + 1] ?? heights[place])[trial]];
    const distance = Math.abs(from + share * (to - from) - y);
    if (distance < least) [best, least] = [target, distance];
  }
  return best && { ...best, x, y };
}

/** Lets a reader drag along an axis to keep a range of it; a click on the axis ends that. */
function brush(chart, explorer) {
  let start = null;
  const at = (event) => {
    const box = chart.drawing.firstChild.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top - ROOM.top };
  };
  chart.drawing.addEventListener("pointerdown", (event) => {
    chart.isDragged = false;
    const { x, y } = at(event);
    const axis = explorer.placed?.find((each) => Math.abs(each.x - x) < 14);
    // With a finger, the same movement scrolls the page; the fields for ranges are there for it.
    if (!axis || event.button !== 0 || event.pointerType === "touch") return;
    start = { axis, y };
    chart.drawing.setPointerCapture(event.pointerId);
    event.preventDefault();
    chart.root.focus({ preventScroll: true });
  });
  chart.drawing.addEventListener("pointermove", (event) => {
    const { y } = at(event);
    if (!start || Math.abs(y - start.y) < 4) return;
    chart.isDragged = true;
    explorer.keep(start.axis.dimension, rangeBetween(start.axis, Math.min(y, start.y), Math.max(y, start.y)));
  });
  chart.drawing.addEventListener("pointerup", () => {
    if (start && !chart.isDragged) {
      explorer.keep(start.axis.dimension, null);
      chart.isDragged = true; // so that the click chooses no line
    }
    start = null;
  });
  chart.drawing.addEventListener("pointercancel", () => {
    start = null;
  });
}

/** The values of an axis between two heights. */
function rangeBetween({ dimension, made }, top, bottom) {
  if (dimension.names) return new Set(made.domain.filter((place) => made.at(place) >= top && made.at(place) <= bottom));
  const [low, high] = made.domain;
  const value = (height) => {
    if (height <= 0) return high;
    return height >= ROOM.height ? low : Number(made.invert(height).toPrecision(6));
  };
  return { low: value(bottom), high: value(top) };
}
