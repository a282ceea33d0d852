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

// Returns the vertical component and the length of the horizontal part of a vector, three numbers; gravity is one too.
export function verticalParts(vector, gravity) {
  const length = Math.hypot(...gravity) || 1;
  const up = gravity.map((g) => g / length);
  const vertical = vector.reduce((sum, x, axis) => sum + x * up[axis], 0);
  return [vertical, Math.hypot(...vector.map((x, axis) => x - vertical * up[axis]))];
}

// Computes a view sample by sample, from the model's inputs to the channels of its network.
export class View {
  constructor(card) {
    this.view = card.view;
    this.computed = card.inputs.length !== card.channels.length;
    this.accelerations = card.inputs.flatMap((channel, input) => (channel.group === "acc" ? [input] : []));
    this.filtered = card.gravity.inputs; // the accelerations whose gravity is needed
    this.lowPass = this.filtered.length ? new LowPass(card.gravity) : null;
    this.vectors = new Map(card.vectors.map((vector) => [vector.axes[0], vector]));
    this.among = new Set(card.vectors.flatMap((vector) => vector.axes));
  }

  // Returns whether a sample is a gap: it has no value; where channels are computed, it lacks one.
  isGap(sample) {
    return this.computed ? sample.some(Number.isNaN) : sample.every(Number.isNaN);
  }

  // Returns the channels of the network for the next sample of a stretch.
  next(sample) {
    if (!this.computed) return sample;
    if (this.view === "mirror") return Float32Array.from([...sample, ...this.accelerations.map((input) => sample[input])]);
    const source = this.filtered.map((input) => sample[input]);
    const gravity = this.lowPass.next(source);
    const body = source.map((x, c) => x - gravity[c]);
    if (this.view === "derived") return Float32Array.from([...sample, ...gravity, ...body]);
    if (this.view === "body") {
      const end = this.filtered.at(-1) + 1;
      return Float32Array.from([...sample.slice(0, end), ...body, ...sample.slice(end)]);
    }
    const channels = Array.from(sample).flatMap((x, input) => {
      const vector = this.vectors.get(input);
      if (!vector) return this.among.has(input) ? [] : [x];
      const pull = vector.gravity.map((axis) => gravity[this.filtered.indexOf(axis)]);
      return verticalParts(vector.axes.map((axis) => sample[axis]), pull);
    });
    return Float32Array.from(channels);
  }
}
