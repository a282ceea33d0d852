// Smooths predictions over the last few windows of a stretch, as dcdp_jax/serve/smoothing.py does.

export class Smoother {
  // method: `mean`, `majority` or "" for none. over: number of windows.
  constructor([method, over]) {
    this.method = method;
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
    this.last = [...this.last, probabilities].slice(-this.over);
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

// Returns the index of the largest number, the first of several.
export function largest(numbers) {
  return numbers.indexOf(Math.max(...numbers));
}
