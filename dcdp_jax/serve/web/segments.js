// Merges consecutive windows of one class into segments, as dcdp_jax/serve/events.py does.

// events: {start, end, label, confidence, stretch} in order. Returns {start, end, label, confidence, windows}, disjoint and
// in order. Where windows of two classes overlap, a segment ends in the middle of what they share. Label -1 is no answer.
export function mergeEvents(events) {
  const runs = [];
  for (const event of events) {
    const before = runs.at(-1)?.at(-1);
    if (before && event.label === before.label && follows(event, before)) runs.at(-1).push(event);
    else runs.push([event]);
  }
  const segments = runs.map((run) => ({
    start: run[0].start,
    end: run.at(-1).end,
    label: run[0].label,
    confidence: run.reduce((sum, event) => sum + event.confidence, 0) / run.length,
    windows: run.length,
  }));
  for (let i = 1; i < runs.length; i++) {
    const [before, event] = [runs[i - 1].at(-1), runs[i][0]];
    if (follows(event, before)) segments[i - 1].end = segments[i].start = (before.end + event.start) / 2;
  }
  return segments.filter((segment) => segment.label !== -1);
}

// Returns whether a window begins before another of the same stretch has ended, or just then.
function follows(event, before) {
  return event.stretch === before.stretch && event.start <= before.end + 1e-6;
}
