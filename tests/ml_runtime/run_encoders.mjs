/**
 * Prints what quorate/edge/encoders.mjs makes of the vectors that come in, in the form of the vectors themselves.
 *
 * Run by test_encoders.py: node run_encoders.mjs < encoders.json
 */
import { readFileSync } from "node:fs";

import { decodeEncoder, encode, murmurHash3, splitWords } from "../../quorate/edge/encoders.mjs";

const NUMBERS = { NaN, Infinity, "-Infinity": -Infinity };

/** Return rows with the numbers that JSON has no word for. */
function reviveNumbers(value) {
  if (Array.isArray(value)) {
    return value.map(reviveNumbers);
  }
  return Object.hasOwn(NUMBERS, value) ? NUMBERS[value] : value;
}

function attempt(compute) {
  try {
    return { result: compute() };
  } catch (error) {
    if (error.code === undefined) {
      throw error;
    }
    return { code: error.code, field: error.field };
  }
}

function runCase(encoder, { rows }) {
  const given = ["numbers", "rows"].includes(encoder.takes) ? reviveNumbers(rows) : rows;
  return { rows, ...attempt(() => encode(encoder, given)) };
}

function runEncoder({ fields, cases }) {
  const encoder = decodeEncoder(fields);
  return {
    fields,
    takes: encoder.takes,
    featureCount: encoder.featureCount,
    cases: cases.map((each) => runCase(encoder, each)),
  };
}

const vectors = JSON.parse(readFileSync(0, "utf8"));
console.log(
  JSON.stringify({
    encoders: vectors.encoders.map(runEncoder),
    refused_definitions: vectors.refused_definitions.map(({ fields }) => {
      const { code } = attempt(() => decodeEncoder(fields));
      return { fields, code };
    }),
    words: vectors.words.map(({ text }) => ({ text, words: splitWords(text) })),
    hashes: vectors.hashes.map(({ data, seed }) => {
      return { data, seed, hash: murmurHash3(Buffer.from(data, "hex"), seed) };
    }),
  }),
);
