// Computes the channels that no sensor gives, as dcdp_jax/data/views.py does.

// A causal low-pass filter for gravity in one contiguous stretch, in steady state at its first sample.
export class LowPass {
  // sections: second-order sections, six numbers each. steady: their state for a constant signal of 1, two numbers each.
  constructor({ sections, steady }) {
    this.sections = sections;
    this.steady = steady;
    this.state = null;
  }

  // Filters the next sample, (c,) accelerations, to a Float32Array.
  next(sample) {
    this.state ??= Array.from(sample, (x) => this.steady.map((pair) => pair.map((z) => z * x)));
    return Float32Array.from(sample, (x, c) => {
      this.sections.forEach(([b0, b1, b2, , a1, a2], section) => {
        const z = this.state[c][section];
        const y = b0 * x + z[0];
        z[0] = b1 * x - a1 * y + z[1];
        z[1] = b2 * x - a2 * y;
        x = y;
      });
      return x;
    });
  }
}

// Computes a view sample by sample, from the model's inputs to the channels of its network.
export class View {
  constructor(card) {
    this.view = card.view;
    this.source = card.inputs.flatMap((channel, input) => (channel.group === "acc" ? [input] : []));
    this.computed = card.inputs.length !== card.channels.length;
    this.lowPass = card.view === "derived" ? new LowPass(card.gravity) : null;
  }

  // Returns whether a sample is a gap: it has no value; where channels are computed, it lacks one.
  isGap(sample) {
    return this.computed ? sample.some(Number.isNaN) : sample.every(Number.isNaN);
  }

  // Returns the channels of the network for the next sample of a stretch.
  next(sample) {
    if (!this.computed) return sample;
    const source = this.source.map((input) => sample[input]);
    if (this.view === "mirror") return Float32Array.from([...sample, ...source]);
    const gravity = this.lowPass.next(source);
    return Float32Array.from([...sample, ...gravity, ...source.map((x, c) => x - gravity[c])]);
  }
}
