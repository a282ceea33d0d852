// Turns a phone's motion events into rows of the model's inputs.
import { answers } from "./channels.js";
import { InputError } from "./errors.js";

const WAIT = 2000; // milliseconds until a device that has sent nothing is taken to have no sensor

// Returns why a phone's sensors cannot serve a model, "" where they can.
export function whyNoMotion(card) {
  if (card.motion.every((source) => source === null)) return "none of the model's channels is one of a single phone";
  if (!window.isSecureContext) return "browsers give motion to pages from https:// or localhost only";
  if (typeof DeviceMotionEvent !== "function") return "this browser has no motion events";
  const absent = card.motion.flatMap((source, input) => (source ? [] : [input]));
  return answers(card, absent) ? "" : "a phone alone does not have all channels of any branch";
}

// Returns the row of an event: a Float32Array of the model's inputs in their units, NaN where the device gives no value.
//
// card.motion: for each input null, or {field, part, factor}. WebKit reports accelerations with the opposite sign.
export function rowOf(event, card, webkit = navigator.vendor.startsWith("Apple")) {
  return Float32Array.from(card.motion, (source) => {
    const value = source && event[source.field]?.[source.part];
    if (value === null || value === undefined) return NaN;
    return value * source.factor * (webkit && source.field === "accelerationIncludingGravity" ? -1 : 1);
  });
}

// Listens to the device until `stop`.
export class Motion {
  // onStart: called with the positions of the inputs that the device lacks. onRows: called with rows {time, values}; time
  // begins at 0 and rises. onError: called with an InputError.
  constructor(card, { onStart, onRows, onError }) {
    Object.assign(this, { card, onStart, onRows, onError });
    this.first = null;
    this.last = -Infinity;
    this.listener = (event) => this.#take(event);
  }

  // Asks for permission where the browser wants that, and listens. Throws InputError where it is denied.
  async start() {
    if (typeof DeviceMotionEvent.requestPermission === "function") {
      if ((await DeviceMotionEvent.requestPermission()) !== "granted") {
        throw new InputError("motion sensors: the permission was denied; allow them in the settings of the browser");
      }
    }
    window.addEventListener("devicemotion", this.listener);
    // A dark screen would end the events; not every browser can keep it on.
    this.wake = navigator.wakeLock?.request("screen").catch(() => null);
    this.timer = setTimeout(() => {
      if (this.first === null) this.#fail("motion sensors: nothing came; this device has none, or they are turned off");
    }, WAIT);
  }

  stop() {
    clearTimeout(this.timer);
    window.removeEventListener("devicemotion", this.listener);
    this.wake?.then((lock) => lock?.release());
  }

  #fail(message) {
    this.onError(new InputError(message));
  }

  // Leaves out an event that is not later than the one before.
  #take(event) {
    if (event.timeStamp <= this.last) return;
    const row = rowOf(event, this.card);
    if (this.first === null) {
      if (row.every(Number.isNaN)) return; // as browsers without a sensor send once
      const absent = Array.from(row.keys()).filter((input) => Number.isNaN(row[input]));
      if (!answers(this.card, absent)) {
        this.#fail(`motion sensors: no ${absent.map((input) => this.card.inputs[input].name).join(", ")}, and no branch of the model can do without`);
        return;
      }
      this.first = event.timeStamp;
      this.onStart(absent);
    }
    this.last = event.timeStamp;
    this.onRows({ time: [(event.timeStamp - this.first) / 1000], values: [row] });
  }
}
