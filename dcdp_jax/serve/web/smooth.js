// Smooths predictions over the last few windows of a stretch and rejects those of low confidence, as
// dcdp_jax/serve/smoothing.py does.

const SMALLEST = 2 ** -126; // the smallest normal number in single precision

export class Smoother {
  // method: `mean`, `majority` or "" for none. over: number of windows. rejection: {temperature, threshold, label}, the
  // label being that of rejected answers; null answers every window.
  constructor([method, over], rejection = null) {
    this.method = method;
    this.rejection = rejection;
    this.over = method ? over : 1;
    this.reset();
  }

  // Clears the remembered vectors, as at a gap.
  reset() {
    this.last = [];
  }

  // Adds the probabilities of a window; returns {label, probabilities}, label -1 where they are NaN.
  next(probabilities) {
    if (probabilities.some(Number.isNaN)) return { label: -1, probabilities };
    if (this.rejection) probabilities = scale(probabilities, this.rejection.temperature);
    this.last = [...this.last, probabilities].slice(-this.over);
    const answer = this.#smooth(probabilities);
    const confidence = this.last.reduce((sum, p) => sum + Math.max(...p), 0) / this.last.length;
    return this.rejection && confidence < this.rejection.threshold ? { ...answer, label: this.rejection.label } : answer;
  }

  #smooth(probabilities) {
    const said = this.last.map(largest);
    if (this.method !== "majority") {
      const mean = probabilities.map((_, k) => this.last.reduce((sum, p) => sum + p[k], 0) / this.last.length);
      return { label: largest(mean), probabilities: mean };
    }
    const shares = probabilities.map((_, k) => said.filter((label) => label === k).length / said.length);
    const most = Math.max(...shares);
    return { label: said.findLast((label) => shares[label] === most), probabilities: shares };
  }
}

// Returns softmax(log(p) / temperature), as dcdp_jax/rejection.py does.
export function scale(probabilities, temperature) {
  const scaled = probabilities.map((p) => Math.log(Math.max(p, SMALLEST)) / temperature);
  const most = Math.max(...scaled);
  const powers = scaled.map((x) => Math.exp(x - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

// Returns the index of the largest number, the first of several.
export function largest(numbers) {
  return numbers.indexOf(Math.max(...numbers));
}
