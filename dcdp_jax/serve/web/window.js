// Cuts evenly spaced samples into windows, as dcdp_jax/serve/stream.py does: every `decimate`-th sample is kept, the view
// computes its channels, and a window is due after `window` samples and after every `step` more. None crosses a gap.
import { View } from "./views.js";

export class Windows {
  constructor(card) {
    this.card = card;
    this.stretch = 0;
    this.samples = 0; // of the stretch, before decimation
    this.restart();
  }

  // Marks that samples are missing here; no window reaches across.
  restart() {
    if (this.samples) this.stretch += 1;
    this.samples = 0;
    this.kept = 0; // of them, after decimation
    this.due = this.card.window;
    this.ring = []; // the last samples kept
    this.times = [];
    this.view = new View(this.card);
  }

  // Takes samples and returns the windows that have become due.
  //
  // piece: {time, values, begins}: seconds, a Float32Array of the model's inputs for each sample, and whether a gap is
  // before them.
  //
  // Returns {signals, start, end, stretch} for each: a Float32Array of (window, channels) rows, seconds, and the number
  // of the contiguous stretch.
  push({ time, values, begins }) {
    if (begins) this.restart();
    const { window, step, decimate, rate, channels } = this.card;
    const found = [];
    values.forEach((sample, i) => {
      if (this.view.isGap(sample)) {
        this.restart();
        return;
      }
      if (this.samples++ % decimate) return;
      this.ring.push(this.view.next(sample));
      this.times.push(time[i]);
      this.kept += 1;
      if (this.ring.length > window) {
        this.ring.shift();
        this.times.shift();
      }
      if (this.kept < this.due) return;
      this.due += step;
      const signals = new Float32Array(window * channels.length);
      this.ring.forEach((row, at) => signals.set(row, at * channels.length));
      found.push({ signals, start: this.times[0], end: this.times.at(-1) + 1 / rate, stretch: this.stretch });
    });
    return found;
  }
}
