// The notes on a recording, as `--mode=predict` prints them: sentences, "" or none where there is nothing to say.
import { silentBranches } from "./channels.js";
import { nameOf } from "./draw.js";
import { InputError } from "./errors.js";

const SAME_RATE = 0.02; // relative difference of two rates up to which no note is given
const [DENSE, SPARSE] = [200, 20]; // rows per sample, and samples per row; more of them are a mistake in the unit of time
const FEWEST = 16; // intervals from which bursts are recognised
const BURST = 4; // ratio of the mean interval to the first quartile in bursts
const ROUNDED = 0.01; // relative difference of the mean interval to the median, from which stamps are rounded
const ALIKE = 0.5; // relative difference to the median of the intervals in this mean
const FAR = 6; // standard deviations from the training's mean

// Returns the sentence that says which branches answer where channels are absent, and that such windows do not adapt the
// model; "" where all answer.
export function absenceNote(card, absent, adapt) {
  if (!absent.length) return "";
  const silent = silentBranches(card, absent);
  const others = card.branches.map((branch) => branch.name).filter((name) => !silent.includes(name));
  const names = absent.map((input) => card.inputs[input].name).join(", ");
  const kept = adapt ? " The model does not adapt without them." : "";
  return `No ${names}: the branch ${others.join(", ")} answers alone, less accurately than the whole model.${kept}`;
}

// Returns notes on bursts of rows, and on a rate of theirs that is assumed or is not the model's.
//
// Throws InputError where their rate shows that the unit of time is wrong.
export function rateNotes(where, { time, values }, card) {
  const { reading, input_rate: rate } = card;
  // Of the channel with the most values, because the rows of other sensors may come in between.
  const stamps = card.inputs
    .map((_, input) => time.filter((_, row) => !Number.isNaN(values[row][input])))
    .reduce((most, other) => (other.length > most.length ? other : most));
  const passed = stamps.slice(1).map((stamp, row) => stamp - stamps[row]);
  const notes = [];
  let interval = 1 / rate;
  if (passed.length) {
    interval = quantile(passed, 0.5);
    const near = passed.filter((seconds) => seconds <= reading.max_gap);
    const mean = near.reduce((sum, seconds) => sum + seconds, 0) / near.length;
    if (near.length >= FEWEST && quantile(near, 0.25) * BURST < mean) {
      interval = mean;
      notes.push("Rows come in bursts, as where their time is that of arrival; use the sensor's own clock if there is one.");
    } else {
      const alike = near.filter((seconds) => Math.abs(seconds / interval - 1) < ALIKE);
      const usual = alike.reduce((sum, seconds) => sum + seconds, 0) / alike.length;
      if (alike.length >= FEWEST && Math.abs(usual / interval - 1) > ROUNDED) interval = usual;
    }
    const right = `is the unit of the time, ${reading.time_unit}, right?`;
    if (interval > reading.max_gap) {
      throw new InputError(`${where}: rows are ${+interval.toPrecision(4)} s apart, farther than ${reading.max_gap} s; ${right}`);
    }
    if (interval * rate < 1 / DENSE || interval * rate > SPARSE) {
      throw new InputError(`${where}: ${+(1 / interval).toPrecision(3)} rows a second, and the model reads ${rate}; ${right}`);
    }
  }
  if (!reading.time) notes.push(`Rows are taken to come at ${rate} Hz, because the page reads no time.`);
  else if (Math.abs(interval * rate - 1) > SAME_RATE) {
    notes.push(`Rows come at ${+(1 / interval).toPrecision(4)} Hz, and the model was trained on ${rate} Hz: resampled.`);
  }
  return notes;
}

export function repeatedNote(repeated, rows) {
  return repeated ? `${repeated} of ${rows} rows have the time of the row before.` : "";
}

// Asks about the unit of inputs most of whose values lie far from those of the training.
export function strangeNote(values, card) {
  const places = card.inputs.map((input) => card.channels.findIndex((channel) => channel.name === input.name));
  if (card.scale.every((scale) => scale === 1)) return "";
  const far = card.inputs.filter((_, input) => {
    const there = values.map((row) => row[input]).filter(Number.isFinite);
    return there.length && Math.abs((quantile(there, 0.5) - card.shift[places[input]]) * card.scale[places[input]]) > FAR;
  });
  const names = far.map((channel) => `${channel.name} [${channel.unit}]`).join(", ");
  return far.length ? `Values unlike the training's, is the unit right? ${names}` : "";
}

// Returns notes on accelerations that have gravity where the training's have none, or have none where those have it.
//
// samples: evenly spaced; a Float32Array of the model's inputs for each.
export function gravityNotes(samples, card) {
  const second = Math.max(Math.round(card.input_rate), 1);
  return card.accelerations.flatMap(({ name, axes, sizes, trained }) => {
    const rows = samples.map((sample) => axes.map((axis) => sample[axis])).filter((row) => row.every(Number.isFinite));
    const lengths = []; // of the mean over each second
    for (let first = 0; first < rows.length; first += second) {
      const part = rows.slice(first, first + second);
      lengths.push(Math.hypot(...axes.map((_, axis) => part.reduce((sum, row) => sum + row[axis], 0) / part.length)));
    }
    const [low, middle, high] = [0.25, 0.5, 0.75].map((share) => quantile(lengths, share));
    const unit = sizes.findIndex(
      (size) => low > 0.8 * size && middle > 0.85 * size && middle < 1.15 * size && high < 1.25 * size,
    );
    if (trained && unit < 0 && high > 0 && high < 0.5 * sizes[0]) {
      return [`${name} is without gravity, and the training's is with it.`];
    }
    return !trained && unit === 0 ? [`${name} is with gravity, and the training's is without it.`] : [];
  });
}

// Returns how many windows are unknown, and which classes the model knows where all are; "" where none is.
export function unknownNote(events, card) {
  const count = events.filter((event) => event.label === card.unknown.label).length;
  if (!count) return "";
  const known = card.class_names.map((_, label) => nameOf(card, label)).join(", ");
  const rest = count === events.length ? `: the model knows ${known}` : "";
  return `${count} of ${events.length} windows are ${card.unknown.name}${rest}.`;
}

// Returns a quantile, between two numbers linearly interpolated; NaN of none.
export function quantile(numbers, share) {
  const sorted = Float64Array.from(numbers).sort();
  const place = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
  return low + (high - low) * (place - Math.floor(place));
}
