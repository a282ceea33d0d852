// Draws the signals on canvases and the predicted segments as a band, over one time axis.

const LINES = ["--series-1", "--series-2", "--series-3", "--series-4", "--series-5", "--series-6"];
const MOST_NAMED = LINES.length; // groups with more lines have no legend

// Returns seconds as minutes and seconds, as "1:05".
export function clock(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

// Returns the name of a class, or of the answer that is unknown, with blanks for underscores.
export function nameOf(card, label) {
  return (label === card.unknown.label ? card.unknown.name : card.class_names[label]).replaceAll("_", " ");
}

export function element(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

// The evenly spaced samples of a recording, the last `seconds` of them.
export class History {
  constructor(seconds = Infinity) {
    this.seconds = seconds;
    this.time = [];
    this.values = [];
    this.begins = []; // whether a gap is before each sample
  }

  add({ time, values, begins }) {
    time.forEach((t, i) => {
      this.time.push(t);
      this.values.push(values[i]);
      this.begins.push(begins && i === 0);
    });
    const old = this.time.findIndex((t) => t >= this.time.at(-1) - this.seconds);
    if (old > 0) for (const list of [this.time, this.values, this.begins]) list.splice(0, old);
  }
}

// A canvas for each group of the model's inputs.
export class Signals {
  constructor(parent, inputs) {
    const groups = new Set(inputs.map((channel) => channel.group));
    this.panels = Array.from(groups, (group) => {
      const channels = inputs.filter((channel) => channel.group === group);
      const units = [...new Set(channels.map((channel) => channel.unit))];
      const figure = element("figure");
      const caption = element("figcaption", `${group} [${units.join(", ")}]`);
      const canvas = element("canvas");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `signals of ${group}`);
      if (channels.length <= MOST_NAMED) {
        channels.forEach((channel, n) => {
          const name = element("span", channel.name, "key");
          name.style.setProperty("--key", `var(${LINES[n]})`);
          caption.append(name);
        });
      }
      figure.append(caption, canvas);
      parent.append(figure);
      return { canvas, places: channels.map((channel) => inputs.indexOf(channel)) };
    });
  }

  // Draws the samples of a history that lie in [from, to] seconds.
  draw(history, [from, to]) {
    const style = getComputedStyle(document.documentElement);
    for (const { canvas, places } of this.panels) {
      const [width, height, scale] = [canvas.clientWidth, canvas.clientHeight, window.devicePixelRatio || 1];
      canvas.width = width * scale;
      canvas.height = height * scale;
      const context = canvas.getContext("2d");
      context.scale(scale, scale);
      const shown = history.time.flatMap((t, i) => (t >= from && t <= to ? [i] : []));
      let [low, high] = [Infinity, -Infinity];
      for (const i of shown) {
        for (const place of places) {
          const value = history.values[i][place];
          if (value < low) low = value;
          if (value > high) high = value;
        }
      }
      if (!(low <= high)) continue;
      const room = 0.05 * (high - low) || 1;
      const x = (t) => ((t - from) / (to - from)) * width;
      const y = (value) => height - ((value - low + room) / (high - low + 2 * room)) * height;
      context.strokeStyle = style.getPropertyValue("--line");
      if (low < 0 && high > 0) line(context, [[0, y(0)], [width, y(0)]]);
      context.lineWidth = shown.length > 4 * width ? 0.5 : 1;
      places.forEach((place, n) => {
        context.strokeStyle = style.getPropertyValue(LINES[n % LINES.length]);
        let points = [];
        for (const i of shown) {
          const value = history.values[i][place];
          if (history.begins[i] || Number.isNaN(value)) {
            line(context, points);
            points = [];
          }
          if (!Number.isNaN(value)) points.push([x(history.time[i]), y(value)]);
        }
        line(context, points);
      });
      context.fillStyle = style.getPropertyValue("--quiet");
      context.font = "11px system-ui, sans-serif";
      context.fillText(high.toPrecision(2), 2, 11);
      context.fillText(low.toPrecision(2), 2, height - 3);
    }
  }
}

function line(context, points) {
  if (!points.length) return;
  context.beginPath();
  points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

// Draws segments as coloured blocks in [from, to] seconds, named where there is room.
export function drawBand(band, axis, segments, card, [from, to]) {
  const width = band.clientWidth;
  const blocks = segments
    .filter((segment) => segment.end > from && segment.start < to)
    .map((segment) => {
      const name = nameOf(card, segment.label);
      const [start, end] = [Math.max(segment.start, from), Math.min(segment.end, to)];
      const share = (end - start) / (to - from);
      const block = element("div", share * width > 8 * name.length ? name : "");
      block.title = `${name}, ${clock(segment.start)} to ${clock(segment.end)}`;
      paint(block, card, segment.label);
      block.style.left = `${(100 * (start - from)) / (to - from)}%`;
      block.style.width = `${100 * share}%`;
      return block;
    });
  band.replaceChildren(...blocks);
  axis.replaceChildren(element("span", clock(from)), element("span", "time (min:s)"), element("span", clock(to)));
}

// Gives an element the colour of a class or of the unknown, and text that can be read on it.
export function paint(target, card, label) {
  const { background, text } = label === card.unknown.label ? card.unknown.colours : card.colours[label];
  target.style.background = background;
  target.style.color = text;
}
