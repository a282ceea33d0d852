// Lays rows with times evenly, as dcdp_jax/data/resample.py does. `Repeats` settles rows of one stamp, `EvenClock` lays
// the samples. Both take rows in any portions and give the same for any of them.
//
// Rows are {time, values}: seconds that do not fall, and a Float32Array for each row, NaN where a value is missing.
import { InputError } from "./errors.js";

const ON_TIME = 1e-4; // a row that comes this part of a sample early or late is taken to be on time
const MOST_PER_ROW = 10000; // samples between two rows; more is a mistake in the units
const FEW_REPEATED = 5; // so many rows, and this share of the rows so far, may have the stamp of the row before
const SHARE_REPEATED = 0.05;

// Returns the index of the first element that is not less than a value; of a rising array.
function lowerBound(sorted, value) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

export class Repeats {
  // how: `error` (few are left out, many are an error), `drop`, `mean` or `spread`, see docs/config.md.
  constructor(how, maxGap) {
    this.how = how;
    this.maxGap = maxGap;
    this.repeated = 0; // rows with the stamp of the row before
    this.received = 0;
    this.last = -Infinity;
    this.interval = NaN; // between the last two stamps
    this.held = { time: [], values: [] }; // rows of the last stamp, where others may follow
  }

  // Takes rows and returns those that are settled.
  push({ time, values }) {
    const kept = { time: [], values: [] };
    time.forEach((stamp, row) => {
      if (stamp < this.last) throw new InputError(`time goes back by ${this.last - stamp} s`);
      const again = stamp === this.last;
      this.received += 1;
      this.repeated += again;
      if (this.how === "error" && this.repeated > FEW_REPEATED + SHARE_REPEATED * this.received) {
        throw new InputError(`${this.repeated} of ${this.received} rows have the time of the row before`);
      }
      this.last = stamp;
      if (!again || this.how === "mean" || this.how === "spread") {
        kept.time.push(stamp);
        kept.values.push(values[row]);
      }
    });
    if (this.how === "error" || this.how === "drop") return kept;
    const all = { time: [...this.held.time, ...kept.time], values: [...this.held.values, ...kept.values] };
    const first = lowerBound(all.time, all.time.at(-1));
    this.held = { time: all.time.slice(first), values: all.values.slice(first) };
    return this.#settle({ time: all.time.slice(0, first), values: all.values.slice(0, first) }, this.last);
  }

  // Returns the rows that waited for another stamp.
  finish() {
    const held = this.held;
    this.held = { time: [], values: [] };
    return this.#settle(held, Infinity);
  }

  // Settles whole groups of rows; following: the stamp after the last group.
  #settle(rows, following) {
    const first = rows.time.flatMap((stamp, row) => (row && stamp === rows.time[row - 1] ? [] : [row]));
    const stamps = first.map((row) => rows.time[row]);
    const counts = first.map((row, group) => (first[group + 1] ?? rows.time.length) - row);
    if (!stamps.length) return rows;
    if (this.how === "mean") {
      const mean = (group) =>
        rows.values[first[group]].map((_, c) => {
          let [sum, known] = [0, 0];
          for (let i = first[group]; i < first[group] + counts[group]; i++) {
            if (Number.isNaN(rows.values[i][c])) continue;
            sum += rows.values[i][c];
            known += 1;
          }
          return known ? sum / known : NaN;
        });
      return { time: stamps, values: stamps.map((_, group) => mean(group)) };
    }
    const intervals = stamps.map((stamp, group) => (stamps[group + 1] ?? following) - stamp);
    const before = [this.interval, ...intervals.slice(0, -1)];
    intervals.forEach((interval, i) => {
      if (!(interval > this.maxGap)) return;
      if (interval > 1.5 * before[i] || interval === Infinity) intervals[i] = before[i];
      if (i + 1 < before.length) before[i + 1] = intervals[i];
    });
    if (intervals.some((interval, group) => Number.isNaN(interval) && counts[group] > 1)) {
      throw new InputError("all rows have the same time");
    }
    this.interval = intervals.at(-1);
    const time = rows.time.slice();
    first.forEach((row, group) => {
      const step = intervals[group] / counts[group];
      for (let i = 1; i < counts[group]; i++) time[row + i] = stamps[group] + i * step;
    });
    return { time, values: rows.values };
  }
}

export class EvenClock {
  // Lays samples 1 / rate seconds apart from the first row of every stretch on; more than maxGap seconds between two
  // rows end a stretch.
  //
  // method: `linear` or `nearest`. missing: `interpolate` bridges missing values of no more than maxGap, otherwise
  // samples beside one are missing. keepRows: rows are the samples already. absent: positions of channels that never
  // have a value, for which nothing needs to wait.
  constructor({ rate, maxGap, method = "linear", missing = "interpolate", keepRows = false, absent = [] }) {
    Object.assign(this, { rate, maxGap, method, missing, keepRows, absent });
    this.reset();
  }

  // Drops the current stretch; the next row begins another.
  reset() {
    this.time = []; // of the rows that samples to come may need
    this.values = [];
    this.reach = []; // of each of them, the last sample that it can bring about
    this.first = null;
    this.start = 0; // the first sample
    this.count = 0; // rows of the stretch
    this.laid = 0;
    this.begun = false; // whether the first sample is known
  }

  // Takes the next rows and returns the samples that are certain: pieces {time, values, begins} without a gap.
  push({ time, values }) {
    const pieces = [];
    let from = 0;
    for (let row = 0; row <= time.length; row++) {
      const last = row > 0 ? time[row - 1] : this.time.at(-1);
      const breaks = row < time.length && last !== undefined && time[row] - last > this.maxGap;
      if (!breaks && row < time.length) continue;
      if (row > from) pieces.push(...this.#take(time.slice(from, row), values.slice(from, row)));
      if (breaks) pieces.push(...this.finish());
      from = row;
    }
    return pieces;
  }

  // Ends the stretch and returns what is left of it.
  finish() {
    const pieces = this.time.length ? this.#lay(true) : [];
    this.reset();
    return pieces;
  }

  #take(time, values) {
    this.first ??= time[0];
    time.forEach((stamp, row) => {
      const reach = this.keepRows ? this.count : Math.floor((stamp - this.first) * this.rate + ON_TIME);
      const far = reach - (this.reach.at(-1) ?? reach);
      if (far > MOST_PER_ROW) throw new InputError(`${far} samples would lie between two rows; is the unit of time right?`);
      this.time.push(stamp);
      this.values.push(values[row]);
      this.reach.push(reach);
      this.count += 1;
    });
    return this.#lay(false);
  }

  #lay(ended) {
    const begin = this.begun ? -Infinity : this.#findBegin(ended);
    const end = this.reach.at(-1) + 1;
    if (this.laid >= end || begin === null) return [];
    let grid = [];
    for (let number = this.laid, row = 0; number < end; number++) {
      while (this.reach[row] < number) row++;
      const even = this.first + number / this.rate;
      grid.push(this.keepRows || this.time[row] <= even ? this.time[row] : even);
    }
    if (!this.begun) {
      this.start = this.laid = lowerBound(grid, begin);
      this.begun = true;
      grid = grid.slice(this.start);
    }
    const channels = this.values[0].length;
    const laid = grid.map(() => new Float32Array(channels));
    let ready = grid.length;
    for (let c = 0; c < channels; c++) {
      const column = this.values.map((row) => row[c]);
      const { values, waits } = fill(grid, this.time, column, this.maxGap, this.method, this.missing);
      values.forEach((value, i) => (laid[i][c] = value));
      ready = Math.min(ready, waits);
    }
    const begins = this.laid === this.start;
    this.laid += ready;
    this.#forget(ready < grid.length ? grid[ready] : this.time.at(-1));
    return ready ? [{ time: grid.slice(0, ready), values: laid.slice(0, ready), begins }] : [];
  }

  // Returns the time from which on all channels have values, but for those that come too late; null: not yet known.
  #findBegin(ended) {
    const start = this.time[0];
    const channels = this.values[0].map((_, c) => c).filter((c) => !this.absent.includes(c));
    const first = Array.from(channels, (c) => this.time[this.values.findIndex((row) => Number.isFinite(row[c]))]);
    const come = first.filter((time) => time !== undefined);
    if (!ended && come.length < first.length && this.time.at(-1) - start <= this.maxGap) return null;
    return Math.max(start, ...come.filter((time) => time - start <= this.maxGap));
  }

  // Drops rows that no sample from a time on can need.
  #forget(time) {
    const needed = Math.max(this.time.findLastIndex((stamp) => stamp <= time), 0);
    let first = needed;
    for (let c = 0; c < this.values[0].length; c++) {
      let last = needed; // of the channel, the last value until then
      while (last >= 0 && !Number.isFinite(this.values[last][c])) last--;
      if (last >= 0 && time - this.time[last] <= this.maxGap) first = Math.min(first, last);
    }
    this.time = this.time.slice(first);
    this.values = this.values.slice(first);
    this.reach = this.reach.slice(first);
  }
}

// Lays one channel on a rising grid.
//
// Returns the values, NaN where there is none nearby, and the index of the first that a row to come can change.
function fill(grid, time, column, maxGap, method, missing) {
  const present = column.flatMap((value, row) => (Number.isFinite(value) ? [row] : []));
  const values = new Float64Array(grid.length).fill(NaN);
  if (!present.length) return { values, waits: grid.length };
  const t = present.map((row) => time[row]);
  const x = present.map((row) => column[row]);
  const last = t.length - 1;
  let waits = grid.length;
  const open = time.at(-1) - t[last] <= maxGap && (missing === "interpolate" || present[last] === column.length - 1);
  for (let i = 0, after = 0; i < grid.length; i++) {
    while (after <= last && t[after] < grid[i]) after++;
    if (after > last) {
      if (open) waits = Math.min(waits, i);
    } else if (t[after] === grid[i]) {
      values[i] = x[after];
    } else if (after > 0) {
      const before = after - 1;
      const near = missing === "interpolate" ? t[after] - t[before] <= maxGap : present[after] - present[before] === 1;
      if (!near) continue;
      if (method === "linear") {
        const slope = (x[after] - x[before]) / (t[after] - t[before]);
        values[i] = slope * (grid[i] - t[before]) + x[before];
      } else {
        values[i] = grid[i] <= (t[after] + t[before]) / 2 ? x[before] : x[after];
      }
    }
  }
  return { values, waits };
}
