// Measures decode and prefill tokens/s of llama.cpp on one GGUF file. Prints one line of JSON.
//
// usage: node llama_cpp.mjs MODEL.gguf THREADS
// needs: npm i node-llama-cpp@3.21.1 @node-llama-cpp/linux-x64@3.21.1 (prebuilt, no compiler), in the current folder
//        or one above it.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const DECODED = 16;
const SESSIONS = 8;

const [file, threads] = process.argv.slice(2);
const require = createRequire(pathToFileURL(process.cwd() + "/"));
const { getLlama } = await import(pathToFileURL(require.resolve("node-llama-cpp")));

const llama = await getLlama({ gpu: false, build: "never", progressLogs: false, logLevel: "error" });
const model = await llama.loadModel({ modelPath: file });
const context = await model.createContext({
  contextSize: 2048, batchSize: 512, sequences: SESSIONS, threads: Number(threads),
});
// Any tokens will do: their meaning does not affect the speed.
const vocab = [...model.iterateAllTokens()].length;
const tokens = (count) => Array.from({ length: count }, (_, at) => Math.imul(at, 2654435761) >>> 0)
  .map((token) => token % vocab);

// Returns the tokens per second of this many sequences at once, each after `length` tokens.
async function decode(length, sessions) {
  const sequences = Array.from({ length: sessions }, () => context.getSequence());
  for (const sequence of sequences) await sequence.evaluateWithoutGeneratingNewTokens(tokens(length));
  const started = performance.now();
  await Promise.all(sequences.map(async (sequence) => {
    let made = 0;
    for await (const _ of sequence.evaluate(tokens(1), { temperature: 0, yieldEogToken: true })) {
      if (++made === DECODED) break;
    }
  }));
  const seconds = (performance.now() - started) / 1000;
  for (const sequence of sequences) sequence.dispose();
  return (sessions * DECODED) / seconds;
}

async function prefill(length) {
  const sequence = context.getSequence();
  const started = performance.now();
  await sequence.evaluateWithoutGeneratingNewTokens(tokens(length));
  const seconds = (performance.now() - started) / 1000;
  sequence.dispose();
  return length / seconds;
}

const figures = {};
figures["decode at 64"] = await decode(64, 1);
figures[`decode of ${SESSIONS} at 64`] = await decode(64, SESSIONS);
figures["decode at 1024"] = await decode(1024, 1);
figures["prefill of 512"] = await prefill(512);
console.log(JSON.stringify(figures));
process.exit(0);
