// Runs the network with onnxruntime-web, on one thread of the processor.
import { InputError } from "./errors.js";

const NEXT = "next_statistics"; // output of the network: the statistics of batch normalisation after the window
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

// Throws InputError where the browser cannot run the model.
export function checkBrowser() {
  if (typeof WebAssembly !== "object") {
    throw new InputError("This browser has no WebAssembly, or it is turned off, and the model cannot run; use another.");
  }
  if (!WebAssembly.validate(Uint8Array.from(SIMD)) || typeof DecompressionStream !== "function") {
    throw new InputError("This browser is too old to run the model: it lacks WebAssembly SIMD or DecompressionStream.");
  }
}

// Loads the runtime and the network of a card.
export async function loadModel(card) {
  checkBrowser();
  const [ort, runtime, network, statistics] = await Promise.all([
    import(`./${card.runtime.module}`),
    fetchBytes(card.runtime.wasm).then(unpack),
    fetchBytes(card.network),
    card.statistics && fetchBytes(card.statistics),
  ]);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = runtime;
  const session = await ort.InferenceSession.create(new Uint8Array(network), { executionProviders: ["wasm"] });
  const model = new Model(ort, session, card, statistics && new Float32Array(statistics));
  // So that the first answer is a fast one.
  await model.predict(new Float32Array(card.window * card.channels.length), model.statistics);
  return model;
}

async function fetchBytes(name) {
  const response = await fetch(name);
  if (!response.ok) throw new InputError(`${name}: the server answered ${response.status} ${response.statusText}`);
  return response.arrayBuffer();
}

async function unpack(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

class Model {
  // statistics: those of batch normalisation after training, a Float32Array; null where there are none.
  constructor(ort, session, card, statistics) {
    Object.assign(this, { ort, session, card, statistics });
    const all = card.channels.map((_, c) => c);
    this.groups = card.branches.length ? card.branches : [{ name: "all", channels: all }];
  }

  // Answers about a window, some of whose channels may be missing, which is NaN anywhere in it.
  //
  // Where all branches have all of their channels, the answer is that of the fusion; else the mean of the probabilities of
  // the branches that have all of theirs; NaN where none has.
  //
  // signals: Float32Array of (window, channels) rows. statistics: of batch normalisation, as `this.statistics`. Returns
  // {probabilities, missing, statistics}: `missing` names the branches that lack a channel, and the statistics are those
  // after this window, the given ones if a channel is missing.
  async predict(signals, statistics) {
    const { window, channels, branches, class_names } = this.card;
    const width = channels.length;
    const lacking = new Set();
    const filled = signals.map((value, i) => {
      if (!Number.isNaN(value)) return value;
      lacking.add(i % width);
      return 0; // no output that is read below depends on it
    });
    const complete = this.groups.filter((group) => !group.channels.some((c) => lacking.has(c)));
    const missing = this.groups.filter((group) => !complete.includes(group)).map((group) => group.name);
    const nothing = { probabilities: class_names.map(() => NaN), missing, statistics };
    if (!complete.length || (missing.length && !branches.length)) return nothing;
    const names = missing.length ? complete.map((group) => `probabilities_${group.name}`) : ["probabilities"];
    const feeds = { windows: new this.ort.Tensor("float32", filled, [1, window, width]) };
    if (statistics) feeds.statistics = new this.ort.Tensor("float32", statistics, [statistics.length]);
    const follows = statistics && !missing.length;
    const outputs = await this.session.run(feeds, follows ? [...names, NEXT] : names);
    const rows = names.map((name) => Array.from(outputs[name].data));
    return {
      probabilities: class_names.map((_, k) => rows.reduce((sum, row) => sum + row[k], 0) / rows.length),
      missing,
      statistics: follows ? outputs[NEXT].data : statistics,
    };
  }
}
