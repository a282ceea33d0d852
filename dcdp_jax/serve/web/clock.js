// Resamples rows to evenly spaced samples, as dcdp_jax/data/resample.py does. `settle` resolves rows of one stamp in a
// whole recording. `EvenClock` computes the samples; it takes rows in any portions and gives the same for any of them.
//
// Rows are {time, values}: rising seconds, and a Float32Array for each row, NaN where a value is missing.
import { InputError } from "./errors.js";

const ON_TIME = 1e-4; // a row that is this part of a sample early or late is on time
const MOST_PER_ROW = 10000; // samples between two rows; more is a mistake in the units
const FEW_REPEATED = 5; // so many rows, and this share of the rows so far, may have the stamp of the row before
const SHARE_REPEATED = 0.05;

// Resolves rows that have the stamp of the row before.
//
// where: name of the file, for messages.
// reading: fields of `data.table`. Of `repeated`, `error` leaves the rows out and throws InputError if they are many; for
// `drop`, `mean` and `spread` see docs/config.md.
//
// Returns {rows, repeated}: the rows, and how many repeated a stamp.
export function settle(where, { time, values }, { repeated: how, max_gap: maxGap }) {
  const first = time.flatMap((stamp, row) => (row && stamp === time[row - 1] ? [] : [row]));
  const counts = first.map((row, group) => (first[group + 1] ?? time.length) - row);
  const stamps = first.map((row) => time[row]);
  const repeated = time.length - first.length;
  const many = first.some((row, group) => {
    const last = row + counts[group] - 1;
    return last - group > FEW_REPEATED + SHARE_REPEATED * (last + 1);
  });
  if (how === "error" && many) {
    throw new InputError(
      `${where}: ${repeated} of ${time.length} rows have the time of the row before, as where stamps are cut to whole ` +
        "seconds; export the page with data.table.repeated='spread' (evenly until the next stamp), 'mean' or 'drop'",
    );
  }
  if (how === "spread") return { rows: { time: spread(where, stamps, counts, maxGap), values }, repeated };
  const chosen = (row, group) => (how === "mean" ? mean(values.slice(row, row + counts[group])) : values[row]);
  return { rows: { time: stamps, values: first.map(chosen) }, repeated };
}

// Returns the mean of the values that are there, of each channel.
function mean(rows) {
  return rows[0].map((_, c) => {
    const there = rows.map((row) => row[c]).filter((value) => !Number.isNaN(value));
    return there.length ? there.reduce((sum, value) => sum + value, 0) / there.length : NaN;
  });
}

// Returns times of the rows of each stamp, see `Repeats` of resample.py.
function spread(where, stamps, counts, maxGap) {
  const intervals = stamps.map((stamp, i) => (stamps[i + 1] ?? Infinity) - stamp);
  const before = [intervals[1] ?? NaN, ...intervals.slice(0, -1)];
  const ends = intervals.map((interval, i) => {
    const isEnd = interval > maxGap && (interval > 1.5 * before[i] || interval === Infinity);
    if (isEnd) intervals[i] = before[i];
    if (i + 1 < before.length) before[i + 1] = intervals[i];
    return isEnd;
  });
  if (stamps.length === 1 && counts[0] > 1) throw new InputError(`${where}: all rows have the same time`);
  const step = intervals.map((interval, i) => interval / counts[i]);
  return stamps.flatMap((stamp, i) => {
    const begins = i === 0 || ends[i - 1];
    let [start, between] = [stamp, step[i]];
    if (ends[i] && !begins) between = Math.min(between, step[i - 1]);
    else if (begins && !ends[i] && counts[i] < counts[i + 1] && step[i + 1] < between) {
      between = step[i + 1];
      start = stamp + intervals[i] - counts[i] * between;
    }
    return Array.from({ length: counts[i] }, (_, row) => (row ? start + row * between : start));
  });
}

export class EvenClock {
  // Computes samples 1 / rate seconds apart, from the first row of every stretch on; more than maxGap seconds between two
  // rows end a stretch.
  //
  // method: `linear` or `nearest`. missing: `interpolate` computes samples between two values at most maxGap apart,
  // otherwise samples beside a missing value are missing. keepRows: every row is a sample. absent: positions of channels
  // that never have a value, for which no sample waits.
  constructor({ rate, maxGap, method = "linear", missing = "interpolate", keepRows = false, absent = [] }) {
    Object.assign(this, { rate, maxGap, method, missing, keepRows, absent });
    this.reset();
  }

  // Drops the current stretch; the next row begins another.
  reset() {
    this.time = []; // of the rows that later samples may need
    this.values = [];
    this.first = 0; // time of the first row
    this.reached = -1; // number of the last sample at or before the last row
    this.pending = []; // times of the samples up to the last row that are not returned yet
    this.begin = null; // time from which samples are returned; null if it is not known yet
    this.isNew = true; // whether no sample was returned yet
  }

  // Takes the next rows and returns the samples that no later row can change: pieces {time, values, begins} without a gap.
  push({ time, values }) {
    const pieces = [];
    let from = 0;
    for (let row = 0; row <= time.length; row++) {
      const last = row > 0 ? time[row - 1] : this.time.at(-1);
      const breaks = row < time.length && last !== undefined && time[row] - last > this.maxGap;
      if (!breaks && row < time.length) continue;
      if (row > from) {
        this.#add(time.slice(from, row), values.slice(from, row));
        pieces.push(...this.#emit(false));
      }
      if (breaks) pieces.push(...this.finish());
      from = row;
    }
    return pieces;
  }

  // Ends the stretch and returns its remaining samples.
  finish() {
    const pieces = this.time.length ? this.#emit(true) : [];
    this.reset();
    return pieces;
  }

  // Adds rows, and the times of the samples up to the last of them.
  #add(time, values) {
    if (!this.time.length) this.first = time[0];
    time.forEach((stamp, row) => {
      this.time.push(stamp);
      this.values.push(values[row]);
      if (this.keepRows) {
        this.pending.push(stamp);
        return;
      }
      const reached = Math.floor((stamp - this.first) * this.rate + ON_TIME);
      const between = reached - this.reached;
      if (between > MOST_PER_ROW) throw new InputError(`${between} samples would lie between two rows; is the unit of time right?`);
      // A sample that is up to `ON_TIME` after its row has the time of the row.
      while (this.reached < reached) this.pending.push(Math.min(this.first + ++this.reached / this.rate, stamp));
    });
  }

  // Returns the pending samples up to the first that a later row can change, as one piece or none.
  #emit(ended) {
    if (this.begin === null) {
      this.begin = this.#findBegin(ended);
      if (this.begin === null) return [];
      this.pending = this.pending.filter((time) => time >= this.begin);
    }
    const times = this.pending;
    if (!times.length) return [];
    const channels = this.values[0].length;
    const values = times.map(() => new Float32Array(channels));
    let ready = times.length;
    for (let c = 0; c < channels; c++) {
      const column = this.values.map((row) => row[c]);
      const filled = fill(times, this.time, column, this.maxGap, this.method, this.missing);
      filled.values.forEach((value, i) => (values[i][c] = value));
      ready = Math.min(ready, filled.certain);
    }
    this.pending = times.slice(ready);
    this.#forget(this.pending[0] ?? this.time.at(-1));
    if (!ready) return [];
    const begins = this.isNew;
    this.isNew = false;
    return [{ time: times.slice(0, ready), values: values.slice(0, ready), begins }];
  }

  // Returns the time from which all channels have values, except late ones; null if it is not known yet.
  #findBegin(ended) {
    const start = this.time[0];
    const channels = this.values[0].map((_, c) => c).filter((c) => !this.absent.includes(c));
    const first = Array.from(channels, (c) => this.time[this.values.findIndex((row) => Number.isFinite(row[c]))]);
    const come = first.filter((time) => time !== undefined);
    if (!ended && come.length < first.length && this.time.at(-1) - start <= this.maxGap) return null;
    return Math.max(start, ...come.filter((time) => time - start <= this.maxGap));
  }

  // Drops the rows that no sample from a time on needs.
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
  }
}

// Resamples one channel to a rising grid.
//
// Returns {values, certain}: NaN without a value nearby, and how many of the first values no later row can change.
function fill(grid, time, column, maxGap, method, missing) {
  const present = column.flatMap((value, row) => (Number.isFinite(value) ? [row] : []));
  const values = new Float64Array(grid.length).fill(NaN);
  let certain = grid.length;
  if (!present.length) return { values, certain };
  const t = present.map((row) => time[row]);
  const x = present.map((row) => column[row]);
  const last = t.length - 1;
  const waits = time.at(-1) - t[last] <= maxGap && (missing === "interpolate" || present[last] === column.length - 1);
  for (let i = 0, after = 0; i < grid.length; i++) {
    while (after <= last && t[after] < grid[i]) after++;
    if (after > last) {
      if (waits) certain = Math.min(certain, i);
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
  return { values, certain };
}
