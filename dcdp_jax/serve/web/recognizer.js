// Predicts samples as they come: one event per step, the same as `--mode=stream` gives.
import { EvenClock } from "./clock.js";
import { Smoother } from "./smooth.js";
import { Windows } from "./window.js";

export class Recognizer {
  // model: from `loadModel`. absent: positions of inputs that never have a value. options: `missing` and `keepRows` of
  // the clock. adapt: whether the statistics of batch normalisation follow the windows, beginning at those
  // of the training. unknown: whether answers of low confidence are unknown. onSamples: called with every piece of evenly
  // spaced samples.
  constructor(
    model,
    { absent = [], missing, keepRows = false, adapt = false, unknown = false, onSamples = () => {} },
  ) {
    const { card } = model;
    const { max_gap: maxGap, resample: method } = card.reading;
    this.model = model;
    this.onSamples = onSamples;
    this.clock = new EvenClock({ rate: card.input_rate, maxGap, method, missing, keepRows, absent });
    this.windows = new Windows(card);
    this.smoother = new Smoother(card.smoothing, unknown ? { ...card.rejection, label: card.unknown.label } : null);
    this.adapt = adapt;
    this.statistics = model.statistics; // for the next window
    this.stretch = 0;
  }

  // Takes rows {time, values}, whose time rises, and returns the events that have become due.
  async push(rows) {
    return this.#add(this.clock.push(rows));
  }

  // Ends the stream; returns the events of samples that waited for others.
  async finish() {
    return this.#add(this.clock.finish());
  }

  async #add(pieces) {
    const events = [];
    for (const piece of pieces) {
      this.onSamples(piece);
      for (const window of this.windows.push(piece)) events.push(await this.#predict(window));
    }
    return events;
  }

  async #predict({ signals, start, end, stretch }) {
    const began = performance.now();
    const answer = await this.model.predict(signals, this.statistics);
    if (this.adapt) this.statistics = answer.statistics;
    const milliseconds = performance.now() - began;
    if (stretch !== this.stretch) this.smoother.reset();
    this.stretch = stretch;
    const { label, probabilities } = this.smoother.next(answer.probabilities);
    const confidence = Math.max(...probabilities);
    return { start, end, label, confidence, probabilities, missing: answer.missing, stretch, milliseconds };
  }
}
