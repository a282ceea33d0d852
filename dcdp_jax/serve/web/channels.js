// Matches columns and sensors to the channels that the model reads, by name and unit.
import { InputError } from "./errors.js";

const SPELLINGS = [
  ["second", "s"], ["sec", "s"], ["radians", "rad"], ["°", "deg"], ["degrees", "deg"], ["dps", "deg/s"],
  ["s-2", "/s2"], ["/s/s", "/s2"], ["/s2", "/s^2"], ["s-1", "/s"],
];
const WHOLE = { G: "g", mG: "mg" };

// Returns the usual spelling of a unit, as `unit_name` of data/units.py.
export function unitName(unit) {
  const plain = unit.normalize("NFKC").replaceAll("\u2212", "-").replace(/[\s^*·⋅]/g, "");
  const usual = SPELLINGS.reduce((name, pair) => name.replaceAll(...pair), plain);
  return WHOLE[usual] ?? usual;
}

// Returns channel names with their units, as "acc_x [g], acc_y [g]".
export function listed(channels) {
  return channels.map((channel) => `${channel.name} [${channel.unit}]`).join(", ");
}

// Returns the column of each of the model's inputs, named `acc_x`, or with the unit `acc_x [g]`; null where there is none.
//
// Throws InputError where a column has another unit, two are of one channel, or too few are there for any answer.
export function columnsOf(where, header, card) {
  const units = new Map(card.inputs.map((channel) => [channel.name, channel.unit]));
  const columns = new Map();
  for (const column of header) {
    const match = /^\s*(.+?)\s*\[\s*(.*?)\s*\]\s*$/.exec(column);
    const name = units.has(column) ? column : match ? match[1] : column.trim();
    if (!units.has(name)) continue;
    if (columns.has(name)) {
      throw new InputError(`${where}: the channel '${name}' stands twice, as '${columns.get(name)}' and '${column}'`);
    }
    if (!units.has(column) && match && unitName(match[2]) !== unitName(units.get(name))) {
      throw new InputError(`${where}: ${name} is in ${match[2]}, and the model reads it in ${units.get(name)}`);
    }
    columns.set(name, column);
  }
  card.reading.columns.forEach((column, input) => {
    const name = card.inputs[input].name;
    if (!columns.has(name) && header.includes(column)) columns.set(name, column);
  });
  const found = card.inputs.map((channel) => columns.get(channel.name) ?? null);
  const absent = found.flatMap((column, input) => (column === null ? [input] : []));
  if (!answers(card, absent)) {
    throw new InputError(
      `${where}: no column ${absent.map((input) => card.inputs[input].name).join(", ")}; the model reads ` +
        `${listed(card.inputs)}, and the columns are ${header.join(", ") || "none"}`,
    );
  }
  return found;
}

// Returns the names of the branches that lack a channel; absent: positions of inputs that are not there.
export function silentBranches(card, absent) {
  const names = new Set(absent.map((input) => card.inputs[input].name));
  return card.branches.filter((b) => b.channels.some((c) => names.has(card.channels[c].name))).map((b) => b.name);
}

// Returns whether the model can answer without some of its inputs: a branch is whole, and no view needs them.
export function answers(card, absent) {
  if (!absent.length) return true;
  return silentBranches(card, absent).length < card.branches.length && card.inputs.length === card.channels.length;
}
